"""Real agents on a store in memory, in one process, with a scripted model: for tests of what agents do."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from repertory.actors.agent import Agent
from repertory.actors.blocks import CoordinatorHandle
from repertory.actors.coordinator import BlockCoordinator
from repertory.actors.local import LocalRef
from repertory.actors.surroundings import Surroundings
from repertory.errors import ToolError
from repertory.ids import IdSource
from repertory.llm.gateway import Gateway
from repertory.llm.offline import OfflineModel
from repertory.llm.protocol import ModelAnswer, ModelRequest
from repertory.llm.scripted import Reply, Scripted
from repertory.llm.settings import GatewaySettings
from repertory.memory.agent_types import AgentType, with_types
from repertory.memory.journal import CLAIM, Commit, NewRow
from repertory.memory.state import AgentSpec
from repertory.memory.volatile import VolatileStore
from repertory.messages import Envelope, Outcome, ToolCall, pack
from repertory.tools.registry import ToolRegistry
from repertory.tools.tool import Tool


class Clock:
    """Time that tests move."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


class NoSearch:
    """A search that finds what it was given."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    async def search(self, agent_id: str, what: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        return self.found


class Tools:
    """A sandbox that runs tools by functions of the test."""

    def __init__(self) -> None:
        self.functions: dict[str, Callable[..., str]] = {}
        self.ran: list[tuple[str, str]] = []
        #: seconds that each run was given
        self.given_s: list[float] = []

    async def run(self, tool: Tool, arguments: Mapping[str, Any], *, op_id: str, timeout_s: float) -> str:
        self.ran.append((tool.name, op_id))
        self.given_s.append(timeout_s)
        if tool.name not in self.functions:
            raise ToolError(f"There is no sandbox to run {tool.name} in, so it was not run.")
        return self.functions[tool.name](**arguments)


class Stage:
    """A store, a model, a coordinator, and agents."""

    def __init__(self, script: Callable[[ModelRequest], Reply] | Iterable[Reply], *, window: int = 32_000,
                 types: Iterable[AgentType] = ()) -> None:
        self.clock = Clock()
        self.model = Scripted(script, window=window)
        self.store = VolatileStore(now=self.clock, on_inbox=self._wake)
        self.search, self.tools = NoSearch(), Tools()
        providers = {"scripted": lambda: self.model, "offline": OfflineModel}
        gateway = Gateway(providers, GatewaySettings(), chance=random.Random(1))
        self._ids = IdSource(7)
        self._numbers = itertools.count(1)
        coordinator = BlockCoordinator(self.store, IdSource(8))
        self.blocks = CoordinatorHandle(LocalRef("coordinator", coordinator))
        self.surroundings = Surroundings(
            store=self.store, models=GatewayModels(gateway), blocks=self.blocks, search=self.search,
            tools=ToolRegistry.with_builtins(), types=with_types(types), sandbox=self.tools, now=self.clock,
            new_op=lambda: f"op-{next(self._numbers)}",
        )
        self.agents: dict[str, Agent] = {}
        self._epoch = 0

    async def create(self, name: str, *, tags: tuple[str, ...] = (), **spec: Any) -> str:
        """A new agent in the registry; its id is its name."""
        if not self._epoch:
            row = NewRow(stream="author:directory", kind="activated")
            done = await self.store.commit(Commit(op_id="claim", author="directory", epoch=CLAIM, rows=(row,)))
            self._epoch = done.epoch
        kind = self.surroundings.types[spec.get("agent_type", "memgpt")]
        made = AgentSpec(**{"model": "scripted/model", "tools": kind.tools, "blocks": kind.blocks, **spec})
        row = NewRow(stream="registry", kind="agent_created",
                     data={"id": name, "name": name, "tags": list(tags), "spec": pack(made)})
        await self.store.commit(Commit(op_id=f"create/{name}", author="directory", epoch=self._epoch, rows=(row,)))
        return name

    async def live(self, agent_id: str) -> Agent:
        """A new activation of an agent; an earlier one is not told, as after a crash."""
        agent = Agent(agent_id, self.surroundings)
        await agent.start()
        self.agents[agent_id] = agent
        return agent

    async def crash(self, agent_id: str) -> None:
        """The agent's process dies where it stands."""
        agent = self.agents.pop(agent_id)
        for task in list(agent._tasks):
            task.cancel()

    async def close(self) -> None:
        """End all agents."""
        for agent in self.agents.values():
            await agent.stop()

    def envelope(self, text: str, **more: Any) -> Envelope:
        """A message with ids of its own."""
        number = next(self._numbers)
        return Envelope(run_id=f"run-{number}", message_id=f"message-{number}", text=text, **more)

    async def ask(self, agent: Agent, text: str, **more: Any) -> Outcome:
        """Send a message to an agent and wait for the end of its run."""
        envelope = self.envelope(text, **more)
        return await agent.ask(envelope, f"op/{envelope.run_id}", 30.0)

    def _wake(self, agent_id: str) -> None:
        agent = self.agents.get(agent_id)
        if agent is not None:
            agent.spawn(agent.nudge())


class GatewayModels:
    """The gateway as agents see it, without a process between."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def answer(self, request: ModelRequest, *, stream: bool = False) -> ModelAnswer:
        return await self._gateway.answer(request, stream=stream)

    async def deltas(self, request_id: str, *, after: int = 0, wait_s: float = 10.0) -> list[dict[str, Any]]:
        return await self._gateway.deltas(request_id, after, wait_s)

    async def cancel(self, request_id: str) -> bool:
        return self._gateway.cancel(request_id)

    async def context_window(self, handle: str) -> int:
        return await self._gateway.context_window(handle)


def calls(*wanted: tuple[str, dict[str, Any]], text: str = "") -> ModelAnswer:
    """An answer that calls tools."""
    return ModelAnswer(text=text, finish="tool_calls", tool_calls=tuple(
        ToolCall(id=f"call_{number}", name=name, arguments=arguments)
        for number, (name, arguments) in enumerate(wanted)))


def says(text: str, *, heartbeat: bool = False) -> ModelAnswer:
    """An answer that speaks by `send_message`."""
    return calls(("send_message", {"thinking": "…", "message": text, "request_heartbeat": heartbeat}))
