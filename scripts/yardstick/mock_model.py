"""A stand-in for a model server that speaks the OpenAI protocol, so that a benchmark times the program, not a model.

It knows chat completions, whole or streamed. What it answers is decided by its mode and the request:

- mode ``send``: it calls the tool `send_message` when that is offered, else it answers in text;
- mode ``text``: always text;
- a last user message that holds ``[[call NAME {"an": "argument"}]]`` makes it call that tool first.

It runs in a process of its own (`running`), for a model is not in the process of the program either.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

MODEL = "mock"
DIRECTIVE = re.compile(r"\[\[call (\w+) (\{.*?\})\]\]", re.DOTALL)


@dataclass(kw_only=True, slots=True)
class Behaviour:
    """How the model answers; changed at run time through ``POST /control``."""

    latency_ms: float = 0.0
    mode: str = "send"
    text: str = "ok"
    requests: int = 0
    ids: Iterator[int] = field(default_factory=itertools.count)


def choose(request: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    """The assistant's message that answers `request`."""
    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in request.get("tools") or ()}
    wish = _directive(request["messages"])
    if wish is not None and wish[0] in schemas:
        return _call(*wish, schemas[wish[0]], next(behaviour.ids))
    if behaviour.mode == "send" and "send_message" in schemas:
        return _call("send_message", {"message": behaviour.text}, schemas["send_message"], next(behaviour.ids))
    return {"role": "assistant", "content": behaviour.text}


def _directive(messages: list[dict[str, Any]]) -> tuple[str, dict[str, Any]] | None:
    """The tool call that the newest user message orders, unless a tool has answered since."""
    for message in reversed(messages):
        if message["role"] == "tool":
            return None
        if message["role"] == "user":
            content = message["content"]
            text = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
            found = DIRECTIVE.search(text)
            return (found[1], json.loads(found[2])) if found else None
    return None


def _call(name: str, arguments: dict[str, Any], schema: dict[str, Any], number: int) -> dict[str, Any]:
    """A message that calls a tool; required arguments that nobody named get a plain value of their type."""
    plain = {"boolean": False, "integer": 0, "number": 0, "array": [], "object": {}}
    for key in schema.get("required", ()):
        arguments.setdefault(key, plain.get(schema.get("properties", {}).get(key, {}).get("type"), "-"))
    call = {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


class Server:
    """The HTTP side: routes and wire formats."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def app(self) -> web.Application:
        """The application with its routes."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/control", self.control)
        app.router.add_get("/control", self.control)
        return app

    async def control(self, request: web.Request) -> web.Response:
        """Change latency_ms, mode or text; answers how it stands."""
        if request.method == "POST":
            for key, value in (await request.json()).items():
                setattr(self._behaviour, key, value)
        known = self._behaviour
        return web.json_response({"latency_ms": known.latency_ms, "mode": known.mode, "requests": known.requests})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One chat completion."""
        body = await request.json()
        self._behaviour.requests += 1
        if self._behaviour.latency_ms:
            await asyncio.sleep(self._behaviour.latency_ms / 1e3)
        message = choose(body, self._behaviour)
        head = {"id": f"chatcmpl-{next(self._behaviour.ids)}", "created": 1, "model": body.get("model", MODEL)}
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        usage = {"prompt_tokens": sum(len(str(m.get("content"))) for m in body["messages"]) // 4,
                 "completion_tokens": 8, "total_tokens": 8}
        if body.get("stream"):
            return await self._stream(request, head, message, finish, usage)
        choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
        return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    async def _stream(self, request: web.Request, head: dict[str, Any], message: dict[str, Any], finish: str,
                      usage: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        for index, call in enumerate(message.get("tool_calls", ())):
            deltas.append({"tool_calls": [{"index": index, **call}]})
        deltas.extend({"content": piece} for piece in re.findall(r"\S+\s*", message["content"] or ""))
        chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        chunks.append({"choices": [], "usage": usage})
        for chunk in chunks:
            data = json.dumps({**head, "object": "chat.completion.chunk", **chunk})
            await response.write(f"data: {data}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


@dataclass(frozen=True, kw_only=True, slots=True)
class MockModel:
    """A running mock model, seen from the benchmark."""

    #: where the server listens, for example http://127.0.0.1:40123
    address: str

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given as base URL."""
        return f"{self.address}/v1"

    def set(self, **behaviour: Any) -> None:
        """Change `latency_ms`, `mode` or `text`."""
        data = json.dumps(behaviour).encode()
        request = urllib.request.Request(f"{self.address}/control", data, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()

    def requests(self) -> int:
        """How many questions it has answered so far."""
        with urllib.request.urlopen(f"{self.address}/control", timeout=10) as answer:
            return int(json.load(answer)["requests"])


@contextlib.contextmanager
def running() -> Iterator[MockModel]:
    """A mock model in a process of its own; it ends with this one, whatever happens to it."""
    folder = Path(__file__).parent.parent
    process = subprocess.Popen(
        [sys.executable, "-m", "yardstick.mock_model"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert process.stdout is not None
    try:
        yield MockModel(address=process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait(10)


async def _serve(port: int, behaviour: Behaviour) -> None:
    runner = web.AppRunner(Server(behaviour).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    # the parent holds the other end of our standard input: its end is ours
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser(description="A mock model server that speaks the OpenAI protocol.")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (it is printed)")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--mode", choices=("send", "text"), default="send")
    chosen = parser.parse_args()
    asyncio.run(_serve(chosen.port, Behaviour(latency_ms=chosen.latency_ms, mode=chosen.mode)))


if __name__ == "__main__":
    main()
