"""Lines out of record files, on their way to stdout: as they are to a pipe or a file, escaped to a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from coordd.cli.common import OutputClosed, output_error
from coordd.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterable


def write_blocks(blocks: Iterable[bytes]) -> None:
    """Write blocks of whole lines, each at once.

    Raises:
        OutputClosed: nobody reads them any more.
        CannotTell: they cannot be written (a full disk).
    """
    if sys.stdout is None:  # started with >&-
        raise OutputClosed
    terminal = sys.stdout.isatty()
    out = sys.stdout.buffer
    for block in blocks:
        try:
            out.write(_for_terminal(block) if terminal else block)
            out.flush()
        except OSError as error:
            raise output_error(error) from error


def _for_terminal(block: bytes) -> bytes:
    lines = block.decode("utf-8", "surrogateescape").split("\n")
    return "\n".join([escape(line) for line in lines]).encode(sys.stdout.encoding, "backslashreplace")
