"""A model behind HTTP that the acceptance lines steer: how long it thinks, whom it asks, what it was asked.

It speaks the OpenAI protocol. An agent whose memory says `NEXT=<agent id>` asks that agent and waits for the answer;
any other answers at once. It runs in a thread of the acceptance line, so that killing the system leaves it alone.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_NEXT = re.compile(r"NEXT=(agent-[0-9a-f-]{36})")
_MARK = re.compile(r"mark-\d+")


class ModelServer:
    """Use it as a context manager."""

    def __init__(self, *, thinks_s: float = 0.0) -> None:
        """`thinks_s`: seconds before each answer."""
        self.thinks_s = thinks_s
        #: `mark-<number>` in the newest message of a person -> how often the model was asked about it
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True

    def __enter__(self) -> ModelServer:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def providers(self) -> dict[str, Any]:
        """The settings that make `steered/model` a handle of it."""
        return {"steered": {"kind": "openai", "key": "none",
                            "base_url": f"http://127.0.0.1:{self._http.server_address[1]}/v1"}}

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """What the assistant says to this request."""
        messages = body["messages"]
        asked = next((i for i in reversed(range(len(messages))) if messages[i]["role"] == "user"), 0)
        mark = _MARK.search(str(messages[asked]["content"]))
        with self._lock:
            self.asked[mark[0] if mark else ""] += 1
        time.sleep(self.thinks_s)
        results = [str(m["content"]) for m in messages[asked:] if m["role"] == "tool"]
        target = _NEXT.search(str(messages[0]["content"]))
        if target and not results:
            return _call("send_message_to_agent_and_wait_for_reply", other_agent_id=target[1], message="Go on.")
        deepest = max((len(re.findall("reached", result)) for result in results), default=0)
        return _call("send_message", message="reached " * (deepest + 1) + (mark[0] if mark else ""))


def _call(name: str, **arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None,
            "tool_calls": [{"id": "call_0", "type": "function", "function": function}]}


def _handler(server: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = server.answer(body)
            head = {"id": "chatcmpl-0", "created": 1, "model": "model"}
            usage = {"prompt_tokens": 100, "completion_tokens": 8, "total_tokens": 108}
            finish = "tool_calls"
            if body.get("stream"):
                calls = [{"index": 0, **call} for call in message["tool_calls"]]
                chunks: list[dict[str, Any]] = [
                    {"choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": calls}}]},
                    {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
                    {"choices": [], "usage": usage},
                ]
                lines = [json.dumps({**head, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
                self._send("text/event-stream", "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]))
                return
            choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
            self._send("application/json",
                       json.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage}))

        def _send(self, kind: str, text: str) -> None:
            data = text.encode()
            try:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:  # whoever asked was killed
                self.close_connection = True

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    return Handler
