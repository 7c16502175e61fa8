"""Ten thousand agents: found by name and by tags at once, and created a thousand to a commit."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from repertory.config import Config
from repertory.runtime import Runtime

AGENTS, LOOKUPS, BATCH = 10_000, 500, 1_000
#: half of the lookups are faster than this; a machine under load has its moments
MEDIAN_MS = 100.0


def run(scale: float) -> dict[str, Any]:
    """Create 10,000 agents and look 500 of them up, each way."""
    return asyncio.run(look_up(max(100, round(AGENTS * scale)), max(50, round(LOOKUPS * scale))))


async def look_up(count: int, lookups: int) -> dict[str, Any]:
    """Create `count` agents, then look up `lookups` by name and by tags."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        runtime = await Runtime.open(Path(folder), Config())
        ids: list[str] = []
        started = time.monotonic()
        for start in range(0, count, BATCH):
            specs = [{"name": f"agent-{n}", "agent_type": "memgpt", "model": "offline/rules",
                      "tags": [f"team-{n // 10}", "even" if n % 2 == 0 else "odd"]}
                     for n in range(start, min(start + BATCH, count))]
            ids += await runtime.directory.create(specs, op_id=f"batch-{start}")
        created_s = time.monotonic() - started
        chosen = [chance.randrange(count) for _ in range(lookups)]

        async def by_name(number: int) -> None:
            assert await runtime.directory.find(f"agent-{number}") == ids[number]

        async def by_tags(number: int) -> None:
            team = await runtime.directory.list((f"team-{number // 10}", "even"))
            assert [one["id"] for one in team] == ids[number // 10 * 10:number // 10 * 10 + 10:2]

        by_name_ms = await median_ms(by_name, chosen)
        by_tags_ms = await median_ms(by_tags, chosen)
        assert len(await runtime.directory.list(("odd",))) == count // 2
        restarted = time.monotonic()
        await runtime.close()
        runtime = await Runtime.open(Path(folder), Config())
        reopened_s = time.monotonic() - restarted
        assert await runtime.directory.find(f"agent-{count - 1}") == ids[-1]
        await runtime.close()
    assert by_name_ms < MEDIAN_MS, f"half of the lookups by name take more than {by_name_ms} ms"
    assert by_tags_ms < MEDIAN_MS, f"half of the lookups by tags take more than {by_tags_ms} ms"
    return {"agents": count, "created_per_s": round(count / created_s), "by_name_ms": by_name_ms,
            "by_tags_ms": by_tags_ms, "reopened_s": round(reopened_s, 1)}


async def median_ms(look: Callable[[int], Awaitable[None]], chosen: list[int]) -> float:
    """How long half of the looks take at most."""
    took = []
    for number in chosen:
        started = time.monotonic()
        await look(number)
        took.append(time.monotonic() - started)
    return round(statistics.median(took) * 1e3, 2)
