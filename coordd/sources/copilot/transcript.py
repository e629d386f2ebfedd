"""Reduce the lines of ``events.jsonl`` to what its session does now: a pure state machine, bounded.

It reads no file and no clock, and keeps ids, times, types and counts. A model that calls tools ends one turn
of the program's and begins the next at once. Lines of a subagent name it. Which lines begin and end what:

============================================  ================================================================
line                                          what follows
============================================  ================================================================
``user.message``, ``assistant.turn_start``    a turn is open
``assistant.turn_end``                        the turn is over, and every call of it
``abort``                                     it is over as well, nothing is asked any more, and subagents
                                              that it waited for have ended
``session.start``, ``.resume``, ``.shutdown`` nothing is open: another process begins, or this one ends
``tool.execution_start`` … ``_complete``      a call is open; a command that runs on is a shell in the
                                              background
``permission.requested`` … ``completed``      it waits for a permission, whoever needs it
``subagent.started`` … ``completed``          a subagent works
``system.notification`` of a shell            the oldest shell in the background has ended
``session.error`` with a word for why         the provider refuses, until it answers again
``session.usage_record``                      tokens, context
============================================  ================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from coordd.agents.session import BackgroundWork, OpenCall, Refusal, Refused, Turn
from coordd.sources.copilot.events import (
    Data,
    Event,
    decode,
    directory_of,
    notice_of,
    runs_on,
    usage_of,
)
from coordd.sources.copilot.tokens import Tokens, context_of
from coordd.sources.sessions.lines import text_of
from coordd.sources.sessions.words import model_of, tool_of

T = TypeVar("T")

MAX_CALLS = 256
"""Open calls, permissions, shells and subagents that are kept of each; beyond it the oldest is forgotten."""
UNRECOGNISED = 20
"""Lines in a row of kinds that are not known, after which the format counts as another one."""
ASKING = frozenset(("ask_user", "exit_plan_mode"))
"""Tools that ask a human."""
GOES_ON = 1.0
"""Seconds after its end within which a turn that begins is the same one, which goes on after its calls."""

_FAMILIES = frozenset(
    (
        *("abort", "assistant", "external_tool", "hook", "human_response", "mcp", "permission", "session"),
        *("skill", "subagent", "system", "tool", "tool_search", "user"),
    )
)
"""Beginnings of the kinds of lines that are known, with or without a handler."""
_REFUSALS: dict[str, Refusal] = {
    "authentication": "authentication",
    "authorization": "authentication",
    "quota": "billing",
    "rate_limit": "rate-limit",
}
_STATUSES: dict[int, Refusal] = {
    401: "authentication",
    402: "billing",
    403: "authentication",
    429: "rate-limit",
    500: "overload",
    502: "overload",
    503: "overload",
    504: "overload",
    529: "overload",
}


class TranscriptReducer:
    """What the lines fed so far say; ``cwd`` is where the session works, as it said last.

    Args:
        since: tokens are counted from here on, in epoch seconds.
    """

    def __init__(self, since: float) -> None:
        self._tokens = Tokens(since)
        self._forget()

    def _forget(self) -> None:
        self.cwd: str | None = None
        self._open: bool | None = None
        self._since: float | None = None
        self._began: float | None = None
        self._last: float | None = None
        self._calls: dict[str, OpenCall] = {}
        self._permissions: dict[str, float | None] = {}
        self._shells: dict[str, BackgroundWork] = {}
        self._subagents: dict[str, tuple[str, bool, BackgroundWork]] = {}
        self._refused: Refused | None = None
        self._model: str | None = None
        self._context: int | None = None
        self._strange = 0

    @property
    def began(self) -> bool:
        """Whether enough was read to tell what goes on now: a turn has begun or ended, of a known model."""
        return self._open is not None and self._model is not None

    def restart(self) -> None:
        """Forget everything but the tokens: the file is read again."""
        self._forget()
        self._tokens.restart()

    def feed(self, lines: Iterable[bytes], wall: float) -> None:
        """Take over whole lines; ``wall`` is the time now, and a line of more than a day later has none."""
        for one in lines:
            event = decode(one)
            if event is None or not isinstance(event.type, str):
                self._strange += 1
                continue
            at = event.time_by(wall)
            if at is not None:
                self._last = at
            known = event.type.partition(".")[0] in _FAMILIES
            self._strange = 0 if known else self._strange + 1
            self._take(event, event.type, at)

    def turn(self, born: float | None = None) -> Turn:
        """Return what is known; a turn that is older than ``born``, its process, ended with one before it."""
        if born is not None and self._open and self._since is not None and self._since < born:
            return Turn(open=False, since=born, last=self._last, model=self._model)
        return Turn(
            open=self._open,
            since=self._since if self._open is not None else None,
            last=self._last,
            calls=tuple(self._calls.values()),
            background=(*self._shells.values(), *(work for _, _, work in self._subagents.values())),
            refused=self._refused,
            model=self._model,
            context_tokens=self._context,
            tokens=self._tokens.counts,
            recognised=self._strange < UNRECOGNISED,
        )

    def asked_since(self, born: float | None = None) -> tuple[bool, float | None]:
        """Return whether it waits for a permission, and since when, None where that is not known."""
        asked = [at for at in self._permissions.values() if born is None or at is None or at >= born]
        return bool(asked), min((at for at in asked if at is not None), default=None)

    # Lines, by their kind.

    def _take(self, event: Event, kind: str, at: float | None) -> None:
        data, subagent = event.data or Data(), text_of(event.agent_id)
        anyone = _OF_ANYONE.get(kind)
        if anyone is not None:
            anyone(self, data, at, subagent)
        elif subagent is None and (handler := _HANDLERS.get(kind)) is not None:
            handler(self, data, at)
        if subagent is not None and at is not None:
            for call, (name, waited, work) in self._subagents.items():
                if name == subagent:
                    self._subagents[call] = name, waited, replace(work, seen=at)

    def _begin(self, data: Data, at: float | None) -> None:
        self._model = model_of(data.model) or self._model
        if self._open is True:
            return
        ended, began = self._since, self._began
        self._open = True
        goes_on = began is not None and ended is not None and at is not None and at - ended <= GOES_ON
        self._since = self._began = began if goes_on else at

    def _end(self, _data: Data, at: float | None) -> None:
        if self._open is not False:
            self._open, self._since = False, at
        self._calls.clear()

    def _abort(self, data: Data, at: float | None) -> None:
        self._end(data, at)
        self._began = None
        self._permissions.clear()
        self._subagents = {call: one for call, one in self._subagents.items() if not one[1]}

    def _process(self, data: Data, at: float | None) -> None:
        self.cwd = directory_of(data) or self.cwd
        self._model = model_of(data.selected_model) or self._model
        if data.continue_pending_work is True:
            return
        self._abort(data, at)
        self._shells.clear()
        self._subagents.clear()
        self._refused = None

    def _moved(self, data: Data, _at: float | None) -> None:
        self.cwd = directory_of(data) or self.cwd

    def _chosen(self, data: Data, _at: float | None) -> None:
        self._model = model_of(data.new_model) or self._model

    def _answered(self, data: Data, _at: float | None) -> None:
        self._model = model_of(data.model) or self._model
        self._refused = None

    def _call(self, data: Data, at: float | None) -> None:
        name = text_of(data.tool_call_id)
        if name is not None:
            tool = tool_of(data.tool_name)
            self._calls[name] = OpenCall(tool, at, tool in ASKING)
            _bound(self._calls)

    def _result(self, data: Data, at: float | None) -> None:
        name = text_of(data.tool_call_id)
        call = self._calls.pop(name, None) if name is not None else None
        if name is not None and call is not None and runs_on(data):
            self._shells[name] = BackgroundWork("shell", call.since or at)
            _bound(self._shells)

    def _noticed(self, data: Data, _at: float | None) -> None:
        if notice_of(data) in ("shell_completed", "shell_detached_completed") and self._shells:
            del self._shells[next(iter(self._shells))]

    def _refuse(self, data: Data, at: float | None) -> None:
        status = data.status_code
        why = _REFUSALS.get(data.error_type) if isinstance(data.error_type, str) else None
        why = why or (_STATUSES.get(status) if isinstance(status, int) else None)
        at = self._last if at is None else at
        if why is not None and at is not None:
            before = self._refused
            self._refused = replace(before, why=why, last=at) if before else Refused(why, at, at)

    # Lines of a subagent count as well.

    def _asks(self, data: Data, at: float | None, _subagent: str | None) -> None:
        name = text_of(data.request_id)
        if name is not None:
            self._permissions[name] = at
            _bound(self._permissions)

    def _told(self, data: Data, _at: float | None, _subagent: str | None) -> None:
        self._permissions.pop(text_of(data.request_id) or "", None)

    def _sent(self, data: Data, at: float | None, subagent: str | None) -> None:
        call = text_of(data.tool_call_id)
        if call is not None:
            waited = data.execution_mode != "background"
            self._subagents[call] = subagent or "", waited, BackgroundWork("subagent", at, at)
            _bound(self._subagents)

    def _back(self, data: Data, _at: float | None, _subagent: str | None) -> None:
        self._subagents.pop(text_of(data.tool_call_id) or "", None)

    def _used(self, data: Data, at: float | None, subagent: str | None) -> None:
        usage = usage_of(data)
        if usage is None:
            return
        self._tokens.add(usage, at)
        if subagent is None:
            self._context = context_of(usage) or self._context


def _bound(kept: dict[str, T]) -> None:
    while len(kept) > MAX_CALLS:
        del kept[next(iter(kept))]


_HANDLERS: dict[str, Callable[[TranscriptReducer, Data, float | None], None]] = {
    "user.message": TranscriptReducer._begin,
    "assistant.turn_start": TranscriptReducer._begin,
    "assistant.turn_end": TranscriptReducer._end,
    "assistant.message": TranscriptReducer._answered,
    "abort": TranscriptReducer._abort,
    "session.start": TranscriptReducer._process,
    "session.resume": TranscriptReducer._process,
    "session.shutdown": TranscriptReducer._process,
    "session.context_changed": TranscriptReducer._moved,
    "session.model_change": TranscriptReducer._chosen,
    "session.error": TranscriptReducer._refuse,
    "tool.execution_start": TranscriptReducer._call,
    "tool.execution_complete": TranscriptReducer._result,
    "system.notification": TranscriptReducer._noticed,
}
_OF_ANYONE: dict[str, Callable[[TranscriptReducer, Data, float | None, str | None], None]] = {
    "permission.requested": TranscriptReducer._asks,
    "permission.completed": TranscriptReducer._told,
    "subagent.started": TranscriptReducer._sent,
    "subagent.completed": TranscriptReducer._back,
    "subagent.failed": TranscriptReducer._back,
    "session.usage_record": TranscriptReducer._used,
}
