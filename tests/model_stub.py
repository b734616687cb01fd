"""A model server for tests: OpenAI-compatible, on loopback, scripted; it answers a message with tool calls, one a turn.

`python model_stub.py PORT SCRIPT` serves. SCRIPT is JSON: a list of [words, [command, …]]; the first entry whose words are all in
the last real user message is played: each command as one call of the tool `exec`, then the word Done. What the tools answered is
appended to SCRIPT.said, one JSON string a line.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

INTERNAL = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>"
MODEL = "stub-model"


def text_of(message: dict[str, Any]) -> str:
    """A message's content, in one string."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "\n".join(str(part.get("text", "")) for part in content)


def turn(messages: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """The last real user message, and what tools have answered since.

    OpenClaw adds a user message of its own after every tool's answer, and a stub that takes it for a new task never ends.
    """
    asked, answers = "", list[str]()
    for message in messages:
        text = text_of(message)
        if message["role"] == "user" and INTERNAL not in text:
            asked, answers = text, []
        elif message["role"] == "tool":
            answers.append(text)
    return asked, answers


def reply(script: list[tuple[list[str], list[str]]], messages: list[dict[str, Any]]) -> dict[str, Any]:
    """What the model says next, as one delta."""
    asked, answers = turn(messages)
    commands = next((commands for words, commands in script if all(word in asked for word in words)), [])
    if len(answers) >= len(commands):
        return {"role": "assistant", "content": "Done."}
    arguments = {"command": commands[len(answers)], "yieldMs": 120_000, "timeoutSeconds": 120}
    call = {"name": "exec", "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "tool_calls": [{"index": 0, "id": f"call_{len(answers)}", "type": "function", "function": call}],
    }


class Stub(BaseHTTPRequestHandler):
    """One request: `POST /v1/chat/completions`, answered as a stream or whole."""

    script_path = Path()

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        script = json.loads(self.script_path.read_text(encoding="utf-8"))
        _, answers = turn(asked["messages"])
        said = self.script_path.with_suffix(".said")
        with said.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(answer) + "\n" for answer in answers[-1:])
        delta = reply(script, asked["messages"])
        reason = "tool_calls" if "tool_calls" in delta else "stop"
        whole = {"id": "stub", "created": 0, "model": MODEL}
        if not asked.get("stream"):
            choice = {"index": 0, "message": delta, "finish_reason": reason}
            self.answer("application/json", json.dumps({**whole, "object": "chat.completion", "choices": [choice]}))
            return
        chunks = [
            {"index": 0, "delta": delta, "finish_reason": None},
            {"index": 0, "delta": {}, "finish_reason": reason},
        ]
        lines = [json.dumps({**whole, "object": "chat.completion.chunk", "choices": [choice]}) for choice in chunks]
        self.answer("text/event-stream", "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]))

    def answer(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name that http.server gives it)
        """Say nothing."""


if __name__ == "__main__":
    Stub.script_path = Path(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Stub).serve_forever()
