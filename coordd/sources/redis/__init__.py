"""Read agents' traces from Redis; nothing is ever written.

``reader.py`` sends the commands; ``agents.py`` and ``work.py`` keep what was answered; ``keys.py`` and
``parse.py`` say what keys and values mean, and are pure. Imports are absolute: ``redis`` is always the
library.
"""
