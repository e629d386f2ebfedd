"""Define the permission modes of what coordd creates, by layout."""

from __future__ import annotations

from dataclasses import dataclass

from coordd.config.build import Config
from coordd.config.layout import Layout


@dataclass(frozen=True, slots=True)
class Rights:
    """The permission modes of what coordd creates.

    In the system layout its group shares them, in the others they are one user's.

    ``root`` is a project's directory, which coordd never makes: it came from its user, and goes with them.
    """

    directory: int
    file: int
    socket: int
    group: str | None
    gitignore: bool
    root: str | None

    @classmethod
    def of(cls, layout: Layout, config: Config) -> Rights:
        """Return the modes that a layout calls for."""
        if layout.name == "system":
            return cls(0o750, 0o640, 0o660, config.control.group, gitignore=False, root=None)
        project = layout.name == "project"
        return cls(0o700, 0o600, 0o600, None, gitignore=project, root=layout.root if project else None)
