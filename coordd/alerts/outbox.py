"""Know which messages are not told yet by which actions, and how those went that are.

The steps of a parcel, one for each of its actions, and what a kill -9 after each of them means::

    in the state that is on disk      the action is done after the next start
    the intent is in the journal      it is done again, and the message says that it may have been told
    the outcome is in the journal     it is not done again

Pure state. A parcel is a message and the actions that have not told it; :data:`MOST` of them are kept, and of
more the oldest are given up and listed as such.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from coordd.alerts.message import Entry, Message
from coordd.util.untyped import as_dict, as_list, dicts

MOST = 500
LISTED = 100
"""Messages that are listed after they were told."""

Line = dict[str, object]
T = TypeVar("T")


@dataclass(slots=True)
class Outcome:
    """How an action went: ``error`` says in words why it failed, None where it did not."""

    action: str
    at: str
    error: str | None
    again: bool


@dataclass(slots=True)
class TellingRecord:
    """What was told when, and how it went so far."""

    id: str
    rule: str
    state: str
    at: str
    title: str
    count: int
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass(slots=True)
class Parcel:
    """A message, and the actions that have not told it; ``begun`` are those that may have."""

    message: Message
    actions: list[str]
    begun: set[str]


class Outbox:
    """Hold parcels by the id of their message, and what was told last."""

    def __init__(self) -> None:
        self.parcels: dict[str, Parcel] = {}
        self.told: deque[TellingRecord] = deque(maxlen=LISTED)

    def add(self, message: Message, actions: Iterable[str]) -> Parcel:
        """Take in a message that these actions have to tell."""
        while len(self.parcels) >= MOST:
            oldest = next(iter(self.parcels.values()))
            for action in list(oldest.actions):
                self.done(oldest, action, message.at, "given up: too many messages wait")
        parcel = Parcel(message, list(actions), set())
        if parcel.actions:
            self.parcels[message.id] = parcel
        self.told.append(
            TellingRecord(message.id, message.rule, message.state, message.at, message.title, message.count)
        )
        return parcel

    def begin(self, parcel: Parcel, action: str, at: str) -> Line:
        """Note that an action begins; return the line of the journal that has to be written before."""
        parcel.begun.add(action)
        return {"id": parcel.message.id, "action": action, "at": at, "did": "begin"}

    def done(self, parcel: Parcel, action: str, at: str, error: str | None, *, again: bool = False) -> Line:
        """Note how an action went; return the line of the journal."""
        message = parcel.message
        if action in parcel.actions:
            parcel.actions.remove(action)
        parcel.begun.discard(action)
        if not parcel.actions:
            self.parcels.pop(message.id, None)
        record = next((one for one in self.told if one.id == message.id), None)
        if record is not None and all(one.action != action for one in record.outcomes):
            record.outcomes.append(Outcome(action, at, error, again))
        return {"id": message.id, "action": action, "at": at, "did": "end", "error": error, "again": again}

    def replay(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take in the journal, after the state."""
        for line in lines:
            parcel = self.parcels.get(str(line.get("id")))
            action = str(line.get("action"))
            if parcel is None or action not in parcel.actions:
                continue  # the state knew it already
            if line.get("did") == "begin":
                parcel.begun.add(action)
            elif line.get("did") == "end":
                error = line.get("error")
                words = None if error is None else str(error)
                self.done(parcel, action, str(line.get("at")), words, again=line.get("again") is True)

    def to_document(self) -> dict[str, object]:
        """Return it as it stands in the state."""
        return {
            "parcels": [
                {"message": asdict(one.message), "actions": one.actions, "begun": sorted(one.begun)}
                for one in self.parcels.values()
            ],
            "told": [asdict(one) for one in self.told],
        }

    @classmethod
    def from_document(cls, document: object) -> Outbox:
        """Return the parcels of a document; entries that cannot be read are passed over."""
        outbox = cls()
        whole = as_dict(document)
        for one in dicts(whole.get("told")):
            try:
                outcomes = [_made(Outcome, outcome) for outcome in dicts(one.get("outcomes"))]
                outbox.told.append(_made(TellingRecord, {**one, "outcomes": outcomes}))
            except TypeError:
                continue
        for one in dicts(whole.get("parcels")):
            try:
                message = _message(as_dict(one.get("message")))
            except TypeError:
                continue
            actions = [str(action) for action in as_list(one.get("actions"))]
            begun = {str(action) for action in as_list(one.get("begun"))}
            if actions:
                outbox.parcels[message.id] = Parcel(message, actions, begun & set(actions))
        return outbox


def _message(document: dict[str, Any]) -> Message:
    entries = tuple(_made(Entry, one) for one in dicts(document.get("entries")))
    return _made(Message, {**document, "entries": entries})


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "bool": (bool,),
    "EntryState": (str,),
    "MessageState": (str,),
}


def _made(kind: type[T], document: Mapping[str, Any]) -> T:
    """Return what a document holds.

    Raises:
        TypeError: it holds something else.
    """
    one = kind(**document)
    for each in fields(one):  # type: ignore[arg-type]  # kind is a dataclass
        if not isinstance(document.get(each.name), _TYPES.get(str(each.type), (object,))):
            raise TypeError(each.name)
    return one
