"""The floor: the least that any system of this kind must do for one message, and nothing else.

A first Ray actor takes the message; a second one asks the model through the official SDK; a third one appends a row
to a LanceDB table and syncs it to the disk; then the first answers. No memory, no tools, no history, no product code.
In front of it stands, where that is asked for, an HTTP server (uvicorn) in one more process.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from yardstick.mock_model import MODEL, MockModel
from yardstick.subject import Crowd, Send, crowd

SYSTEM = "You are an agent of the benchmark. Answer shortly."


class ModelActor:
    """Asks the model through the official SDK."""

    def __init__(self, base_url: str) -> None:
        from openai import AsyncOpenAI  # 1 s of import belongs into the actor's process, not into the benchmark's

        self._client = AsyncOpenAI(base_url=base_url, api_key="none")

    async def ask(self, text: str) -> str:
        """The model's answer to one message."""
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
        answer = await self._client.chat.completions.create(model=MODEL, messages=messages)
        return answer.choices[0].message.content or ""


class StoreActor:
    """Appends rows to a LanceDB table, each append synced before it counts."""

    def __init__(self, folder: str, shared: bool) -> None:
        import lancedb
        import pyarrow as pa

        self._pa = pa
        self._schema = pa.schema([("at", pa.float64()), ("agent", pa.string()), ("question", pa.string()),
                                  ("answer", pa.string())])
        self._table = lancedb.connect(folder).create_table("journal", schema=self._schema)
        self._path = Path(folder) / "journal.lance"
        self._seen: set[str] = set()
        self._shared = shared
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def append(self, agent: str, question: str, answer: str) -> None:
        """One row, on the disk when this returns."""
        row = {"at": time.time(), "agent": agent, "question": question, "answer": answer}
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await done

    async def _write(self) -> None:
        while self._waiting:
            count = len(self._waiting) if self._shared else 1
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
            await asyncio.to_thread(self._append, [row for row, _ in batch])
            for _, done in batch:
                done.set_result(None)

    def _append(self, rows: list[dict[str, Any]]) -> None:
        self._table.add(self._pa.Table.from_pylist(rows, schema=self._schema))
        for name in ("data", "_transactions", "_versions"):
            self._sync_new(self._path / name)

    def _sync_new(self, folder: Path) -> None:
        """LanceDB does not sync: do it for the files that this append has made, and for the folder's entries."""
        new = [entry.path for entry in os.scandir(folder) if entry.path not in self._seen]
        for path in [*new, str(folder)]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        self._seen.update(new)


class AgentActor:
    """Takes a message, asks the model, has both kept, answers; one for all agents, for that is less than one each."""

    def __init__(self, model: Any, store: Any) -> None:
        self._model, self._store = model, store

    async def send(self, number: int, text: str) -> str:
        """One message to the agent `number`, and its answer."""
        answer: str = await self._model.ask.remote(text)
        await self._store.append.remote(f"agent-{number}", text, answer)
        return answer


class HttpActor:
    """The HTTP server before the agents: ``POST /agents/{number}/messages`` with the text as body."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    async def start(self) -> str:
        """Serve; the address."""
        import uvicorn
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse
        from starlette.routing import Route

        async def message(request: Request) -> PlainTextResponse:
            number, text = int(request.path_params["number"]), (await request.body()).decode()
            return PlainTextResponse(await self._agent.send.remote(number, text))

        app = Starlette(routes=[Route("/agents/{number}/messages", message, methods=["POST"])])
        # named as TCP, or asyncio does not set TCP_NODELAY, and each answer waits 40 ms for an acknowledgement
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)  # requests wait there until the server is up
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        self._serving = asyncio.create_task(server.serve([listener]))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Floor:
    """The floor, ready to be measured. Satisfies `subject.Subject`."""

    name: str
    agent: Any
    #: every actor, to be ended
    actors: list[Any]

    @classmethod
    def start(cls, model: MockModel, folder: Path, *, shared: bool = False) -> Floor:
        """Start it on a running Ray with its table in `folder`.

        With `shared`, rows that wait at the same time share one append: more than the least, but what a good system
        would do under load.
        """
        asker = ray.remote(num_cpus=0)(ModelActor).remote(model.base_url)
        store = ray.remote(num_cpus=0)(StoreActor).remote(str(folder), shared)
        agent = ray.remote(num_cpus=0)(AgentActor).remote(asker, store)
        ray.get(agent.send.remote(0, "hello"))
        return cls(name="floor, shared appends" if shared else "floor", agent=agent, actors=[asker, store, agent])

    async def send(self, number: int, text: str) -> None:
        """One message to the agent `number`, without HTTP."""
        assert await self.agent.send.remote(number, text)

    async def at_once(self, agents: int, each: int) -> Crowd:
        """`agents` at once, each with `each` messages one after the other."""
        return await crowd(self.send, agents, each)

    async def serve(self) -> str:
        """Put an HTTP server before it; its address."""
        front = ray.remote(num_cpus=0)(HttpActor).remote(self.agent)
        self.actors.append(front)
        return str(await front.start.remote())

    def stop(self) -> None:
        """End the actors."""
        for actor in self.actors:
            ray.kill(actor)


def http_sender(session: Any, address: str) -> Send:
    """What sends one message over HTTP, on an aiohttp session that keeps its connections open."""

    async def send(number: int, text: str) -> None:
        async with session.post(f"{address}/agents/{number}/messages", data=text.encode()) as answer:
            assert answer.status == 200
            assert await answer.text()

    return send
