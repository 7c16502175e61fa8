"""The peer: what one would use instead of Repertory, LangGraph, in a process and an environment of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from yardstick.mock_model import MockModel
from yardstick.subject import Crowd
from yardstick.timing import percentile

PACKAGES = ("langgraph", "langchain", "langchain-openai", "langgraph-checkpoint-sqlite")


def environment(root: Path) -> Path:
    """The Python of LangGraph's environment under `root`/build, made if need be."""
    folder = root / "build" / "peer-venv"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists():
        print("installing LangGraph into build/peer-venv (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        if uv := shutil.which("uv"):
            subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *PACKAGES], check=True)
        else:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES],
                           check=True)
        ready.touch()
    return python


def versions(python: Path) -> dict[str, str]:
    """Which versions of LangGraph's packages were measured."""
    code = f"import importlib.metadata as m, json; print(json.dumps({{p: m.version(p) for p in {PACKAGES!r}}}))"
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True)
    return dict(json.loads(done.stdout))


class Peer:
    """LangGraph at work. Satisfies `subject.Subject`; its agents are threads of one agent."""

    name = "LangGraph"

    def __init__(self, process: asyncio.subprocess.Process, database: Path) -> None:
        self._process = process
        self._database = database

    async def order(self, **order: Any) -> dict[str, Any]:
        """Have the worker do something; its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return dict(json.loads(await self._process.stdout.readline()))

    async def send(self, number: int, text: str) -> None:
        """One message to the thread `number`."""
        await self.order(do="send", thread=number, texts=[text])

    async def sequence(self, number: int, count: int) -> list[float]:
        """`count` messages to the thread `number`, one after the other; the milliseconds of each, taken inside."""
        answer = await self.order(do="send", thread=number, texts=[f"hello number {i}" for i in range(count)])
        return list(answer["ms"])

    async def at_once(self, agents: int, each: int, first: int = 0) -> Crowd:
        """Threads from `first` on at once, each with `each` messages."""
        answer = await self.order(do="crowd", threads=list(range(first, first + agents)), each=each)
        return Crowd(messages_per_s=agents * each / answer["seconds"], p50_ms=percentile(answer["ms"], 50),
                     p99_ms=percentile(answer["ms"], 99))

    def disk_bytes(self) -> int:
        """What its database occupies, with the write-ahead log."""
        return sum(path.stat().st_size for path in self._database.parent.glob(self._database.name + "*"))


@contextlib.asynccontextmanager
async def running(python: Path, model: MockModel, folder: Path) -> AsyncIterator[Peer]:
    """LangGraph with its database in `folder`; it ends with this process."""
    database = folder / "peer.sqlite"
    process = await asyncio.create_subprocess_exec(
        str(python), str(Path(__file__).with_name("peer_worker.py")), model.base_url, str(database),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24,
    )
    try:
        assert process.stdout is not None
        if not await process.stdout.readline():
            raise RuntimeError("LangGraph did not start; its error stands above")
        yield Peer(process, database)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
