r"""Write a word of a command as a person can type it into a shell, also with what no terminal shows.

Every command that is shown is made of these words: text that is merely escaped (``\n``) would name another
file when typed. Pure; quick to import.
"""

from __future__ import annotations

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", "'": "\\'"}


def shell_word(text: str) -> str:
    r"""Return a word for a shell: as it is, in quotes, or as ``$'…'`` where a character cannot be printed.

    Bytes in ``$'…'`` are octal: three digits end by themselves in every shell that knows such quotes (POSIX
    since 2024; bash, zsh, ksh, busybox).
    """
    if text.isprintable():
        if text and _PLAIN.issuperset(text):
            return text
        return "'" + text.replace("'", "'\"'\"'") + "'"
    return "$'" + "".join([_SHORT.get(c) or (c if c.isprintable() else _octal(c)) for c in text]) + "'"


def shell_words(words: list[str]) -> str:
    """Return a whole command, its words apart by spaces."""
    return " ".join([shell_word(word) for word in words])


def _octal(char: str) -> str:
    code = ord(char)  # U+DC80 to U+DCFF stand for the bytes of a file's name that are no UTF-8
    data = bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else char.encode("utf-8", "surrogatepass")
    return "".join([f"\\{byte:03o}" for byte in data])
