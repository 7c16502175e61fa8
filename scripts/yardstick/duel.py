"""Message for message: the floor, Repertory and LangGraph in turns."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from yardstick import timing
from yardstick.core import Core
from yardstick.floor import Floor
from yardstick.mock_model import MockModel
from yardstick.peer import Peer

AGENTS = 20
#: messages of one thread: the first EDGE and the last EDGE are compared
LONG = 150
EDGE = 20
#: what the first message after a change of subject costs more (caches, connections) is nobody's
WARM_UP = 5
#: as many messages at once as a broadcast to ten has
TEN = 10

Seen = dict[str, list[float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """How much is done in one round."""

    long: int = LONG
    #: messages that each of AGENTS sends at once, with an immediate model and with a slow one
    each: int = 20
    each_slow: int = 10


class Duel:
    """What was seen, round by round."""

    def __init__(self, model: MockModel, folder: Path, amount: Amount) -> None:
        self._model = model
        self._folder = folder
        self._amount = amount
        self.seen: Seen = defaultdict(list)

    async def round(self, number: int, core: Core, peer: Peer | None) -> None:
        """One round; who comes first changes from round to round."""
        shared = bool(number % 2)
        floors = {kind: Floor.start(self._model, self._folder / f"floor-{number}-{kind}", shared=kind)
                  for kind in (shared, not shared)}
        try:
            turns = [self._floor(floors[False]), self._floor_shared(floors[True]), self._core(core)]
            if peer is not None:
                turns.append(self._peer(peer, number))
            start = number % len(turns)
            for turn in turns[start:] + turns[:start]:
                await turn
        finally:
            for floor in floors.values():
                floor.stop()

    def _keep(self, key: str, taken: list[float]) -> None:
        self.seen[f"{key} p50"].append(timing.percentile(taken, 50))
        self.seen[f"{key} p99"].append(timing.percentile(taken, 99))

    async def _floor(self, floor: Floor) -> None:
        self._model.set(latency_ms=0)
        await timing.each_ms(lambda _: floor.send(0, "hello"), WARM_UP)
        self._keep("floor", await timing.each_ms(lambda i: floor.send(0, f"hello number {i}"), self._amount.long))
        await self._crowds(floor, "floor")
        await self._ten(floor, "floor")

    async def _floor_shared(self, floor: Floor) -> None:
        await self._crowds(floor, "shared")
        await self._ten(floor, "shared")

    async def _core(self, core: Core) -> None:
        self._model.set(latency_ms=0)
        for key, kind in (("core", "react"), ("memgpt", "memgpt")):
            agent = await core.create(kind)
            await timing.each_ms(lambda _, agent=agent: agent.send("hello"), WARM_UP)
            taken = await timing.each_ms(lambda i, agent=agent: agent.send(f"hello number {i}"),
                                         self._amount.long if key == "core" else 2 * EDGE)
            self._keep(f"{key} early", taken[:EDGE])
            self._keep(f"{key} late", taken[-EDGE:])
            self._keep(key, taken)
        await self._crowds(core, "core")
        await self._ten(core, "core")

    async def _peer(self, peer: Peer, number: int) -> None:
        self._model.set(latency_ms=0)
        await peer.sequence(-number - 2, WARM_UP)
        before = peer.disk_bytes()
        taken = await peer.sequence(1000 + number, self._amount.long)
        self.seen["peer disk"].append((peer.disk_bytes() - before) / self._amount.long)
        self._keep("peer early", taken[:EDGE])
        self._keep("peer late", taken[-EDGE:])
        for latency, each in ((0, self._amount.each), (200, self._amount.each_slow)):
            self._model.set(latency_ms=latency)
            found = await peer.at_once(AGENTS, each, first=10_000 + number * 100 + latency)
            self.seen[f"peer crowd {latency}"].append(found.messages_per_s)

    async def _crowds(self, subject: Floor | Core, key: str) -> None:
        for latency, each in ((0, self._amount.each), (200, self._amount.each_slow)):
            self._model.set(latency_ms=latency)
            found = await subject.at_once(AGENTS, each)
            self.seen[f"{key} crowd {latency}"].append(found.messages_per_s)

    async def _ten(self, subject: Floor | Core, key: str) -> None:
        """Ten messages at once to ten agents: what a broadcast to them comes to, and cannot be under."""
        self._model.set(latency_ms=0)
        taken = await timing.each_ms(
            lambda _: asyncio.gather(*(subject.send(number, "hello") for number in range(TEN))), 7)
        self.seen[f"{key} ten"].append(timing.percentile(taken, 50))
