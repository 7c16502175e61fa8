"""The agents of a simulated world: what they are made of, what surrounds them, and the last test of their health."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from repertory.actors.agent import Agent
from repertory.actors.blocks import CoordinatorHandle
from repertory.actors.handles import StoreHandle
from repertory.actors.models import ModelsHandle
from repertory.actors.surroundings import Surroundings
from repertory.errors import ToolError
from repertory.ids import IdSource
from repertory.memory.agent_types import builtin_types
from repertory.memory.block import Block
from repertory.memory.state import AgentSpec, ToolSource
from repertory.messages import pack
from repertory.tools.registry import ToolRegistry
from repertory.tools.tool import Tool

from .ledger import Sent
from .plan import Plan
from .postmortem import DEFAULT_DEADLINE_S
from .script import Op, order
from .workload import Person

if TYPE_CHECKING:
    from .world import World

#: tools that every simulated agent has, whatever its type
TOOLS = ("core_memory_append", "memory_insert", "archival_memory_insert", "conversation_search",
         "send_message_to_agent_async", "send_message_to_agent_and_wait_for_reply",
         "send_message_to_agents_matching_tags")
#: never changed, so all worlds share them
REGISTRY, TYPES = ToolRegistry.with_builtins(), builtin_types()
#: the custom tool that every simulated agent has; the simulated sandbox does not look at its source
CHORE = ToolSource(name="chore", description="Does a chore.", source="def chore(line: str) -> str: ...", parameters={
    "type": "object", "properties": {"line": {"type": "string"}}, "required": ["line"]})


def spec(plan: Plan, number: int, blocks: dict[str, str]) -> dict[str, Any]:
    """What the `number`-th agent of a world is made of; `blocks`: ids and labels of the shared ones."""
    rng = random.Random(f"{plan.seed}/agent/{number}")
    kind = plan.agent_types[number]
    made = AgentSpec(
        agent_type=kind, model=f"sim/w{plan.window}", system="You do as you are told.",
        blocks=(Block(label="notes", limit_chars=100_000),), shared=tuple(blocks),
        tools=(*(("send_message",) if kind == "memgpt" else ()), *TOOLS), custom_tools=(CHORE,),
        max_steps=12, deadline_s=DEFAULT_DEADLINE_S,
    )
    return {"name": f"agent{number}", "tags": [f"tag{rng.randrange(2)}"], **pack(made)}


def make(world: World, agent_id: str, ids: IdSource) -> Agent:
    """An agent that has not started."""
    return Agent(agent_id, Surroundings(
        store=StoreHandle(world.store_ref), models=ModelsHandle(world.models_ref),
        blocks=CoordinatorHandle(world.coordinator_ref), search=NothingFound(), tools=REGISTRY, types=TYPES,
        sandbox=SimSandbox(world), now=world.now, new_op=lambda: f"{agent_id}/{ids.new('turn')}",
    ))


class NothingFound:
    """Satisfies `surroundings.Search`: projections are not simulated."""

    async def search(self, agent_id: str, what: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        """See `Search.search`."""
        return []


class SimSandbox:
    """Satisfies `surroundings.Sandbox`: runs nothing, takes its time, fails, or hangs."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self, tool: Tool, arguments: Mapping[str, Any], *, op_id: str, timeout_s: float) -> str:
        """See `Sandbox.run`."""
        rng, trace = self._world.tool_rng, self._world.trace
        fate = 1.0 if self._world.healthy else rng.random()
        if fate < 0.1:
            trace.fault("tool hangs", tool.name, "does not come back")
            await asyncio.sleep(timeout_s)
            raise ToolError(f"{tool.name} did not end within {timeout_s:g} s")
        await asyncio.sleep(rng.random())
        if fate < 0.2:
            trace.fault("tool fails", tool.name, "fails")
            raise ToolError(f"{tool.name} failed")
        return f"done: {arguments['line']}"


async def probe(world: World) -> None:
    """Once healed, all agents must answer: the first asks the second, which asks the third, and so on."""
    ids = list(world.ledger.agents.values())
    chain = order(f"mprobe.{len(ids) - 1}")
    for number in range(len(ids) - 1, 0, -1):
        chain = order(f"mprobe.{number - 1}", Op(verb="ask", arguments=(ids[number],), message=chain))
    sent = Sent(token=chain.token, agent_id=ids[0], conversation_id="default", run_id="run-mprobe", op_id="op-mprobe",
                person=-2, at=world.loop.time(), calm=True)
    await Person(world, -2).tell(sent, chain)
    healthy = sent.outcome is not None and sent.outcome.text in (f"re:{sent.token}", "re:nothing")
    world.auditor.must(healthy, "P5", "the agents do not answer though everything has healed: %s", sent.outcome)
