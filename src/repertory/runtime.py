"""The runtime: the one place that starts Ray, and with it the instance of a database.

`Runtime.open` joins the instance that runs on a database, or starts one. Who starts it holds a lock while doing so,
thus of two programs that begin at once one starts and the other joins. Afterwards the store's own lock says where the
instance's Ray can be reached.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import ray

from repertory.actors.blocks import CoordinatorHandle
from repertory.actors.callers import AgentCaller
from repertory.actors.cluster import connect
from repertory.actors.handles import DirectoryHandle, StoreHandle
from repertory.actors.instance import (
    BLOCKS,
    DIRECTORY,
    MODELS,
    READER,
    STORE,
    Plan,
    namespace_of,
    reference,
    start_instance,
)
from repertory.actors.models import ModelsHandle
from repertory.actors.pool import PoolLimits
from repertory.actors.reader import ReaderHandle
from repertory.actors.shell import Recipe, is_secret, named
from repertory.actors.watchdog import is_refused
from repertory.config import Config
from repertory.errors import DatabaseLocked, RepertoryError
from repertory.ids import IdSource
from repertory.llm.settings import GatewaySettings, gateway_settings
from repertory.memory.agent_types import AgentType
from repertory.memory.database import prepare
from repertory.memory.disk import LocalDisk
from repertory.memory.lock import Holder, holder_of
from repertory.memory.recovery import identity

#: held by the program that is starting an instance
START_LOCK = "start.lock"
#: seconds to wait for another program that is starting one, and between two looks
START_S, LOOK_S = 240.0, 0.1
#: seconds that services may take to end in good order
STOP_S = 30.0
#: bytes that a live agent's process needs, and the part of the free memory that they may fill
PROCESS_BYTES, MEMORY_SHARE = 100 << 20, 0.5
#: without a cap in the configuration: at least and at most so many live agents
LEAST_LIVE, MOST_LIVE = 4, 200
#: bytes above which a process is replaced when its agent leaves it
HEAVY_BYTES = 600 << 20


class Runtime:
    """The instance of a database, as one program sees it: handles of its services. Made by `Runtime.open`."""

    def __init__(self, database_id: str, *, started: bool, connected: bool, private: bool) -> None:
        """`started`: this program started the instance; `connected`: and joined Ray; `private`: and started Ray."""
        self.database_id = database_id
        self.started = started
        self._connected = connected
        self._private = private
        self.store = StoreHandle(reference(database_id, STORE))
        self.directory = DirectoryHandle(reference(database_id, DIRECTORY))
        self.models = ModelsHandle(reference(database_id, MODELS))
        self.blocks = CoordinatorHandle(reference(database_id, BLOCKS))
        self.reader = ReaderHandle(reference(database_id, READER))
        self.agents = AgentCaller(self.directory, self.store, now=time.time)

    @classmethod
    async def open(cls, database: Path, config: Config | None = None, *, process: Recipe | None = None,
                   agent_types: tuple[AgentType, ...] = ()) -> Runtime:
        """Join the instance of the database in that folder, or start one.

        Args:
            database: the folder; it is made if it is not there.
            config: of the instance, if this program starts it.
            process: makes the pooled processes instead of the package's own (tests).
            agent_types: types of agents beside the built-in ones, if this program starts it.

        Raises:
            ConfigError: this program is in another Ray cluster than the instance.
            DatabaseLocked, DatabaseDamaged, StorageFull: the store could not open the database.
        """
        config = config or Config()
        folder = database.absolute()
        prepare(folder)
        async with _starting(folder):
            holder = await _living(folder)
            if holder is not None:
                connected = await connect(holder.ray_address)
                known = await identity(LocalDisk(folder))
                if known is None:
                    raise DatabaseLocked(f"process {holder.pid} is making the database {folder}: try again")
                return cls(known["id"], started=False, connected=connected, private=False)
            return await cls._start(folder, config, process, agent_types)

    @classmethod
    async def _start(cls, folder: Path, config: Config, process: Recipe | None, agent_types: tuple[AgentType, ...]
                     ) -> Runtime:
        known = await identity(LocalDisk(folder))
        database_id = known["id"] if known else IdSource().new("db")
        private = config.runtime.address is None and not ray.is_initialized()
        connected = await connect(config.runtime.address)
        runtime = cls(database_id, started=True, connected=connected, private=private)
        try:
            for ref in named(namespace_of(database_id)):
                ref.kill()
            plan = _plan(folder, database_id, config, private=private)
            await start_instance(replace(plan, process=process, agent_types=agent_types))
        except BaseException:
            await runtime.close()
            raise
        return runtime

    async def close(self) -> None:
        """Leave; who started the instance ends it: turns under way go on at the next start."""
        if self.started and ray.is_initialized():
            for handle, method in ((self.directory, "stop"), (self.store, "close")):
                try:
                    await handle.ref.call(method, timeout_s=STOP_S)
                except RepertoryError:
                    continue
            for ref in named(namespace_of(self.database_id)):
                ref.kill()
        if self._connected and ray.is_initialized():
            await asyncio.to_thread(ray.shutdown)


@asynccontextmanager
async def _starting(folder: Path) -> AsyncIterator[None]:
    """Be the only program that starts an instance here. Raises DatabaseLocked after START_S seconds."""
    fd = os.open(folder / START_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + START_S
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise DatabaseLocked(f"another program is still starting the database {folder}") from None
            await asyncio.sleep(LOOK_S)
        yield
    finally:
        os.close(fd)


async def _living(folder: Path) -> Holder | None:
    """Who runs the database, once it can be reached or is gone."""
    deadline = time.monotonic() + STOP_S
    while (holder := holder_of(folder)) is not None:
        if holder.ray_address and not is_refused(holder.ray_address):
            return holder
        if time.monotonic() > deadline:
            raise DatabaseLocked(f"the database {folder} is held by process {holder.pid} on {holder.host}, "
                                 "which has no Ray that could be joined")
        await asyncio.sleep(LOOK_S)
    return None


def _plan(folder: Path, database_id: str, config: Config, *, private: bool) -> Plan:
    context = ray.get_runtime_context()
    settings = gateway_settings(config.providers)
    limits = PoolLimits(memory_bytes=HEAVY_BYTES, starting=max(2, os.cpu_count() or 2))
    if config.runtime.warm is not None:
        limits = replace(limits, spare=config.runtime.warm)
    return Plan(
        database=folder, database_id=database_id, ray_address=context.gcs_address, node_id=context.get_node_id(),
        private=private, live_cap=config.runtime.live_cap or _live_cap(), limits=limits, idle_s=config.runtime.idle_s,
        models=settings, secrets=_secrets(settings), embedder=config.memory.embedder,
    )


def _secrets(settings: GatewaySettings) -> dict[str, str]:
    """What the gateway may know of this program's environment: keys, and the addresses of providers."""
    wanted = [name for one in settings.providers.values() for name in (one.key_env, one.base_url_env)]
    return {name: value for name, value in os.environ.items() if is_secret(name) or name in wanted}


def _live_cap() -> int:
    """How many agents may be live, by the free memory."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        free = int(fields["MemAvailable"].split()[0]) << 10
    return max(LEAST_LIVE, min(int(free * MEMORY_SHARE / PROCESS_BYTES), MOST_LIVE))
