"""Answer as the API of OpenAI's models does, from a script: all that a Codex under test talks to.

It runs as model_stub.py does, with the same script, and differs in what it speaks: ``POST …/responses``,
answered with server-sent events. An answer may hold these as well:

| in an answer | what the model, or its provider, does |
|---|---|
| ``"limits": {HEADER: VALUE, …}`` | tells of the account's limits, as ``x-codex-HEADER`` |
| ``{"custom": [name, text]}`` | calls a tool that takes a text, as ``apply_patch`` does |
| ``{"error": 429, "detail": {…}}`` | refuses, with more in the error |

A model that answers with nothing but a text ends the turn. A tool may have its namespace and a dot before
its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import model_stub
from model_stub import Answer, Script, next_number

USAGE = {
    "input_tokens": 1200,
    "input_tokens_details": {"cached_tokens": 500},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 1230,
}
_ANSWERS = frozenset({"function_call", "custom_tool_call", "local_shell_call"})


def next_answer(script: Script, items: Sequence[Mapping[str, Any]]) -> tuple[str, int, Answer]:
    """Return the keyword that decides, the number of the answer, and the answer."""
    turns = 0
    for item in reversed(items):
        if item["type"] in _ANSWERS or item.get("role") == "assistant":
            turns += 1
        elif item["type"] == "message" and item["role"] == "user":
            said = "\n".join(part.get("text", "") for part in item["content"])
            found = max(script, key=said.rfind, default="")
            if found and found in said:
                answers = script[found]
                return found, turns, answers[turns] if turns < len(answers) else {"text": "Done."}
    return "", turns, {"text": "Done."}


def _items(answer: Answer) -> Iterator[dict[str, Any]]:
    if "text" in answer:
        content = [{"type": "output_text", "text": answer["text"]}]
        yield {"type": "message", "id": f"msg_{next_number():08}", "role": "assistant", "content": content}
    for name, given in answer.get("calls", ()):
        number = f"{next_number():08}"
        space, _, tool = name.rpartition(".")
        call = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": tool}
        yield {**call, "arguments": json.dumps(given), **({"namespace": space} if space else {})}
    if "custom" in answer:
        name, given = answer["custom"]
        number = f"{next_number():08}"
        call = {"type": "custom_tool_call", "id": f"ctc_{number}", "call_id": f"call_{number}", "name": name}
        yield {**call, "input": given}


def _events(answer: Answer) -> Iterator[dict[str, Any]]:
    name = f"resp_{next_number():08}"
    yield {"type": "response.created", "response": {"id": name}}
    for index, item in enumerate(_items(answer)):
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": {"id": name, "usage": USAGE}}


class _Handler(model_stub.Handler):
    def respond(self, asked: Mapping[str, Any], script: Script) -> None:
        if not self.path.endswith("/responses"):
            self.do_GET()
            return
        keyword, number, answer = next_answer(script, asked["input"])
        self.note(keyword, number)
        self.hold(answer)
        if "error" in answer:
            error = {"type": answer["kind"], "message": answer.get("message", "as the script says")}
            self.send(answer["error"], {"error": {**error, **answer.get("detail", {})}}, limits_of(answer))
            return
        lines = (f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in _events(answer))
        self.send_body(200, "text/event-stream", "".join(lines).encode(), limits_of(answer))


def limits_of(answer: Answer) -> dict[str, str]:
    """Return the headers that tell of the account's limits."""
    return {f"x-codex-{name}": str(value) for name, value in answer.get("limits", {}).items()}


if __name__ == "__main__":
    model_stub.main(_Handler)
