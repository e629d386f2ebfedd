"""Reduce the lines of a transcript to what its session does now: a pure state machine, bounded.

It reads no file and no clock, and keeps ids, times, types and counts. Which lines begin and end a turn:

===========================================================  =============================================
line                                                         the turn
===========================================================  =============================================
a prompt of the user                                         begins anew
a prompt that is older than what followed it, by seconds     stays as it is: its line was written late
a task-notification                                          is open
an answer of the model                                       is open, but for those of the next row
an answer with the stop reason end_turn, stop_sequence or    is over, and every call with it
refusal; ``turn_duration``; ``[Request interrupted by
user``; an error of the provider in place of an answer
a result of a call                                           is open, if nothing was known
meta lines, summaries, local commands, subagents' lines      stays as it is
===========================================================  =============================================

A line's own time is the only time that counts: transcripts are rewritten days later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from coordd.agents.session import BackgroundWork, OpenCall, Refusal, Refused, Turn
from coordd.sources.claude_code.background import NOTIFICATION, Background
from coordd.sources.claude_code.refusals import final_refusal, retry_refusal
from coordd.sources.claude_code.tokens import Tokens
from coordd.sources.claude_code.transcript_lines import (
    SILENT_KINDS,
    Block,
    Message,
    Record,
    decode,
    origin_of,
    result_of,
    string_of,
)
from coordd.sources.sessions.lines import text_of
from coordd.sources.sessions.words import model_of, tool_of

MAX_CALLS = 256
"""Open calls that are kept; beyond it the oldest is forgotten."""
LATE = 5.0
"""Seconds by which a prompt is older than a line before it, at most, when both are of one turn."""
UNRECOGNISED = 20
"""Lines in a row of kinds that are not known, after which the format counts as another one."""

ASKING = {"AskUserQuestion": "question", "ExitPlanMode": "plan approval"}
"""Tools that ask a human, and what their calls wait for."""
_SUBAGENTS = frozenset({"Agent", "Task"})
_ENDS = frozenset({"end_turn", "stop_sequence", "refusal"})
_INTERRUPTED = "[Request interrupted by user"
_NO_PROMPT = ("<command-", "<local-command-", "<bash-")


class TranscriptReducer:
    """What the lines fed so far say; ``began`` is whether one of them has begun a turn.

    Args:
        since: tokens are counted from here on, in epoch seconds.
    """

    def __init__(self, since: float) -> None:
        self._tokens = Tokens(since)
        self._forget()

    def _forget(self) -> None:
        self.began = False
        self._open: bool | None = None
        self._since: float | None = None
        self._answered: float | None = None  # the time of the last line that only a prompt can have led to
        self._last: float | None = None
        self._calls: dict[str, OpenCall] = {}
        self._seen: dict[str, float] = {}  # progress of the subagents that open calls wait for
        self._background = Background()
        self._refused: Refused | None = None
        self._model: str | None = None
        self._context: int | None = None
        self._strange = 0

    def restart(self) -> None:
        """Forget everything but the tokens: the transcript is read again."""
        self._forget()
        self._tokens.restart()

    def feed(self, lines: Iterable[bytes], wall: float) -> None:
        """Take over whole lines; ``wall`` is the time now, and a line of more than a day later has none."""
        for line in lines:
            record = decode(line)
            if record is None or not isinstance(record.type, str):
                self._strange += 1
                continue
            at = record.time_by(wall)
            handle = _HANDLERS.get(record.type)
            if handle is None and record.type not in SILENT_KINDS:
                self._strange += 1
            else:
                self._strange = 0
            if at is not None:
                self._last = at
            if handle is not None:
                handle(self, record, at)

    def turn(self, born: float | None = None) -> Turn:
        """Return what is known; what is older than ``born``, its process, is of one before it."""
        born = float("-inf") if born is None else born
        calls = {name: one for name, one in self._calls.items() if _is_of(one.since, born)}
        waited_for = [
            BackgroundWork("subagent", one.since, self._seen.get(name, one.since))
            for name, one in calls.items()
            if one.name in _SUBAGENTS
        ]
        work = [*(one for one in self._background.work if _is_of(one.since, born)), *waited_for]
        is_open, since = self._open, self._since
        if is_open and since is not None and since < born:
            is_open = None
        return Turn(
            open=is_open,
            since=since if is_open is not None else None,
            last=self._last,
            calls=tuple(calls.values()),
            background=tuple(work),
            refused=self._refused if self._refused and self._refused.last >= born else None,
            model=self._model,
            context_tokens=self._context,
            tokens=self._tokens.counts,
            recognised=self._strange < UNRECOGNISED,
        )

    # Subagents, which have transcripts of their own.

    @property
    def subagents(self) -> frozenset[str]:
        """The ids of the subagents that work in the background."""
        return self._background.subagents

    @property
    def subagent_calls(self) -> frozenset[str]:
        """The ids of the open calls that wait for a subagent."""
        return frozenset(name for name, one in self._calls.items() if one.name in _SUBAGENTS)

    def subagent_seen(self, name: str, at: float) -> None:
        """Note the time of a line of a subagent, by its id or by that of the call that waits for it."""
        self._background.seen(name, at)
        if name in self.subagent_calls:
            self._seen[name] = max(at, self._seen.get(name, at))

    # Lines, by their kind.

    def _user(self, record: Record, at: float | None) -> None:
        if record.isSidechain is True:
            self._sidechain(at)
            return
        message = record.message
        if message is None or message.content is None:
            return
        for block in (blocks := message.blocks):
            if block.type == "tool_result":
                self._result(record, block, at)
        self._words(record, [block for block in blocks if block.type != "tool_result"], at)

    def _result(self, record: Record, block: Block, at: float | None) -> None:
        name = text_of(block.tool_use_id)
        call = self._calls.pop(name, None) if name is not None else None
        if name is not None:
            self._seen.pop(name, None)
        self._background.result(call.name if call else None, result_of(record.toolUseResult), at)
        if self._open is None:
            self._open = True

    def _words(self, record: Record, blocks: list[Block], at: float | None) -> None:
        """Take over what a line of the user's holds beside results: a prompt, or what only looks like one."""
        texts = [block.text for block in blocks if isinstance(block.text, str)]
        if any(text.startswith(_INTERRUPTED) for text in texts):
            self._end(at)
        elif texts and texts[0].startswith(NOTIFICATION):
            self._background.notified(texts[0])
            self._go_on(at)
        elif origin_of(record.origin) == "task-notification":
            self._go_on(at)
        elif record.isMeta is True or record.isCompactSummary is True or not blocks:
            return
        elif not any(text.lstrip().startswith(_NO_PROMPT) for text in texts):
            self._begin(at)

    def _assistant(self, record: Record, at: float | None) -> None:
        if record.isSidechain is True:
            self._sidechain(at)
            return
        message = record.message or Message()
        if record.isApiErrorMessage is True or message.model == "<synthetic>":
            self._error(record, message, at)
            return
        self._refused = None
        if (model := model_of(message.model)) is not None:
            self._model = model
        if (usage := message.usage) is not None:
            self._context = usage.context
            if (name := text_of(message.id)) is not None:
                self._tokens.add(name, usage, at)
        for block in message.blocks:
            if block.type == "tool_use":
                self._call(block, at)
        self._answered = at
        if text_of(message.stop_reason) in _ENDS:
            self._end(at)
        elif self._open is not True:
            self._since = at if self._open is False else None
            self._open = True

    def _call(self, block: Block, at: float | None) -> None:
        name, tool = text_of(block.id), tool_of(block.name)
        if name is None:
            return
        if len(self._calls) >= MAX_CALLS and name not in self._calls:
            oldest = next(iter(self._calls))
            del self._calls[oldest]
            self._seen.pop(oldest, None)
        self._calls[name] = OpenCall(tool, at, tool in ASKING)

    def _error(self, record: Record, message: Message, at: float | None) -> None:
        """Take over what stands in place of the model's answer, which its own program has made."""
        text = next((one.text for one in message.blocks if isinstance(one.text, str)), "")
        if record.isApiErrorMessage is not True and not text.startswith("API Error"):
            return
        why = final_refusal(record, text)
        if why is not None:
            self._refuse(why, at)
        self._end(at)

    def _system(self, record: Record, at: float | None) -> None:
        match record.subtype:
            case "turn_duration":
                self._end(at)
            case "api_error":
                self._refuse(retry_refusal(record), at)
            case "agents_killed":
                self._background.subagents_killed()
            case "compact_boundary":
                self._context = None

    def _queue(self, record: Record, _at: float | None) -> None:
        if record.operation == "enqueue" and (text := string_of(record.content)).startswith(NOTIFICATION):
            self._background.notified(text)

    # What lines do.

    def _begin(self, at: float | None) -> None:
        """Begin a turn; what was open before was given up, or its process was killed."""
        self.began = True
        if at is not None and self._answered is not None and 0.0 < self._answered - at <= LATE:
            if self._open is True:
                self._since = at
            return
        self._open, self._since = True, at
        self._drop_calls()

    def _go_on(self, at: float | None) -> None:
        """Begin a turn unless one is open."""
        self.began = True
        if self._open is not True:
            self._begin(at)

    def _end(self, at: float | None) -> None:
        self._answered = at
        if self._open is not False:
            self._open, self._since = False, at
        self._drop_calls()

    def _drop_calls(self) -> None:
        self._calls.clear()
        self._seen.clear()

    def _refuse(self, why: Refusal, at: float | None) -> None:
        at = self._last if at is None else at
        if at is not None:
            before = self._refused
            self._refused = replace(before, why=why, last=at) if before else Refused(why, at, at)

    def _sidechain(self, at: float | None) -> None:
        """Note a subagent's line; older builds write them between those of the session itself."""
        if at is not None:
            for name in self.subagent_calls:
                self.subagent_seen(name, at)


_HANDLERS: dict[str, Callable[[TranscriptReducer, Record, float | None], None]] = {
    "user": TranscriptReducer._user,
    "assistant": TranscriptReducer._assistant,
    "system": TranscriptReducer._system,
    "queue-operation": TranscriptReducer._queue,
}


def _is_of(since: float | None, born: float) -> bool:
    return since is None or since >= born
