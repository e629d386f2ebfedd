"""Answer as the API of Claude's models does, from a script: all that a Claude Code under test talks to.

Run as a program, in the network namespace of what asks it: ``python model_stub.py DIR``. It listens on a free
loopback port, writes the port to standard output, and ends when its standard input does.

``DIR/script.json`` is read at each request, so that a test may write it anew at any time (by rename). It
maps a keyword to the answers of one turn. The keyword that stands last in what the user wrote decides; how
many answers the model has given since then says which one is next; after the last one the turn ends with
``Done.``

| answer | what the model does |
|---|---|
| ``{"text": …}`` | says it, and ends the turn |
| ``{"calls": [[name, input], …], "text"?: …}`` | calls tools |
| ``{"error": 429, "kind": "rate_limit_error", "message"?: …}`` | refuses, each time again |
| ``{"hold": NAME, …}`` | before any of these: thinks until ``DIR/NAME`` exists |

Each answer is a line of ``DIR/asked``: the keyword, and the number of the answer.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = Mapping[str, Any]
Script = Mapping[str, Sequence[Answer]]

TITLE = "(title)"
"""The keyword for what the program asks beside the turns of an agent: a title for the session, for one."""

_numbers = itertools.count(1)


def next_number() -> int:
    """Return a number for an id that nothing else has."""
    return next(_numbers)


def call(name: str, **given: object) -> Answer:
    """Return the answer that calls one tool."""
    return {"calls": [[name, given]]}


def next_answer(script: Script, messages: Sequence[Mapping[str, Any]]) -> tuple[str, int, Answer]:
    """Return the keyword that decides, the number of the answer, and the answer."""
    turns = 0
    for message in reversed(messages):
        if message["role"] == "assistant":
            turns += 1
        elif message["role"] == "user":
            said = _said(message["content"])
            found = max(script, key=said.rfind, default="")
            if found and found in said:
                answers = script[found]
                return found, turns, answers[turns] if turns < len(answers) else {"text": "Done."}
    return "", turns, {"text": "Done."}


def _said(content: str | Sequence[Mapping[str, Any]]) -> str:
    """Return the text of a user's message; what a tool returned is none of it."""
    if isinstance(content, str):
        return content
    return "\n".join(block["text"] for block in content if block["type"] == "text")


def _message(answer: Answer, model: str) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = []
    if "text" in answer:
        blocks.append({"type": "text", "text": answer["text"]})
    for name, given in answer.get("calls", ()):
        blocks.append({"type": "tool_use", "id": f"toolu_{next_number():08}", "name": name, "input": given})
    return {
        "id": f"msg_{next_number():08}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": "tool_use" if answer.get("calls") else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 120,
            "cache_creation_input_tokens": 1000,
            "cache_read_input_tokens": 5000,
            "output_tokens": 30,
        },
    }


def _events(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return a message as the API streams it."""
    begun = {**message, "content": [], "stop_reason": None}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            empty: dict[str, Any] = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": block["text"]}
        else:
            empty = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": 30}}
    yield {"type": "message_stop"}


class Handler(BaseHTTPRequestHandler):
    """What a stub of any provider's API answers with."""

    protocol_version = "HTTP/1.1"
    directory: Path

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.send(404, {"type": "error", "error": {"type": "not_found_error", "message": "not here"}})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.respond(asked, json.loads((self.directory / "script.json").read_bytes()))

    def respond(self, asked: Mapping[str, Any], script: Script) -> None:
        """Answer what was asked as the script says."""
        if "count_tokens" in self.path:
            self.send(200, {"input_tokens": 1000})
        elif not self.path.startswith("/v1/messages"):
            self.do_GET()
        elif not asked.get("tools"):
            self._answer(asked, script.get(TITLE, [{"text": "A title"}])[0])
        else:
            keyword, number, answer = next_answer(script, asked["messages"])
            self.note(keyword, number)
            self._answer(asked, answer)

    def note(self, keyword: str, number: int) -> None:
        """Write down that an answer is asked for."""
        with (self.directory / "asked").open("a") as lines:
            lines.write(f"{keyword} {number}\n")

    def hold(self, answer: Answer) -> None:
        """Think for as long as the script says."""
        if "hold" in answer:
            while not (self.directory / answer["hold"]).exists():
                time.sleep(0.02)

    def _answer(self, asked: Mapping[str, Any], answer: Answer) -> None:
        self.hold(answer)
        if "error" in answer:
            error = {"type": answer["kind"], "message": answer.get("message", "as the script says")}
            self.send(answer["error"], {"type": "error", "error": error})
            return
        message = _message(answer, asked["model"])
        if not asked.get("stream"):
            self.send(200, message)
            return
        lines = (f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in _events(message))
        self.send_body(200, "text/event-stream", "".join(lines).encode())

    def send(
        self, status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with a document."""
        self.send_body(status, "application/json", json.dumps(document).encode(), headers)

    def send_body(
        self, status: int, kind: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with what is of this kind."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):  # an agent that went away is what tests are about
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # tests pass on what they got


def main(handler: type[Handler] = Handler) -> None:
    """Serve until standard input ends."""
    handler.directory = Path(sys.argv[1])
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)  # requests that are held have threads


if __name__ == "__main__":
    main()
