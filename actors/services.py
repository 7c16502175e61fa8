"""What makes an instance's services in their own processes: all but the store, which has LanceDB."""

from __future__ import annotations

import os
import time
from pathlib import Path

from repertory.actors.coordinator import BlockCoordinator
from repertory.actors.directory import Directory
from repertory.actors.gateway import ModelActor
from repertory.actors.gateways import Gateways
from repertory.actors.handles import StoreHandle
from repertory.actors.pool import PoolLimits
from repertory.actors.reader import ReaderActor, open_index
from repertory.actors.sandbox import SandboxActor
from repertory.actors.shell import Launch, RayRef, Recipe
from repertory.actors.spawner import RaySpawner
from repertory.ids import IdSource
from repertory.llm.settings import GatewaySettings
from repertory.memory.embeddings import embedder_named


async def make_directory(store: RayRef, process: Recipe, like: Launch, live_cap: int, limits: PoolLimits,
                         idle_s: float | None) -> Directory:
    """A directory that has learnt who there is. `process` makes the pooled processes, launched `like` this."""
    ids = IdSource()
    directory = Directory(StoreHandle(store), RaySpawner(process, like, ids), live_cap=live_cap, limits=limits,
                          idle_s=idle_s, now=time.time, ids=ids)
    await directory.start()
    return directory


async def make_models(settings: GatewaySettings, first: RayRef | None = None) -> ModelActor:
    """A gateway; it reads the keys from this process's environment. `first`: the one that keeps their budgets."""
    return ModelActor(settings, first=first)


async def make_first_models(settings: GatewaySettings, like: Launch, secrets: tuple[str, ...]) -> ModelActor:
    """The first gateway, launched `like` this; it starts those of the other nodes, with the same `secrets`."""
    first = RayRef(like.name, like.namespace)
    others = Recipe(module=__name__, function="make_models", arguments={"settings": settings, "first": first},
                    secrets={name: os.environ[name] for name in secrets})
    Gateways(first, others, like).watch()
    return ModelActor(settings)


async def make_coordinator(store: RayRef) -> BlockCoordinator:
    """A coordinator; it claims its epoch when it first writes."""
    return BlockCoordinator(StoreHandle(store), IdSource())


async def make_reader(store: RayRef, database: str, embedder: str) -> ReaderActor:
    """A reader of the database in that folder, on the same machine. `embedder`: the store's, by its name."""
    vectors = embedder_named(embedder)
    return ReaderActor(StoreHandle(store), open_index(Path(database), vectors), embedder=vectors)


async def make_sandbox() -> SandboxActor:
    """A sandbox; it starts a child process for each call."""
    return SandboxActor()
