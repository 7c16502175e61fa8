"""What becomes slower with time: much behind one agent, and many agents stored."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from yardstick import machine, timing
from yardstick.core import Core
from yardstick.duel import Seen
from yardstick.mock_model import MockModel

#: agents that are created in one request to the directory
BATCH = 500
#: tokens of the old agents' windows: both are full, so that what differs is what lies behind them
WINDOW = 2_000


class Growth:
    """Two systems side by side, a small and a large one, that are asked in turns."""

    def __init__(self, small: Core, large: Core, model: MockModel) -> None:
        self._systems = {"small": small, "large": large}
        self._model = model
        self.seen: Seen = defaultdict(list)
        self._old: dict[str, Any] = {}
        self._any: dict[str, Any] = {}

    async def fill(self, few: int, many: int) -> None:
        """Give the small system `few` messages behind one agent and `few` agents stored, the large one `many`."""
        self._model.set(latency_ms=0)
        for name, count in (("small", few), ("large", many)):
            core = self._systems[name]
            before = machine.folder_bytes(core.database)
            self._old[name] = await core.create(context_window=WINDOW)
            for index in range(count):
                await self._old[name].send(f"hello number {index}")
            await asyncio.sleep(5)  # what is written behind the commits belongs to them
            self.seen[f"disk {name}"].append((machine.folder_bytes(core.database) - before) / count)
            self._any[name] = await core.create()
            await core.people(1)
            await store_agents(core, count)

    async def round(self, count: int) -> None:
        """Sends and loads in turns."""
        for name in ("small", "large", "large", "small"):
            core = self._systems[name]
            for key, agent in (("old", self._old[name]), ("any", self._any[name])):
                await agent.send("hello")
                taken = await timing.each_ms(lambda i, agent=agent: agent.send(f"hello again {i}"), count)
                self.seen[f"{key} {name}"].append(timing.percentile(taken, 50))
            loads = await timing.each_ms(lambda _, core=core, name=name: load(core, self._old[name].agent_id), 10)
            self.seen[f"load {name}"].append(timing.percentile(loads, 50))


async def load(core: Core, agent_id: str) -> None:
    """What an activation reads."""
    await core.system._links.store.load(agent_id)


async def store_agents(core: Core, count: int) -> None:
    """Have `count` more agents stored; their process is nobody's."""
    links = core.system._links
    spec = (await links.store.load(core.agents[0].agent_id)).spec
    for first in range(0, count, BATCH):
        specs = [{**spec, "name": f"stored-{first + index}"} for index in range(min(BATCH, count - first))]
        await links.directory.create(specs, op_id=links.op("create", None))
