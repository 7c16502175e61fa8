"""A whole system in this process, on a store in memory: what the Python face is tested on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from repertory.actors.agent import Agent as LiveAgent
from repertory.actors.blocks import CoordinatorHandle
from repertory.actors.callers import AgentCaller
from repertory.actors.coordinator import BlockCoordinator
from repertory.actors.directory import Directory
from repertory.actors.gateway import ModelActor
from repertory.actors.handles import DirectoryHandle, Ref
from repertory.actors.local import LocalRef
from repertory.actors.models import ModelsHandle
from repertory.actors.process import AgentProcess
from repertory.actors.reader import ReaderActor, ReaderHandle
from repertory.actors.sandbox import SandboxActor, SandboxHandle
from repertory.actors.surroundings import Surroundings
from repertory.api.facade import Blocking, blocking
from repertory.api.links import Links
from repertory.api.system import System
from repertory.ids import IdSource
from repertory.memory.agent_types import builtin_types
from repertory.memory.database import Database
from repertory.memory.journal import Store
from repertory.memory.volatile import VolatileStore
from repertory.messages import Sender
from repertory.tools.registry import ToolRegistry


class LocalSpawner:
    """Processes that are objects in this one."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._count = 0

    async def spawn(self) -> Ref:
        self._count += 1
        process = AgentProcess(lambda agent_id: LiveAgent(agent_id, self._surroundings))
        return LocalRef(f"process-{self._count}", process)

    async def kill(self, ref: Ref) -> None:
        assert isinstance(ref, LocalRef)
        ref.kill()

    async def existing(self) -> list[Ref]:
        return []


OpenStore = Callable[[Callable[[str], None]], Awaitable[Store]]


async def _volatile(on_inbox: Callable[[str], None]) -> Store:
    return VolatileStore(on_inbox=on_inbox)


async def make_system(open_store: OpenStore = _volatile) -> System:
    """A system that has started; closing it ends all but the store, which is told of nothing else."""
    started: list[Directory] = []
    store = await open_store(lambda agent_id: _wake(started, agent_id))
    models = ModelsHandle(LocalRef("models", ModelActor()))
    blocks = CoordinatorHandle(LocalRef("blocks", BlockCoordinator(store, IdSource())))
    reader = ReaderHandle(LocalRef("reader", ReaderActor(store)))
    tools = ToolRegistry.with_builtins()
    sandbox = SandboxHandle(LocalRef("sandbox", SandboxActor()))
    surroundings = Surroundings(
        store=store, models=models, blocks=blocks, search=reader, tools=tools, types=builtin_types(), sandbox=sandbox,
        now=time.time, new_op=lambda: IdSource().new("turn"))
    directory = Directory(store, LocalSpawner(surroundings), live_cap=8, now=time.time, ids=IdSource())
    started.append(directory)
    await directory.start()
    handle = DirectoryHandle(LocalRef("directory", directory))
    links = Links(store=store, directory=handle, agents=AgentCaller(handle, store, now=time.time), blocks=blocks,
                  models=models, reader=reader, tools=tools, types=builtin_types(), ids=IdSource(), now=time.time,
                  me=Sender(kind="person", id="kim"))

    async def closing() -> None:
        await directory.stop(end_processes=True)

    return System(links, closing=closing)


@pytest.fixture
async def system() -> AsyncIterator[System]:
    made = await make_system()
    yield made
    await made.close()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database on disk in which something has happened; nobody has it open."""
    folder = tmp_path_factory.mktemp("commands") / "db"

    async def live() -> None:
        opened: list[Database] = []

        async def open_store(on_inbox: Callable[[str], None]) -> Store:
            opened.append(await Database.open(folder, ids=IdSource(), now=time.time, on_inbox=on_inbox))
            return opened[0].store

        system = await make_system(open_store)
        ada = await system.create_agent("ada", tags=["crew"])
        await system.create_agent("bob")
        await ada.send("Remember that the boat leaves at nine.")
        await ada.conversation("work").send("Hello")
        board = await system.blocks.create("board")
        await board.append("We sail on Friday.")
        await system.close()
        await opened[0].close()

    asyncio.run(live())
    return folder


@pytest.fixture
def plain() -> Iterator[Blocking]:
    """The same behind the synchronous facade."""
    with blocking(make_system) as made:
        yield made


def _wake(started: list[Directory], agent_id: str) -> None:
    for directory in started:
        asyncio.get_running_loop().create_task(directory.wake(agent_id))
