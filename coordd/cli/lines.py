"""Write lines of record files to stdout: unchanged to a pipe, escaped to a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from coordd.cli.common import OutputClosed, output_error
from coordd.util.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterable


def write_blocks(blocks: Iterable[bytes], *, escaped: bool = False) -> None:
    """Write blocks of whole lines, and flush after each.

    Args:
        blocks: whole lines each.
        escaped: they are escaped already, and may hold colours.

    Raises:
        OutputClosed: the reader of the output went away.
        CannotTell: they cannot be written (a full disk).
    """
    if sys.stdout is None:  # started with >&-
        raise OutputClosed
    terminal = sys.stdout.isatty()
    out = sys.stdout.buffer
    for block in blocks:
        try:
            out.write(_for_terminal(block) if terminal and not escaped else block)
            out.flush()
        except OSError as error:
            raise output_error(error) from error


def _for_terminal(block: bytes) -> bytes:
    lines = block.decode("utf-8", "surrogateescape").split("\n")
    return "\n".join([escape(line) for line in lines]).encode(sys.stdout.encoding, "backslashreplace")
