"""20,000 commits: the disk holds at most 3 times what is live, and nothing has become slower than twice."""

from __future__ import annotations

import asyncio
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from repertory.ids import IdSource
from repertory.memory.database import Database
from repertory.memory.journal import CLAIM, Commit, NewRow, pack_data
from repertory.memory.tuning import Tuning

COMMITS = 20_000
#: the small journal that the large one is compared with
SMALL = 1_000
AGENTS = 20
#: events of an agent between two snapshots
SNAPSHOT_EVERY = 20
#: nothing is kept in memory, so that a load reads the tables; old versions are not kept for readers
TUNING = Tuning(cache_bytes=0, keep_s=0.0, idle_s=1.0)


class Load:
    """Agents that write steps and, now and then, a snapshot."""

    def __init__(self, database: Database) -> None:
        self._store = database.store
        self._rng = random.Random(5)
        self._epochs: dict[str, int] = {}
        self.commits = 0
        self.live_bytes = 0

    async def create(self) -> None:
        agents = [NewRow(stream="registry", kind="agent_created", data={"id": f"{n}", "name": f"agent {n}", "spec": {}})
                  for n in range(AGENTS)]
        await self._store.commit(Commit(op_id="create", author="directory", epoch=CLAIM, rows=(
            NewRow(stream="author:directory", kind="activated"), *agents)))
        for n in range(AGENTS):
            done = await self._store.commit(Commit(op_id=f"claim/{n}", author=f"agent:{n}", epoch=CLAIM, rows=(
                NewRow(stream=f"agent:{n}", kind="activated"),)))
            self._epochs[f"{n}"] = done.epoch

    async def commit(self, agent_id: str | None = None) -> None:
        self.commits += 1
        agent_id = agent_id or str(self.commits % AGENTS)
        text = self._rng.randbytes(500).hex()
        if self.commits // AGENTS % SNAPSHOT_EVERY == 0:
            head = (await self._store.load(agent_id)).events
            row = NewRow(stream=f"snapshot:{agent_id}", kind="snapshot",
                         data={"upto": head[-1].seq if head else 0, "state": text})
        else:
            row = NewRow(stream=f"agent:{agent_id}", kind="edited", data={"text": text})
        op_id = f"{agent_id}/{self.commits}"
        self.live_bytes += len(pack_data(row.data)) + len(op_id) + len(row.stream) + 40
        await self._store.commit(Commit(
            op_id=op_id, author=f"agent:{agent_id}", epoch=self._epochs[agent_id], rows=(row,)))

    async def load(self, agent_id: str) -> None:
        await self._store.load(agent_id)

    async def grow(self, total: int) -> None:
        while self.commits < total:
            await asyncio.gather(*(self.commit() for _ in range(min(AGENTS, total - self.commits))))


async def taken_ms(action: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await action()
    return (time.perf_counter() - start) * 1e3


def disk_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_blocks * 512 if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


async def measure(loads: dict[str, Load], rounds: int) -> dict[str, dict[str, float]]:
    """Loads and appends in turns on each database, so that a busy machine slows them alike: the medians."""
    taken: dict[str, dict[str, list[float]]] = {name: {"load_ms": [], "append_ms": []} for name in loads}
    for turn in range(rounds):
        for name, load in loads.items():
            taken[name]["load_ms"].append(await taken_ms(partial(load.load, str(turn % AGENTS))))
            taken[name]["append_ms"].append(await taken_ms(load.commit))
    return {name: {what: round(statistics.median(values), 3) for what, values in one.items()}
            for name, one in taken.items()}


async def opened(folder: Path) -> Database:
    return await Database.open(folder, ids=IdSource(), now=time.time, tuning=TUNING)


async def grow(folder: Path, small: int, large: int, rounds: int) -> dict[str, Any]:
    databases = {"small": await opened(folder / "small"), "large": await opened(folder / "large")}
    loads = {name: Load(database) for name, database in databases.items()}
    for name, total in (("small", small), ("large", large)):
        await loads[name].create()
        await loads[name].grow(total)
    peak = disk_bytes(folder / "large")
    typical = await measure(loads, rounds)
    started = time.monotonic()
    live = loads["large"].live_bytes
    while (used := disk_bytes(folder / "large")) > 3 * live and time.monotonic() - started < 120:
        await asyncio.sleep(0.5)
    idle_s = time.monotonic() - started
    for database in databases.values():
        await database.close()
    opening = time.monotonic()
    await (await opened(folder / "large")).close()
    return {"commits": {name: load.commits for name, load in loads.items()}, **typical, "live_mb": live / 1e6,
            "peak_mb": peak / 1e6, "idle_mb": used / 1e6, "idle_after_s": idle_s,
            "open_and_close_s": time.monotonic() - opening}


def run(scale: float) -> dict[str, Any]:
    small = max(200, round(SMALL * min(1.0, scale * 5)))
    folder = Path(tempfile.mkdtemp(prefix="repertory-growth-"))
    try:
        result = asyncio.run(grow(folder, small, max(2 * small, round(COMMITS * scale)), 300 if scale >= 1.0 else 20))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if scale >= 1.0:
        assert result["idle_mb"] <= 3 * result["live_mb"], result
        assert result["large"]["append_ms"] <= 2 * result["small"]["append_ms"], result
        assert result["large"]["load_ms"] <= 2 * result["small"]["load_ms"], result
    return result
