"""Tell why a provider refuses a session, from what its transcript says of the error: two tables.

Pure. Newer builds name the error in a word and give the status of the HTTP answer; older ones leave a text
for people alone, of which the status and a few words count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from coordd.agents.session import Refusal
from coordd.sources.claude_code.transcript_lines import Record, error_of
from coordd.sources.sessions.lines import text_of

_WORDS: dict[str, Refusal | None] = {
    "rate_limit": "rate-limit",
    "rate_limit_error": "rate-limit",
    "overloaded": "overload",
    "overloaded_error": "overload",
    "authentication_failed": "authentication",
    "authentication_error": "authentication",
    "permission_error": "authentication",
    "oauth_org_not_allowed": "authentication",
    "billing_error": "billing",
    "max_output_tokens": None,  # the answer was too long: no refusal
}
_STATUSES: dict[int, Refusal] = {
    401: "authentication",
    402: "billing",
    403: "authentication",
    429: "rate-limit",
    503: "overload",
    529: "overload",
}
_TEXTS: tuple[tuple[str, Refusal], ...] = (
    ("credit balance", "billing"),
    ("usage limit", "rate-limit"),
    ("/login", "authentication"),
    ("api key", "authentication"),
)
_STATUS_IN_TEXT = re.compile(r"\bAPI Error:?[^0-9]{0,40}([45][0-9]{2})\b", re.ASCII)


def retry_refusal(record: Record) -> Refusal:
    """Return why the provider refuses, from a record of a request that will be tried again."""
    detail = error_of(record.error)
    words = [detail.type]
    inner = detail.error
    while (
        isinstance(inner, dict) and len(words) < 4
    ):  # the provider's answer, which wraps the error once more
        words.append(inner.get("type"))
        inner = inner.get("error")
    return _by_words(words, detail.status) or "other"


def final_refusal(record: Record, text: str) -> Refusal | None:
    """Return why the provider refused for good, from what stands in place of the model's answer.

    ``text`` is what it says to people, and only looked at. None: the error was no refusal.
    """
    word = text_of(error_of(record.error).type)
    if word in _WORDS and _WORDS[word] is None:
        return None
    found = _by_words((word,), record.apiErrorStatus)
    if found is not None:
        return found
    status = _STATUS_IN_TEXT.search(text[:400])
    if status is not None and int(status[1]) in _STATUSES:
        return _STATUSES[int(status[1])]
    lowered = text[:400].lower()
    return next((why for words, why in _TEXTS if words in lowered), "other")


def _by_words(words: Iterable[object], status: object) -> Refusal | None:
    for word in words:
        if isinstance(word, str) and (why := _WORDS.get(word)) is not None:
            return why
    return _STATUSES.get(status) if isinstance(status, int) else None
