"""100 SIGKILLs of a process that projects: the tables and the search agree with the journal after each."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from repertory.maintenance import check
from repertory.memory.lanceindex import LanceIndex
from repertory.memory.offline import OfflineStore
from repertory.memory.projections import FOLDER, read_state
from repertory.memory.reader import MemoryReader
from repertory.memory.search import Query

CHILD = Path(__file__).parent / "_projector_child.py"
KILLS = 100
#: seconds that the end of a killed process may take on a busy machine
PATIENCE_S = 120.0


def run(scale: float) -> dict[str, Any]:
    kills, rng = max(2, round(KILLS * scale)), random.Random(7)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "db"
        server = subprocess.Popen([sys.executable, "-W", "ignore", str(CHILD)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        searched = 0
        try:
            for number in range(kills):
                _live_and_die(server, folder, f"run{number}", rng)
                searched += asyncio.run(_look(folder, rng))
        finally:
            server.kill()
            server.communicate()
        state = read_state(folder / FOLDER)
        assert state is not None
        assert state.watermark > 0
        return {"kills": kills, "searches_compared": searched, "watermark": state.watermark,
                "generations": state.generation}


def _live_and_die(server: subprocess.Popen[str], folder: Path, name: str, rng: random.Random) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{folder} {name}\n")
    server.stdin.flush()
    said = [server.stdout.readline().strip() for _ in range(2)]  # the pid and `open`, in either order
    assert "open" in said, f"the process ended by itself: {said}"
    said.remove("open")
    pid = int(said[0])
    time.sleep(rng.uniform(0.0, 1.5))
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} does not die"
        time.sleep(0.005)


async def _look(folder: Path, rng: random.Random) -> int:
    """Everything agrees; how many searches were compared."""
    report = await check(folder)
    assert report.findings == [], report.findings
    store = await OfflineStore.open(folder)
    index = LanceIndex(folder)
    with_tables, without = MemoryReader(store, index), MemoryReader(store)
    agents = list(store.index.agents)
    try:
        for agent_id in rng.sample(agents, min(3, len(agents))):
            for source in ("messages", "passages"):
                query = Query.of(source, agent_id, text=f"word{rng.randrange(50)}", limit=1_000)
                assert _ids(await with_tables.search(query)) == _ids(await without.search(query)), query
                listed = await with_tables.page(source, agent_id, limit=10_000)
                assert listed == await without.page(source, agent_id, limit=10_000)
    finally:
        index.close()
        store.close()
    return 6


def _ids(hits: list[Any]) -> list[str]:
    return [hit.document.id for hit in hits]
