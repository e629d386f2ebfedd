"""JSON for a client that must start fast: the C core of the standard library's json, without its package.

``import json`` compiles regular expressions and costs as much time as all the rest of ``coordctl status``.
Its C scanner and encoder need none of that. They are private to CPython, so everything they cannot do
(another interpreter, another signature, any malformed text) is left to json itself, which also words the
error.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Context:
    """What the C scanner asks of a json.JSONDecoder, with that class's defaults."""

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
    except Exception:  # whatever is different, json knows
        return None


def loads(text: str) -> Any:
    """As :func:`json.loads` of a str.

    Raises:
        ValueError: no JSON.
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
    """As :func:`json.dumps`, compact, ASCII, refusing NaN and infinities.

    Raises:
        ValueError, TypeError: what JSON cannot hold.
    """
    if _CORE is not None:
        return "".join(_CORE[1](value, 0))
    import json

    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _refuse(value: object) -> object:
    raise TypeError(f"not a JSON value: {type(value).__name__}")


_CORE = _c_core()
