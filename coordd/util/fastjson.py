"""Encode and decode JSON with CPython's C functions, without the start-up cost of ``import json``.

``import json`` compiles regular expressions and costs as much time as all the rest of ``coordctl status``.
Its C scanner and encoder need none of that. They are private to CPython, so json itself takes over whenever
they cannot be used (another interpreter, another signature) or fail (malformed text); it also words the
error.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for True; importing typing costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Context:
    """Attributes that the C scanner reads, with the defaults of json.JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float  # NaN, Infinity, -Infinity


def _c_core() -> (
    tuple[Callable[[str, int], tuple[Any, int]], Callable[[object, int], tuple[str, ...]]] | None
):
    try:
        from _json import encode_basestring_ascii, make_encoder, make_scanner

        encoder = make_encoder(None, _refuse, encode_basestring_ascii, None, ":", ",", False, False, False)
        return make_scanner(_Context), encoder  # type: ignore[arg-type]  # any object with these attributes does
    except Exception:  # another interpreter or signature: json works everywhere
        return None


def loads(text: str) -> Any:
    """Decode a text as :func:`json.loads` does.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: nested too deeply.
    """
    if _CORE is not None:
        stripped = text.strip(" \t\n\r")
        try:
            value, end = _CORE[0](stripped, 0)
            if end == len(stripped):
                return value
        except RecursionError:
            raise
        except Exception:  # noqa: S110  # json finds the same fault again and says where it is
            pass
    import json

    return json.loads(text)


def dumps(value: object) -> str:
    """Encode a value as :func:`json.dumps` does: compact, ASCII, without NaN and infinities.

    Raises:
        ValueError, TypeError: the value cannot be written as JSON.
    """
    if _CORE is not None:
        return "".join(_CORE[1](value, 0))
    import json

    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _refuse(value: object) -> object:
    raise TypeError(f"not a JSON value: {type(value).__name__}")


_CORE = _c_core()
