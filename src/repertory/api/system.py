"""A running system as programs see it: open it, create agents, find them, speak to many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Unpack

from repertory.api import runs
from repertory.api.agent import Agent
from repertory.api.blocks import SharedBlocks
from repertory.api.links import Links
from repertory.api.replies import Broadcast, Reply, reply_of
from repertory.api.spec import Blocks, Settings, make_spec
from repertory.api.tools import ToolLike
from repertory.errors import AgentNotFound, DeadlineExceeded, RepertoryError
from repertory.ids import derived
from repertory.memory.agent_types import type_named
from repertory.messages import DEFAULT_CONVERSATION, pack

#: seconds that the answers to a broadcast are waited for
BROADCAST_S = 120.0


class System:
    """A running system. Made by `repertory.open`."""

    def __init__(self, links: Links, *, closing: Callable[[], Awaitable[None]], started: bool = True) -> None:
        """`closing` gives back what it stands on; `started`: this program started the instance, others join it."""
        self._links = links
        self._closing = closing
        self.started = started
        self.blocks = SharedBlocks(links)

    async def close(self) -> None:
        """Leave; whoever started the instance ends it. What is under way goes on at the next start."""
        await self._closing()

    async def create_agent(self, name: str | None = None, *, model: str = "offline/rules", type: str = "memgpt",
                           blocks: Blocks | None = None, tools: Iterable[ToolLike] | None = None,
                           tags: Iterable[str] = (), key: str | None = None, **settings: Unpack[Settings]) -> Agent:
        """Create an agent. It costs a row in the journal, no process; the first message brings it to life.

        Args:
            name: must be its own; None: its id.
            model: a handle, `provider/model`.
            type: memgpt, letta_v1, react, workflow, or one that was given to `open`.
            blocks: texts by label (the type's other blocks stay), or all blocks, private and shared; None: the type's.
            tools: names of built-in tools, and Python functions (see `repertory.tool`); None: the type's.
            tags: to find it by, and to speak to many at once.
            key: an idempotency key: the same one creates the agent once.
            settings: see `Settings`.

        Raises:
            UnknownModel, MissingKey, NameTaken, BlockLimitExceeded, or ConfigError for whatever else cannot be; then
            nothing was written.
        """
        spec = make_spec(type_named(dict(self._links.types), type), model, blocks, tools, self._links.tools, settings)
        await self._links.models.context_window(model)
        for block_id in spec.shared:
            await self._links.blocks.read(block_id)
        op_id = self._links.op("create", key)
        chosen = list(tags)
        own_name = name if name is not None else derived("agent", op_id, 0)
        [agent_id] = await self._links.directory.create(
            [{**pack(spec), "agent_type": spec.agent_type, "name": own_name, "tags": chosen}], op_id=op_id)
        return Agent(self._links, agent_id, own_name, tuple(chosen))

    async def agent(self, name: str) -> Agent:
        """The agent of that name, or of that id. Raises AgentNotFound."""
        agent_id = await self._links.directory.find(name)
        found = await self._links.store.ask("agent", agent_id=agent_id)
        return Agent(self._links, agent_id, found["name"], tuple(found["tags"]))

    async def agents(self, tags: Iterable[str] = (), *, match_any: Iterable[str] = ()) -> list[Agent]:
        """The agents that carry all of `tags` and one of `match_any` (if any is given), oldest first."""
        found = await self._links.directory.list(tuple(tags), tuple(match_any))
        return [Agent(self._links, one["id"], one["name"], tuple(one["tags"])) for one in found]

    async def has_agent(self, name: str) -> bool:
        """Whether there is an agent of that name or id."""
        try:
            await self._links.directory.find(name)
        except AgentNotFound:
            return False
        return True

    async def broadcast(self, text: str, *, match_all: Iterable[str] = (), match_any: Iterable[str] = (),
                        timeout_s: float = BROADCAST_S, key: str | None = None) -> Broadcast:
        """Send a message to all agents that carry these tags, in parallel, and wait at most `timeout_s` for each.

        The result names who answered, who failed and why, and who is late. The message is kept for each of them, so a
        late one still gets it. Live agents get it directly, others through the journal.
        """
        wanted, one_of = tuple(match_all), tuple(match_any)
        agents, routes = await asyncio.gather(
            self.agents(wanted, match_any=one_of), self._links.directory.routes(wanted, one_of))
        live = [route for route in routes.values() if route is not None]
        self._links.agents.learn(live)
        op_id = self._links.op("broadcast", key)
        waits = {route.agent_id: runs.ask_live for route in live}
        results = await asyncio.gather(*(
            self._told(agent, text, op_id, waits.get(agent.id, runs.keep_and_wait), timeout_s) for agent in agents))
        pairs = list(zip(agents, results, strict=True))
        return Broadcast(
            answered={agent.name: result for agent, result in pairs if isinstance(result, Reply)},
            failed={agent.name: result for agent, result in pairs if isinstance(result, RepertoryError)},
            late=tuple(agent.name for agent, result in pairs if result is None),
        )

    async def status(self) -> dict[str, Any]:
        """Counts, who is live, who waits for whom; plain data."""
        directory, statistics, waits = await asyncio.gather(
            self._links.directory.status(), self._links.store.ask("statistics"), self._links.store.ask("waits"))
        return {"directory": directory, "store": statistics, "waits": waits}

    async def overview(self) -> list[dict[str, Any]]:
        """All agents as the journal knows them: messages that wait, open turns, when they were last active."""
        found: list[dict[str, Any]] = await self._links.store.ask("agents")
        return found

    async def _told(self, agent: Agent, text: str, op_id: str, deliver: runs.Deliver, timeout_s: float
                    ) -> Reply | RepertoryError | None:
        """What became of a broadcast at one agent; None: it is late."""
        own = f"{op_id}/{agent.id}"
        delivery = runs.Delivery(agent_id=agent.id, conversation_id=DEFAULT_CONVERSATION)
        try:
            envelope = runs.envelope_of(self._links, own, text, delivery)
            outcome = await deliver(self._links, own, agent.id, envelope, timeout_s)
        except DeadlineExceeded:
            return None
        except RepertoryError as error:
            return error
        try:
            return reply_of(outcome, agent.name)
        except RepertoryError as error:
            return error
