"""The simulator's own ground: virtual time, lanes, and a network that loses, repeats and delays."""

import asyncio
import contextvars
import random

import pytest
from simulator.clock import Deadlock, Lane, VirtualLoop
from simulator.network import Network, Weather
from simulator.processes import Cluster
from simulator.trace import Trace

from repertory.errors import AgentNotFound, OutcomeUnknown


class Counter:
    def __init__(self):
        self.count = 0
        self.cleaned = False

    async def add(self, by):
        self.count += by
        return self.count

    async def fail(self):
        raise AgentNotFound("no agent x", agent_id="x")

    async def slow(self, seconds):
        try:
            await asyncio.sleep(seconds)
        finally:
            self.cleaned = True
        return "done"


class Ground:
    def __init__(self, seed=1, weather=None):
        self.loop = VirtualLoop(random.Random(f"{seed}/clock"))
        self.trace = Trace(self.loop.time, whole=True)
        self.network = Network(self.loop, random.Random(f"{seed}/network"), weather or Weather(), self.trace)
        rng = random.Random(f"{seed}/cluster")
        self.cluster = Cluster(self.loop, self.network, self.trace, rng, contextvars.Context())
        self.actor = Counter()

    async def build(self, process):
        return {"counter": self.actor}

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)


@pytest.fixture
def ground():
    return Ground()


def test_time_jumps_to_the_next_timer(ground):
    async def main():
        await asyncio.sleep(3600)
        return ground.loop.time()

    assert ground.run(main()) == 3600


def test_waiting_for_nothing_is_a_deadlock(ground):
    async def main():
        await ground.loop.create_future()

    with pytest.raises(Deadlock):
        ground.run(main())


def test_the_seed_decides_which_of_two_lanes_goes_first():
    def order(seed):
        ground = Ground(seed)
        seen = []

        async def walk(name):
            for _ in range(5):
                seen.append(name)
                await asyncio.sleep(0)

        async def main():
            await asyncio.gather(*(ground.loop.spawn(Lane(name), walk(name)) for name in "abc"))

        ground.run(main())
        return "".join(seen)

    assert order(1) == order(1)
    assert len({order(seed) for seed in range(20)}) > 5


def test_a_call_is_carried_out_and_its_error_is_raised_at_the_caller(ground):
    async def main():
        ref = ground.network.ref(ground.cluster.process("p", ground.build), "counter")
        assert await ref.call("add", 2, timeout_s=1) == 2
        with pytest.raises(AgentNotFound) as caught:
            await ref.call("fail", timeout_s=1)
        assert caught.value.agent_id == "x"
        with pytest.raises(OutcomeUnknown):
            await ref.call("slow", 5, timeout_s=1)

    ground.run(main())


def test_a_killed_process_runs_no_further_instruction_and_its_callers_learn_of_it(ground):
    async def main():
        process = ground.cluster.process("p", ground.build)
        call = asyncio.create_task(ground.network.ref(process, "counter").call("slow", 5, timeout_s=100))
        await asyncio.sleep(1)
        ground.cluster.kill(process, "test")
        with pytest.raises(OutcomeUnknown):
            await call
        assert ground.loop.time() < 2
        await asyncio.sleep(10)
        assert not ground.actor.cleaned

    ground.run(main())


def test_a_process_can_be_killed_at_every_single_await():
    survived = 0
    for steps in range(1, 40):
        ground = Ground()

        async def main(ground=ground, steps=steps):
            process = ground.cluster.process("p", ground.build)
            ground.cluster.kill_soon(process, steps, "fuse")
            ref = ground.network.ref(process, "counter")
            for _ in range(5):
                try:
                    await ref.call("add", 1, timeout_s=1)
                except OutcomeUnknown:
                    return ground.actor.count
            return ground.actor.count

        survived = max(survived, ground.run(main()))
    assert survived == 5


def test_a_paused_process_goes_on_where_it_stood(ground):
    async def main():
        process = ground.cluster.process("p", ground.build)
        ref = ground.network.ref(process, "counter")
        await ref.call("add", 1, timeout_s=1)
        ground.cluster.pause(process, 10)
        with pytest.raises(OutcomeUnknown):
            await ref.call("add", 1, timeout_s=1)
        assert ground.actor.count == 1
        await asyncio.sleep(20)
        assert ground.actor.count == 2

    ground.run(main())


def test_a_service_is_started_again_and_its_reference_finds_it(ground):
    async def main():
        ref = ground.cluster.service("counter", ground.build)
        first = ref.key
        await ref.call("add", 1, timeout_s=1)
        ground.cluster.kill(ground.cluster.services["counter"].process, "test")
        await asyncio.sleep(5)
        assert await ref.call("add", 1, timeout_s=1) == 2
        assert ref.key != first

    ground.run(main())


def test_bad_weather_loses_repeats_and_delays_calls():
    weather = Weather(slow=0.1, lose_request=0.1, lose_answer=0.1, duplicate=0.1, late=0.05, lose_tell=0.1)
    ground = Ground(weather=weather)

    async def main():
        ref = ground.network.ref(ground.cluster.process("p", ground.build), "counter")
        unknown = 0
        for _ in range(200):
            try:
                await ref.call("add", 1, timeout_s=1)
            except OutcomeUnknown:
                unknown += 1
            ref.tell("add", 0)
        return unknown

    assert ground.run(main()) > 10
    kinds = {"slow call", "request lost", "answer lost", "duplicate", "answer late", "tell lost"}
    assert kinds <= set(ground.trace.faults)
