"""Reading coordination traces from Redis: design.md §3's table of keys, and nothing is ever written.

``reader.py`` asks; ``agents.py`` and ``work.py`` keep what was answered; ``keys.py`` and ``parse.py`` say
what it means and are pure. Imports are absolute: ``redis`` is always the library.
"""
