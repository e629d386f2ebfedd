"""Notice the end of standard input: who started this process has ended, however that came."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from coordd.alerts.lock import StateError

log = logging.getLogger(__name__)

_STDIN = 0
_BLOCK = 4096


def at_end_of_input(then: Callable[[], None]) -> None:
    """Call ``then`` on the running loop once standard input has ended; what comes before is thrown away.

    Raises:
        StateError: standard input is a file, of which nobody holds another end.
    """
    loop = asyncio.get_running_loop()

    def readable() -> None:
        try:
            ended = not os.read(_STDIN, _BLOCK)
        except BlockingIOError:
            return
        except OSError:
            ended = True
        if ended:
            log.info("standard input has ended: so does this")
            loop.remove_reader(_STDIN)
            then()

    try:
        os.set_blocking(_STDIN, False)
        loop.add_reader(_STDIN, readable)
    except OSError as error:
        raise StateError("--until-eof needs a pipe as its standard input") from error
