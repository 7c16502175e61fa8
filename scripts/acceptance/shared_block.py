"""Ten agents append a hundred times each to one shared block: a thousand attributed versions, nothing lost (P4).

First by real agents on Ray, whose model calls `core_memory_append`, several times in each answer, while the nine others
do the same; then at the coordinator alone, on a durable store in this process.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import repertory as rep
from repertory.actors.coordinator import BlockCoordinator
from repertory.ids import IdSource
from repertory.memory.block import Append
from repertory.memory.database import Database
from repertory.memory.versions import BlockVersion

AGENTS, APPENDS = 10, 100
LIMIT_CHARS = 100_000
#: calls of the tool in one answer of the model
CALLS = 10
#: for one message on a busy machine
PATIENCE_S = 300.0


def run(scale: float) -> dict[str, Any]:
    appends = max(1, round(APPENDS * scale))
    # in this order: Ray starts processes by fork, and one that has LanceDB loaded should not
    return {"agents": asyncio.run(by_agents(appends)), "coordinator": asyncio.run(through_the_coordinator(appends))}


async def through_the_coordinator(appends: int) -> dict[str, Any]:
    """The coordinator on a durable store in this process; the history is read once more after a reopening."""
    with tempfile.TemporaryDirectory() as folder:
        database = await Database.open(Path(folder) / "db", ids=IdSource(), now=time.time)
        blocks = BlockCoordinator(database.store, IdSource())
        block_id = (await blocks.create("log", limit_chars=LIMIT_CHARS, op_id="create", by="ann")).block_id

        async def agent(name: str) -> None:
            for number in range(appends):
                await blocks.edit(block_id, Append(content=f"{name}/{number}"), op_id=f"{name}/{number}", by=name)

        started = time.monotonic()
        names = [f"agent-{number}" for number in range(AGENTS)]
        await asyncio.gather(*(agent(name) for name in names))
        took_s = time.monotonic() - started
        await database.close()
        database = await Database.open(Path(folder) / "db", ids=IdSource(), now=time.time)
        history = await BlockCoordinator(database.store, IdSource()).history(block_id, limit=AGENTS * appends + 10)
        await database.close()
    check(history, names, appends)
    assert all(version.op_id == version.action["content"] for version in history[1:])
    return {"versions": len(history), "seconds": round(took_s, 2), "edits_per_s": round(AGENTS * appends / took_s)}


async def by_agents(appends: int) -> dict[str, Any]:
    """Agents on Ray: each is told what to append, and does so with its own tool."""
    with tempfile.TemporaryDirectory() as folder:
        async with rep.open(Path(folder) / "db") as system:
            board = await system.blocks.create("log", limit_chars=LIMIT_CHARS)
            agents = [await system.create_agent(f"writer-{number}", blocks=[board]) for number in range(AGENTS)]

            async def write(agent: Any) -> None:
                for start in range(0, appends, CALLS):
                    numbers = range(start, min(start + CALLS, appends))
                    calls = [{"label": "log", "content": f"{agent.id}/{number}"} for number in numbers]
                    await agent.send(" ".join(f"[[call core_memory_append {json.dumps(call)}]]" for call in calls),
                                     timeout_s=PATIENCE_S)

            started = time.monotonic()
            await asyncio.gather(*(write(agent) for agent in agents))
            took_s = time.monotonic() - started
            history = await board.history(limit=AGENTS * appends + 10)
    check(history, [agent.id for agent in agents], appends)
    assert len({version.op_id for version in history}) == len(history), "an op_id made two versions"
    return {"versions": len(history), "seconds": round(took_s, 2), "edits_per_s": round(AGENTS * appends / took_s)}


def check(history: list[BlockVersion], names: list[str], appends: int) -> None:
    """Each append is one version, by whoever made it, and its line is in the block exactly once and in its order."""
    count = len(names) * appends
    assert [version.version for version in history] == list(range(1, count + 2)), "versions are missing"
    lines = history[-1].value.split("\n")
    assert sorted(lines) == sorted(f"{name}/{number}" for name in names for number in range(appends)), "a line is lost"
    for name in names:
        own = [line for line in lines if line.startswith(f"{name}/")]
        assert own == [f"{name}/{number}" for number in range(appends)], f"{name}'s lines are out of order"
        assert [v.action["content"] for v in history if v.by == name] == own, f"{name}'s versions are not its own"
    for earlier, later in itertools.pairwise(history):
        assert later.value.startswith(earlier.value), f"version {later.version} does not continue the one before"
        assert later.at >= earlier.at > 0
