"""One simulated world: the product's actors on simulated processes, network, disk and models, and what befalls them."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Mapping
from typing import Any

from repertory.actors.coordinator import BlockCoordinator
from repertory.actors.directory import Directory
from repertory.actors.gateway import ModelActor
from repertory.actors.handles import Ref, StoreHandle
from repertory.actors.pool import PoolLimits
from repertory.actors.process import AgentProcess
from repertory.errors import OutcomeUnknown, RepertoryError
from repertory.ids import IdSource
from repertory.llm.settings import GatewaySettings, Patience, ProviderSettings
from repertory.memory.journal import Row

from . import agents
from .auditor import Auditor
from .clock import Lane, VirtualLoop
from .disk import Crash, SimDisk, Wear
from .faults import Misfortune
from .ledger import Ledger
from .models import SimModel, Temper
from .network import Network, Weather
from .plan import BUSY_S, Plan
from .postmortem import GRACE_S, Postmortem, whole_journal
from .processes import Cluster, Process
from .storage import Storage
from .tables import SimTables
from .trace import Trace, Violation
from .workload import Person

#: the moment at which every world begins, seconds since 1970
EPOCH = 1_800_000_000.0
#: seconds after everything healed by which all work must be done
SETTLE_S = 400.0
#: seconds that a killed pool process may live on before the kill reaches it
KILL_S = 4.0


class World:
    """Made from a plan, run once."""

    def __init__(self, plan: Plan, *, whole_trace: bool = False) -> None:
        self.plan = plan
        self.loop = VirtualLoop(self._rng("clock"))
        self.trace = Trace(self.loop.time, whole=whole_trace)
        self.ledger = Ledger()
        self.outside = contextvars.Context()
        self.violation: Violation | None = None
        self._failed: asyncio.Future[None] = self.loop.create_future()
        self.auditor = Auditor(self.ledger, self.trace, self.fail)
        self.network = Network(self.loop, self._rng("network"), Weather(), self.trace)
        self.cluster = Cluster(self.loop, self.network, self.trace, self._rng("cluster"), self.outside)
        self.cluster.on_bug = self.fail
        self.disk = SimDisk(self._rng("disk"), self.trace, Crash(self._crash))
        self.tables = SimTables(self._rng("tables"), self.trace, self.disk, self.loop.time)
        self.storage = Storage(self)
        self.model = SimModel(self._rng("model"), self.trace, Temper(), plan.window, self.auditor)
        self.spawner = SimSpawner(self)
        self.misfortune = Misfortune(self)
        self.tool_rng = self._rng("tools")
        self.healed_at = EPOCH
        #: nothing goes wrong now
        self.healthy = True

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self.plan.seed}/{name}")

    def now(self) -> float:
        """Seconds since 1970, in this world."""
        return EPOCH + self.loop.time()

    def fail(self, violation: Violation) -> None:
        """A promise was broken: the run ends here."""
        if self.violation is None:
            self.violation = violation
            self.trace.note("auditor", "VIOLATION %s", violation)
            if not self._failed.done():
                self._failed.set_result(None)

    def ids(self, process: Process) -> IdSource:
        """Ids that no other process makes, and that are the same in every run."""
        return IdSource(random.Random(f"{self.plan.seed}/ids/{process.name}").getrandbits(60))

    # --- services -----------------------------------------------------------------------------------------------------

    def _start_services(self) -> None:
        service = self.cluster.service
        self.store_ref = service("store", self.storage.build)
        self.coordinator_ref = service("coordinator", self._build_coordinator)
        self.models_ref = service("models", self._build_models)
        self.directory_ref = service("directory", self._build_directory)

    async def _build_coordinator(self, process: Process) -> Mapping[str, Any]:
        return {"coordinator": BlockCoordinator(StoreHandle(self.store_ref), self.ids(process))}

    async def _build_models(self, process: Process) -> Mapping[str, Any]:
        patience = Patience(attempt_s=30.0, wait_open_s=20.0, backoff_most_s=8.0)
        settings = GatewaySettings(
            providers={"sim": ProviderSettings(kind="offline", max_concurrent=8)}, patience=patience)
        seed = random.Random(f"{self.plan.seed}/models/{process.name}").getrandbits(32)
        return {"models": ModelActor(settings, seed=seed, providers={"sim": lambda: self.model})}

    async def _build_directory(self, process: Process) -> Mapping[str, Any]:
        directory = Directory(
            StoreHandle(self.store_ref), self.spawner, live_cap=self.plan.live_cap,
            limits=PoolLimits(spare=self.plan.spare, starting=2, identities=5), now=self.now, ids=self.ids(process))
        while True:
            try:
                await directory.start()
            except OutcomeUnknown:
                continue
            return {"directory": directory}

    async def build_agents(self, process: Process) -> Mapping[str, Any]:
        """The actors of a pool process."""
        ids = self.ids(process)
        return {"agents": AgentProcess(lambda agent_id: agents.make(self, agent_id, ids))}

    def spec_of(self, number: int) -> dict[str, Any]:
        """What the `number`-th agent is made of."""
        return agents.spec(self.plan, number, self.ledger.blocks)

    # --- the story ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Play the plan to its end, or to the first violation (`self.violation`)."""
        try:
            self.loop.run_until_complete(self._until_over())
        except Exception as error:
            self.fail(Violation("P5", f"the world stood still: {type(error).__name__} {error}")
                      if type(error).__name__ in ("Deadlock", "Livelock") else _bug(error))
        finally:
            self.loop.dig_out()
            self.loop.close()

    async def _until_over(self) -> None:
        story = self.loop.spawn(Lane("story"), self._story())
        await asyncio.wait({story, self._failed}, return_when=asyncio.FIRST_COMPLETED)
        if story.done() and not story.cancelled() and (error := story.exception()) is not None:
            raise error

    async def _story(self) -> None:
        self._start_services()
        await self._found()
        self._begin_trouble()
        people = [Person(self, number) for number in range(self.plan.people)]
        lives = [
            self.loop.spawn(Lane(f"person {n}"),
                            person.live([step for step in self.plan.steps if step.person == n]))
            for n, person in enumerate(people)
        ]
        await asyncio.sleep(BUSY_S)
        self._heal()
        await self._until(asyncio.gather(*lives), "people still wait for answers")
        await self._until(self._at_rest(), "work is left over")
        await asyncio.sleep(GRACE_S)  # whoever still waits for the answer to a lost call gives it up by then
        await self._probe()
        await self._until(self._at_rest(), "work is left over")
        await self._last_look()

    async def _found(self) -> None:
        """Make the shared blocks and the agents, before anything goes wrong."""
        founder = Person(self, -1)
        for number in range(self.plan.blocks):
            version = await founder.blocks.create(f"shared{number}", limit_chars=100_000, op_id=f"block-{number}",
                                                  by="founder")
            self.ledger.blocks[version.block_id] = version.label
        for number in range(self.plan.agents):
            ids = await founder.directory.create([self.spec_of(number)], op_id=f"create-{number}")
            self.ledger.agents[f"agent{number}"] = ids[0]
        self.trace.note("story", "agents: %s", self.ledger.agents)

    def _begin_trouble(self) -> None:
        self.network.weather = self.plan.weather
        self.disk.wear = self.plan.wear
        self.model.temper = self.plan.temper
        self.healthy = self.plan.calm
        for fault in self.plan.faults:
            self.loop.call_later(fault.at, self.misfortune.strike, fault, context=self.outside)

    def _heal(self) -> None:
        """From now on nothing goes wrong any more."""
        self.trace.note("story", "everything heals")
        self.healed_at, self.healthy = self.now(), True
        self.network.weather, self.disk.wear, self.model.temper = Weather(), Wear(), Temper()
        self.network.mend()
        self.misfortune.heal()
        self.disk.crash.countdown = None
        self.disk.capacity_bytes = 1 << 40
        for process in self.cluster.processes.values():
            process.lane.fuse = None
            self.loop.resume(process.lane)

    async def _until(self, done: Any, otherwise: str) -> None:
        try:
            async with asyncio.timeout(SETTLE_S):
                await done
        except TimeoutError:
            self.fail(Violation("P5", f"{otherwise}, {SETTLE_S:.0f} s after everything healed"))
            await self.loop.create_future()

    async def _at_rest(self) -> None:
        """Return when no message waits and no turn is open."""
        store = StoreHandle(self.store_ref)
        while True:
            counts = await store.ask("statistics")
            if not counts["waiting"] and not counts["open_turns"]:
                return
            await asyncio.sleep(2.0)

    async def _probe(self) -> None:
        """Once healed, everything must work as if nothing had happened: each agent answers, through another one."""
        await agents.probe(self)

    async def _last_look(self) -> None:
        """Turn the power off and on once more, read all that is there, and check it."""
        self.storage.lose_power("the last look")
        store = StoreHandle(self.store_ref)
        rows: list[Row] = []
        count = -1
        while count != (count := (await store.ask("statistics"))["rows"]):  # an agent may have had a snapshot to write
            rows = await whole_journal(store, self.ledger.agents.values(), self.ledger.blocks)
        Postmortem(rows, self.ledger, self.auditor, healed_at=self.healed_at).check()

    def _crash(self, where: str) -> None:
        self.trace.fault("crash at a disk operation", "disk", "crash %s", where)
        self.storage.lose_power(where)


