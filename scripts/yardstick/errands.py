"""What else a system is asked for: receipts, new agents, activations, broadcasts, many writers of one block."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable
from typing import Any

import ray

from yardstick import machine, timing
from yardstick.core import Core
from yardstick.duel import Seen
from yardstick.mock_model import MockModel

#: writers of one shared block, and what each of them appends at once
WRITERS, APPENDS = 10, 10
#: async messages that are under way at once
POSTERS = 50


class Bare:
    """An actor that does nothing."""

    async def pid(self) -> int:
        """Its process."""
        import os

        return os.getpid()


async def took_ms(work: Awaitable[Any]) -> float:
    """How long `work` took, in milliseconds."""
    begun = time.perf_counter()
    await work
    return (time.perf_counter() - begun) * 1e3


async def pid_of(actor: Any) -> int:
    """The process of one of the product's actors, by its reference."""
    return int((await actor.call("vitals", timeout_s=60))["pid"])


class Errands:
    """What was seen, round by round. Each method is one errand of one round."""

    def __init__(self, core: Core, model: MockModel) -> None:
        self._core = core
        self._model = model
        self.seen: Seen = defaultdict(list)

    async def round(self, number: int, scale: float) -> None:
        """One round of everything; `scale` 1 is the full amount."""
        self._model.set(latency_ms=0)
        await self._one_message(max(5, int(40 * scale)))
        await self._creation(max(5, int(100 * scale)))
        await self._activation(max(2, int(10 * scale)))
        for size in (10, 50) if scale == 1 else (10,):
            await self._broadcast(size)
        await self._appends(number)
        await self._receipts(max(50, int(1000 * scale)))

    async def _one_message(self, count: int) -> None:
        """What the others are compared with: one message to a live agent, in the same round."""
        await self._core.people(1)
        await timing.each_ms(lambda _: self._core.send(0, "hello"), 5)
        taken = await timing.each_ms(lambda i: self._core.send(0, f"hello number {i}"), count)
        self.seen["message"].append(timing.percentile(taken, 50))

    async def _creation(self, count: int) -> None:
        taken = await timing.each_ms(lambda _: self._core.create(), count)
        self.seen["create"].append(timing.percentile(taken, 50))

    async def _activation(self, count: int) -> None:
        """Agents that wait in the database come to life in a warm process; against the start of a bare actor."""
        warm, cold = [], []
        for _ in range(count):
            agent = await self._core.create()
            await self._pool_is_ready()
            warm.append(await took_ms(self._core.resolve(agent.id)))
            await agent.delete()
        actor = ray.remote(num_cpus=0)(Bare)
        for _ in range(max(2, count // 2)):
            begun = time.perf_counter()
            handle = actor.remote()
            await handle.pid.remote()
            cold.append((time.perf_counter() - begun) * 1e3)
            ray.kill(handle)
        self.seen["activate"].append(timing.percentile(warm, 50))
        self.seen["actor start"].append(timing.percentile(cold, 50))

    async def _pool_is_ready(self) -> None:
        """A process waits for an agent, and none is about to start (it would take the processor)."""
        async with asyncio.timeout(60):
            while True:
                pool = (await self._core.system.status())["directory"]["pool"]
                if pool["idle"] and not pool["starting"]:
                    return
                await asyncio.sleep(0.2)

    async def _broadcast(self, size: int) -> None:
        await self._core.people(size)
        tag = f"chorus-{size}"
        if not await self._core.system.agents([tag]):
            for agent in self._core.agents[:size]:
                await agent.retag([*agent.tags, tag])
        await self._core.system.broadcast("hello", match_all=[tag])  # all of them are live then
        await self._pool_is_ready()
        taken, busy = [], machine.processor_ms()
        for _ in range(5):
            begun = time.perf_counter()
            result = await self._core.system.broadcast("hello", match_all=[tag])
            taken.append((time.perf_counter() - begun) * 1e3)
            assert len(result.answered) == size, result
        self.seen[f"broadcast {size}"].append(timing.percentile(taken, 50))
        self.seen[f"processor {size}"].append((machine.processor_ms() - busy) / (len(taken) * size))

    async def _appends(self, number: int) -> None:
        """Ten agents at once append to one block by a tool call each, ten times; nothing may be lost."""
        block = await self._core.system.blocks.create(f"board-{number}", limit_chars=100_000)
        tools = ("core_memory_append", "send_message")
        writers = [await self._core.create("memgpt", tools=tools, blocks=[block]) for _ in range(WRITERS)]
        await asyncio.gather(*(writer.send("hello") for writer in writers))

        async def write(who: int, what: int) -> None:
            arguments = json.dumps({"label": block.label, "content": f"line {who}.{what};"})
            await writers[who].send(f"please [[call core_memory_append {arguments}]]")

        begun = time.perf_counter()
        await asyncio.gather(*(write(who, what) for who in range(WRITERS) for what in range(APPENDS)))
        self.seen["appends"].append(WRITERS * APPENDS / (time.perf_counter() - begun))
        text = (await block.read()).value
        kept = sum(f"line {who}.{what};" in text for who in range(WRITERS) for what in range(APPENDS))
        self.seen["appends lost"].append(WRITERS * APPENDS - kept)
        for writer in writers:
            await writer.delete()

    async def _receipts(self, count: int) -> None:
        """Async messages: how many receipts a second, while the model is too slow to take much of the machine."""
        await self._core.people(20)
        self._model.set(latency_ms=200)
        posted = []

        async def post(first: int) -> None:
            for index in range(first, count, POSTERS):
                posted.append(await self._core.agents[index % 20].post(f"note {index}"))

        begun = time.perf_counter()
        await asyncio.gather(*(post(first) for first in range(POSTERS)))
        self.seen["receipts"].append(count / (time.perf_counter() - begun))
        self._model.set(latency_ms=0)
        await asyncio.gather(*(message.outcome() for message in posted))

    async def memory(self, count: int) -> None:
        """The unique memory of live agents' processes, and of bare actors, in MiB."""
        await self._core.people(count)
        agents = []
        for agent in self._core.agents[:count]:
            route = await self._core.resolve(agent.id)
            agents.append(machine.unique_mib(await pid_of(route.process)))
        bare = [ray.remote(num_cpus=0)(Bare).remote() for _ in range(3)]
        self.seen["memory agent"].append(timing.percentile(agents, 50))
        pids = [await actor.pid.remote() for actor in bare]
        await asyncio.sleep(1)
        self.seen["memory bare"].append(timing.percentile([machine.unique_mib(pid) for pid in pids], 50))
        for actor in bare:
            ray.kill(actor)
