"""LangGraph, as its users run it: this file runs in LangGraph's own environment and imports nothing of ours.

It reads one JSON object a line from standard input and answers with one on standard output, so that a benchmark can
measure it in turns with others:

- ``{"do": "send", "thread": 3, "texts": ["…"]}``: one after the other; answers ``{"ms": [...]}``
- ``{"do": "crowd", "threads": [1, 2], "each": 10}``: all threads at once; answers ``{"seconds": …, "ms": [...]}``

Everything by the book: `create_agent`, the SQLite checkpointer on a file, ``durability="sync"`` (a checkpoint is on
the disk before the next step begins; the only setting that promises what Repertory promises).
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver


class Worker:
    """One agent with a checkpointer; each thread is one conversation."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    async def send(self, thread: int, text: str) -> float:
        """One message; the milliseconds that it took."""
        begun = time.perf_counter()
        await self._agent.ainvoke(
            {"messages": [{"role": "user", "content": text}]},
            {"configurable": {"thread_id": f"thread-{thread}"}},
            durability="sync",
        )
        return (time.perf_counter() - begun) * 1e3

    async def carry_out(self, order: dict[str, Any]) -> dict[str, Any]:
        """One line of input."""
        if order["do"] == "send":
            return {"ms": [await self.send(order["thread"], text) for text in order["texts"]]}
        taken: list[float] = []

        async def one(thread: int) -> None:
            for index in range(order["each"]):
                taken.append(await self.send(thread, f"hello number {index}"))

        begun = time.perf_counter()
        await asyncio.gather(*(one(thread) for thread in order["threads"]))
        return {"seconds": time.perf_counter() - begun, "ms": taken}


async def main(base_url: str, database: str) -> None:
    """Carry out orders until standard input closes."""
    model = ChatOpenAI(model="mock", base_url=base_url, api_key="none", use_responses_api=False)
    async with AsyncSqliteSaver.from_conn_string(database) as saver:
        worker = Worker(create_agent(model, tools=[], checkpointer=saver,
                                     system_prompt="You are an agent of the benchmark. Answer shortly."))
        await worker.send(-1, "hello")
        print(json.dumps({"ready": True}), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await worker.carry_out(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