class SimSpawner:
    """Starts and ends pool processes. Satisfies `actors.pool.Spawner`; a kill may take its time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._count = 0
        self._rng = random.Random(f"{world.plan.seed}/spawner")
        self.alive: dict[str, Process] = {}

    async def spawn(self) -> Ref:
        """See `Spawner.spawn`."""
        await asyncio.sleep(0.2 + self._rng.random() * 0.4)
        self._count += 1
        process = self._world.cluster.process(f"pool-{self._count}", self._world.build_agents)
        ref = self._world.network.ref(process, "agents")
        self.alive[ref.key] = process
        return ref

    async def kill(self, ref: Ref) -> None:
        """See `Spawner.kill`. Until the kill arrives the process goes on: a zombie with an old epoch."""
        process = self.alive.get(ref.key)
        if process is None:
            return
        calm = self._world.healthy or self._rng.random() < 0.5
        delay = 0.0 if calm else self._rng.random() * KILL_S
        if delay and process.alive:
            self._world.trace.fault("zombie", process.name, "lives on for %.1f s after it was given up", delay)
        self._world.loop.call_later(delay, self._end, ref.key, context=self._world.outside)

    async def existing(self) -> list[Ref]:
        """See `Spawner.existing`."""
        return [self._world.network.ref(process, "agents") for process in self.alive.values() if process.alive]

    def _end(self, key: str) -> None:
        process = self.alive.pop(key, None)
        if process is not None:
            self._world.cluster.kill(process, "given up by the directory")


def _bug(error: Exception) -> Violation:
    if isinstance(error, RepertoryError):
        return Violation("bug", f"the story could not go on: {error!r}")
    raise error
