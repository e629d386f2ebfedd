"""Answer as an API of OpenAI's chat completions does, from a script: all that a Copilot under test talks to.

It runs as model_stub.py does, with the same script, and differs in what it speaks: ``POST …/completions``,
answered with server-sent events. A model that answers with nothing but a text ends the turn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import model_stub
from model_stub import Answer, Script, next_answer, next_number

USAGE = {
    "prompt_tokens": 1200,
    "completion_tokens": 30,
    "total_tokens": 1230,
    "prompt_tokens_details": {"cached_tokens": 500},
}


def _chunks(answer: Answer, model: str) -> Iterator[dict[str, Any]]:
    calls = [
        {
            "index": index,
            "id": f"call_{next_number():08}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps(given)},
        }
        for index, (name, given) in enumerate(answer.get("calls", ()))
    ]
    said = {"role": "assistant", "content": answer.get("text"), **({"tool_calls": calls} if calls else {})}
    same = {
        "id": f"chatcmpl-{next_number()}",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
    }
    yield {**same, "choices": [{"index": 0, "delta": said, "finish_reason": None}]}
    reason = "tool_calls" if calls else "stop"
    yield {**same, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    yield {**same, "choices": [], "usage": USAGE}


class _Handler(model_stub.Handler):
    def respond(self, asked: Mapping[str, Any], script: Script) -> None:
        if not self.path.endswith("/completions"):
            self.do_GET()
            return
        keyword, number, answer = next_answer(script, asked["messages"])
        self.note(keyword, number)
        self.hold(answer)
        if "error" in answer:
            error = {"type": answer["kind"], "message": answer.get("message", "as the script says")}
            self.send(answer["error"], {"error": error})
            return
        lines = (f"data: {json.dumps(one)}\n\n" for one in _chunks(answer, asked["model"]))
        self.send_body(200, "text/event-stream", ("".join(lines) + "data: [DONE]\n\n").encode())


if __name__ == "__main__":
    model_stub.main(_Handler)
