"""The processes in which agents live: what each of them gives its agents. Imports nothing that agents do not need."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

from repertory.actors.agent import Agent
from repertory.actors.blocks import CoordinatorHandle
from repertory.actors.handles import StoreHandle
from repertory.actors.models import ModelsHandle
from repertory.actors.process import AgentProcess
from repertory.actors.reader import ReaderHandle
from repertory.actors.sandbox import SandboxHandle
from repertory.actors.shell import RayRef, this_node
from repertory.actors.surroundings import Surroundings
from repertory.ids import IdSource
from repertory.memory.agent_types import AgentType, with_types
from repertory.tools.registry import ToolRegistry


async def make_process(store: RayRef, models: RayRef, blocks: RayRef, reader: RayRef, sandbox: RayRef,
                       home: str = "", types: tuple[AgentType, ...] = ()) -> AgentProcess:
    """A process that takes agents of the built-in types and of `types`. `home`: the node of all that is named here."""
    ids = IdSource()
    surroundings = Surroundings(
        store=StoreHandle(store), models=ModelsHandle(nearest(models, home)), blocks=CoordinatorHandle(blocks),
        search=ReaderHandle(reader), sandbox=SandboxHandle(sandbox), tools=ToolRegistry.with_builtins(),
        types=with_types(types), now=time.time, new_op=lambda: ids.new("turn"),
    )
    # what is here now stays: the look back after each agent need not go through it
    gc.collect()
    gc.freeze()
    return AgentProcess(lambda agent_id: Agent(agent_id, surroundings), memory_bytes=resident_bytes,
                        collect=gc.collect)


def nearest(first: RayRef, home: str) -> RayRef:
    """The gateway of this node; the first one, which is at `home`, where that has none (yet)."""
    mine = first.on(this_node())
    return mine if this_node() != home and mine.exists() else first


def resident_bytes() -> int:
    """Memory that this process holds; 0 where that cannot be read."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
