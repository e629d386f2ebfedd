"""coordd: knows which coding agents are alive, what they hold, and keeps the record."""

__version__ = "0.1.0"
