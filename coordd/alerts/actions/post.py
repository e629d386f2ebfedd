"""Post one message, as a process of its own that ``webhook.py`` starts (``python -m``).

The question is a JSON object on stdin: ``url``, ``id``, ``body``, and ``seconds`` for all tries and for
``each``. Each try is made by a thread, so that a name server or a peer that sends a byte a second holds up
nothing but that thread: when its time is over its connection is shut down, and the next try begins.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time

from coordd.alerts.actions.address import address_of
from coordd.alerts.actions.exchange import Exchange
from coordd.alerts.actions.proxies import ProxyUnknown, proxy_for
from coordd.alerts.actions.replies import Result, next_wait, of_error

_LIFETIME = 120
"""Seconds after which it ends in any case."""


def main() -> None:
    """Answer the question on stdin, on stdout."""
    signal.alarm(_LIFETIME)  # where whoever started it is gone before its time
    try:
        question = json.loads(sys.stdin.buffer.read())
        failed = send(
            question["url"], question["id"], question["body"].encode(), question["seconds"], question["each"]
        )
    except Exception as error:  # its text may hold the address, so no traceback either
        failed = f"a fault of coordd itself ({type(error).__name__})"
    sys.stdout.write(json.dumps({"failed": failed}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # threads that still wait for a name server are left behind


def send(url: str, key: str, body: bytes, seconds: float, each: float) -> str | None:
    """Post until it is told, or it is no use; returns why it was not told, else None."""
    deadline = time.monotonic() + seconds
    address = address_of(url)
    try:
        proxy = proxy_for(address)
    except ProxyUnknown as error:
        return str(error)
    tries = 0
    while True:
        tries += 1
        exchange = Exchange(address, proxy, key=key, body=body)
        result = _within(exchange, min(each, deadline - time.monotonic()))
        if result.failed is None:
            return None
        jitter = random.random()  # noqa: S311  # only to spread the load
        wait = next_wait(tries, result, jitter, deadline - time.monotonic())
        if wait is None:
            return _words(result, tries)
        time.sleep(wait)


def _within(exchange: Exchange, seconds: float) -> Result:
    results: list[Result] = []
    done = threading.Event()

    def work() -> None:
        try:
            results.append(exchange.run())
        except Exception as error:  # whatever it is, it is the result of this try
            results.append(of_error(error))
        done.set()

    threading.Thread(target=work, daemon=True).start()
    if not done.wait(seconds):
        exchange.give_up()
        return Result(f"no answer within {seconds:.0f} s ({exchange.phase})", may_pass=True)
    return results[0]


def _words(result: Result, tries: int) -> str:
    asked = f", and asks to wait for {result.wait:.0f} s" if result.wait > 0 else ""
    tried = "" if tries == 1 else f", tried {tries} times"
    return f"{result.failed}{asked}{tried}"


if __name__ == "__main__":
    main()
