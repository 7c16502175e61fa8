"""The agents of a simulated world: what they are made of, what surrounds them, and the last test of their health."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from repertory.ids import IdSource
from repertory.memory.block import Block
from repertory.memory.state import AgentSpec
from repertory.messages import pack

from .plan import Plan
from .postmortem import DEFAULT_DEADLINE_S

if TYPE_CHECKING:
    from .world import World

#: tools that every simulated agent has, whatever its type
TOOLS = ("core_memory_append", "memory_insert", "archival_memory_insert", "conversation_search",
         "send_message_to_agent_async", "send_message_to_agent_and_wait_for_reply",
         "send_message_to_agents_matching_tags")


def spec(plan: Plan, number: int, blocks: dict[str, str]) -> dict[str, Any]:
    """What the `number`-th agent of a world is made of; `blocks`: ids and labels of the shared ones."""
    rng = random.Random(f"{plan.seed}/agent/{number}")
    kind = plan.agent_types[number]
    made = AgentSpec(
        agent_type=kind, model=f"sim/w{plan.window}", system="You do as you are told.",
        blocks=(Block(label="notes", limit_chars=100_000),), shared=tuple(blocks),
        tools=(*(("send_message",) if kind == "memgpt" else ()), *TOOLS), max_steps=12, deadline_s=DEFAULT_DEADLINE_S,
    )
    return {"name": f"agent{number}", "tags": [f"tag{rng.randrange(2)}"], **pack(made)}


def make(world: World, agent_id: str, ids: IdSource) -> Any:
    """An agent that has not started."""
    raise NotImplementedError


async def probe(world: World) -> None:
    """Each agent answers, and so does one that must ask another one first."""
    await asyncio.sleep(0)
