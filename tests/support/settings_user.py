"""A user whose settings of Claude Code get hooks by the real ``coordctl hooks``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class User:
    """A user with a home of Claude Code, and no coordd that runs."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.settings = self.home / ".claude" / "settings.json"
        self.settings.parent.mkdir(parents=True)
        self.script = self.home / ".local/share/coordd/hook"
        self.kept = self.home / ".local/state/coordd/hooks-undo"
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(self.home)}

    def ctl(self, *arguments: str, cwd: Path | None = None, code: int = 0, **environ: str) -> str:
        """Run coordctl; return its stdout, or its stderr where it is to fail."""
        done = subprocess.run(
            [sys.executable, "-m", "coordd.cli", *arguments],
            env={**self.environ, **environ},
            cwd=cwd or self.home,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def hooks(self, path: Path | None = None) -> list[dict[str, Any]]:
        document = json.loads((path or self.settings).read_bytes().decode("utf-8-sig"))
        groups = [group for listed in document.get("hooks", {}).values() for group in listed]
        return [hook for group in groups for hook in group["hooks"]]

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.home)): path.read_bytes()
            for path in self.home.rglob("*")
            if path.is_file()
        }
