"""Reduce the lines of a rollout to what its session does now: a pure state machine, bounded.

It reads no file and no clock, and keeps ids, times, types and counts. Which lines begin and end what:

======================================================  ==================================================
line                                                    what follows
======================================================  ==================================================
``task_started``                                        a turn is open; calls before it were given up
``task_complete``, ``turn_aborted``                     the turn is over, and every call with it
``function_call``, ``custom_tool_call``,                a call is open, and so is a turn
``local_shell_call``, ``tool_search_call``
the ``…_output`` that names it                          it is closed; if it says that its process runs on,
                                                        a shell works in the background
``item_completed`` of a ``CommandExecution``            the shell of that call has ended
``token_count``                                         tokens, context, limits of the account
``task_complete`` or ``error`` with a word for why      the provider refuses, until it answers again
``turn_context``                                        the model, and where it works
======================================================  ==================================================

What waits for an approval looks like any open call: a rollout does not tell of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from coordd.agents.limits import ToldLimit, newest
from coordd.agents.session import BackgroundWork, OpenCall, Refusal, Refused, Turn
from coordd.sources.codex.account import refusal_of, told_limits
from coordd.sources.codex.rollout_lines import (
    Line,
    Payload,
    decode,
    error_of,
    info_of,
    item_of,
    limits_of,
)
from coordd.sources.codex.tokens import Tokens, context_of
from coordd.sources.sessions.lines import text_of
from coordd.sources.sessions.words import model_of, tool_of

MAX_CALLS = 256
"""Open calls, and shells in the background, that are kept; beyond it the oldest is forgotten."""
UNRECOGNISED = 20
"""Lines in a row of kinds that are not known, after which the format counts as another one."""

ASKING = {"request_user_input": "question"}
"""Tools that ask a human, and what their calls wait for."""
_RUNS_ON = b"Process running with session ID"
_LOOKED_AT = 400  # bytes of a result in which it says so

_OTHERS = frozenset(("session_meta", "world_state", "compacted", "token_usage_record", "response_item"))
"""Kinds of lines, beside those with a handler, that are known and say nothing of a turn."""
_ITEMS = frozenset(
    (
        *("message", "reasoning", "web_search_call", "image_generation_call", "ghost_snapshot"),
        *("compaction", "compaction_summary", "context_compaction", "agent_message", "mcp_tool_call"),
    )
)
_ANSWERS = frozenset(("reasoning", "web_search_call", "image_generation_call"))
_EVENTS = frozenset(
    (
        *("user_message", "agent_message", "agent_reasoning", "agent_reasoning_raw_content", "warning"),
        *("context_compacted", "entered_review_mode", "exited_review_mode", "thread_rolled_back"),
        *("thread_settings_applied", "thread_name_updated", "thread_goal_updated", "undo_completed"),
        *("item_started", "plan_update", "turn_diff", "stream_error", "background_event"),
        *("mcp_tool_call_begin", "mcp_tool_call_end", "web_search_begin", "web_search_end"),
        *("exec_command_begin", "patch_apply_begin", "patch_apply_end", "view_image_tool_call"),
        *("deprecation_notice", "session_configured", "collab_agent_spawn_end", "image_generation_end"),
    )
)


class RolloutReducer:
    """What the lines fed so far say; ``began`` is whether they tell what goes on now.

    ``cwd`` is where the session works, as its last turn said.

    Args:
        since: tokens are counted from here on, in epoch seconds.
    """

    def __init__(self, since: float) -> None:
        self._tokens = Tokens(since)
        self._limits: list[ToldLimit] = []
        self._forget()

    def _forget(self) -> None:
        self.cwd: str | None = None
        self._open: bool | None = None
        self._since: float | None = None
        self._last: float | None = None
        self._calls: dict[str, OpenCall] = {}
        self._shells: dict[str, BackgroundWork] = {}
        self._refused: Refused | None = None
        self._model: str | None = None
        self._context: int | None = None
        self._strange = 0

    @property
    def began(self) -> bool:
        """Whether enough was read to tell what goes on now: a turn has begun or ended, of a known model."""
        return self._open is not None and self._model is not None

    @property
    def limits(self) -> list[ToldLimit]:
        """What was told of the account, the newest of each window."""
        return self._limits

    def restart(self) -> None:
        """Forget everything but the tokens and the limits: the rollout is read again."""
        self._forget()
        self._tokens.restart()

    def feed(self, lines: Iterable[bytes], wall: float) -> None:
        """Take over whole lines; ``wall`` is the time now, and a line of more than a day later has none."""
        for one in lines:
            line = decode(one)
            if line is None or not isinstance(line.type, str):
                self._strange += 1
                continue
            at = line.time_by(wall)
            if at is not None:
                self._last = at
            self._strange = 0 if self._take(line, at) else self._strange + 1

    def turn(self, born: float | None = None) -> Turn:
        """Return what is known; a turn that is older than ``born``, its process, ended with one before it."""
        is_open, since = self._open, self._since
        calls, shells = tuple(self._calls.values()), tuple(self._shells.values())
        refused = self._refused
        if born is not None:
            if is_open and since is not None and since < born:
                is_open, since = False, born
            calls = tuple(one for one in calls if one.since is None or one.since >= born)
            shells = tuple(one for one in shells if one.since is None or one.since >= born)
            refused = refused if refused and refused.last >= born else None
        return Turn(
            open=is_open,
            since=since if is_open is not None else None,
            last=self._last,
            calls=calls,
            background=shells,
            refused=refused,
            model=self._model,
            context_tokens=self._context,
            tokens=self._tokens.counts,
            recognised=self._strange < UNRECOGNISED,
        )

    # Lines, by their kind.

    def _take(self, line: Line, at: float | None) -> bool:
        """Take over a line; return whether it is of a kind that is known."""
        payload = line.payload or Payload()
        if line.type == "event_msg":
            if not isinstance(payload.type, str):
                return False
            event = _EVENT_HANDLERS.get(payload.type)
            if event is not None:
                event(self, payload, at)
            return event is not None or payload.type in _EVENTS
        if line.type == "response_item":
            return self._item(payload, at)
        if line.type == "turn_context":
            self._model = model_of(payload.model) or self._model
            cwd = text_of(payload.cwd, 4096)
            self.cwd = cwd if cwd is not None and cwd.startswith("/") and "\0" not in cwd else self.cwd
            return True
        if line.type == "compacted":
            self._context = None
        return line.type in _OTHERS

    def _item(self, payload: Payload, at: float | None) -> bool:
        kind = payload.type
        if not isinstance(kind, str):
            return False
        if kind.endswith("_call_output") or kind == "tool_search_output":
            self._result(payload, at)
        elif kind in ("function_call", "custom_tool_call", "local_shell_call", "tool_search_call"):
            self._call(payload, at)
        elif kind not in _ITEMS:
            return False
        elif kind in _ANSWERS:
            self._refused = None
        return True

    def _call(self, payload: Payload, at: float | None) -> None:
        self._refused = None
        if self._open is not True:  # what has begun the turn was not read, or not known
            self._open, self._since = True, at if self._open is False else None
        name = text_of(payload.call_id) or text_of(payload.id)
        if name is None:
            return
        tool = {"local_shell_call": "shell", "tool_search_call": "tool_search"}.get(payload.type)
        tool = tool or tool_of(payload.name)
        self._calls[name] = OpenCall(tool, at, tool in ASKING)
        while len(self._calls) > MAX_CALLS:
            del self._calls[next(iter(self._calls))]

    def _result(self, payload: Payload, at: float | None) -> None:
        name = text_of(payload.call_id)
        call = self._calls.pop(name, None) if name is not None else None
        if name is None or call is None:
            return
        if _RUNS_ON in bytes(memoryview(payload.output)[:_LOOKED_AT]):
            self._shells[name] = BackgroundWork("shell", call.since or at)
            while len(self._shells) > MAX_CALLS:
                del self._shells[next(iter(self._shells))]

    def _begin(self, _payload: Payload, at: float | None) -> None:
        self._open, self._since = True, at
        self._calls.clear()

    def _end(self, payload: Payload, at: float | None) -> None:
        if self._open is not False:
            self._open, self._since = False, at
        self._calls.clear()
        self._error(payload, at)

    def _error(self, payload: Payload, at: float | None) -> None:
        why = refusal_of(error_of(payload))
        if why is not None:
            self._refuse(why, at)

    def _refuse(self, why: Refusal, at: float | None) -> None:
        at = self._last if at is None else at
        if at is not None:
            before = self._refused
            self._refused = replace(before, why=why, last=at) if before else Refused(why, at, at)

    def _completed(self, payload: Payload, _at: float | None) -> None:
        item = item_of(payload.item)
        if item.type == "CommandExecution":
            self._shells.pop(text_of(item.id) or "", None)
        elif item.type == "AgentMessage":
            self._refused = None

    def _command_ended(self, payload: Payload, _at: float | None) -> None:
        self._shells.pop(text_of(payload.call_id) or "", None)

    def _used(self, payload: Payload, at: float | None) -> None:
        info = info_of(payload.info)
        if self._tokens.add(info, at):
            self._refused = None
        context = context_of(info)
        self._context = context if context is not None else self._context
        told = list(told_limits(limits_of(payload.rate_limits), at))
        if told:
            self._limits = newest([*self._limits, *told])


_EVENT_HANDLERS: dict[str, Callable[[RolloutReducer, Payload, float | None], None]] = {
    "task_started": RolloutReducer._begin,
    "turn_started": RolloutReducer._begin,
    "task_complete": RolloutReducer._end,
    "turn_complete": RolloutReducer._end,
    "turn_aborted": RolloutReducer._end,
    "error": RolloutReducer._error,
    "item_completed": RolloutReducer._completed,
    "exec_command_end": RolloutReducer._command_ended,
    "token_count": RolloutReducer._used,
}
