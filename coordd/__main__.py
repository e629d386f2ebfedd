"""``python -m coordd``: the same as the command ``coordd``."""

from __future__ import annotations

from coordd.commands.main import main

if __name__ == "__main__":
    main()
