"""Play conditions and time to the engine of alerts, and keep what it told."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from coordd.alerts.conditions import Condition, Slot
from coordd.alerts.engine import Engine
from coordd.alerts.gathering import Draft, Told
from coordd.alerts.moment import Moment
from coordd.alerts.quiet import Quiet
from coordd.alerts.rules import Rule, built_in
from coordd.alerts.track import End

START = 1_800_000_000.0


def a_rule(name: str = "r", **changes: object) -> Rule:
    """Return a rule that tells of everything at once, but for what is named."""
    values: dict[str, object] = {
        "name": name,
        "kinds": frozenset({"waiting", "killed", "mass", "stalled", "finished", "redis", "daemon"}),
        "thresholds": (),
        "hold": 0.0,
        "workspaces": (),
        "quiet": None,
        "every": None,
        "finished_after": 300.0,
        "actions": {"exec": ["true"]},
    }
    return Rule(**{**values, **changes})  # type: ignore[arg-type]  # what a test names


@dataclass
class Play:
    """An engine on a clock that the test turns; ``drafts`` has each message and when it came."""

    rules: list[Rule] = field(default_factory=lambda: [built_in()])
    wall: float = START
    mono: float = 1000.0
    drafts: list[tuple[float, Draft]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(self.rules)

    @property
    def now(self) -> Moment:
        return Moment(self.wall, self.mono)

    @property
    def told(self) -> list[Told]:
        return [told for _, draft in self.drafts for told in draft.told]

    def states(self, subject: str | None = None) -> list[str]:
        """How everything that was told stood, or what was told of one subject."""
        return [one.state for one in self.told if subject in (None, one.condition.subject)]

    def begin(
        self, subject: str, kind: str = "waiting", *, id: str | None = None, workspace: str = "/w"
    ) -> None:
        self.engine.open(
            Condition(
                kind=kind,
                workspace=workspace,
                subject=subject,
                id=f"{self.wall}" if id is None else id,
                since=self.wall,
                text=kind,
                command=None,
            ),
            self.now,
        )
        self.poll()

    def end(self, subject: str, kind: str = "waiting", *, how: End = "over", workspace: str = "/w") -> None:
        self.engine.close(Slot(kind, workspace, subject), how, self.now)
        self.poll()

    def poll(self) -> float:
        drafts, later = self.engine.poll(self.now)
        self.drafts += [(self.mono, draft) for draft in drafts]
        return later

    def wait(self, seconds: float) -> None:
        """Let time pass; the engine is asked when it wants to be, as the process does."""
        until = self.mono + seconds
        for _ in range(100_000):
            later = self.poll()
            if later > until:
                break
            self._to(max(later, self.mono))
        else:
            raise AssertionError("the engine wants to be asked all the time")
        self._to(until)
        self.poll()

    def sleep(self, seconds: float) -> None:
        """Let wall time pass without anybody asking: the machine is suspended."""
        self.wall += seconds

    def _to(self, mono: float) -> None:
        assert not math.isinf(mono)
        self.wall += mono - self.mono
        self.mono = mono


NIGHT = Quiet(22 * 60, 7 * 60)
