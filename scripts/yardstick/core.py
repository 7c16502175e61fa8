"""Repertory under measurement: an instance of its own, with the mock model as provider."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import repertory as rep
from yardstick.floor import SYSTEM
from yardstick.mock_model import MODEL, MockModel
from yardstick.subject import Crowd, crowd

HANDLE = f"mock/{MODEL}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """A running system with some agents. Satisfies `subject.Subject`."""

    system: Any
    database: Path
    agents: list[Any] = field(default_factory=list)
    name: str = "Repertory"

    async def create(self, kind: str = "react", **settings: Any) -> Any:
        """A new agent; one of kind `react` is like LangGraph's and the floor's: no tools, a short prompt."""
        if kind == "react":
            settings["system"] = SYSTEM
        return await self.system.create_agent(model=HANDLE, type=kind, **settings)

    async def people(self, count: int) -> None:
        """Have `count` agents at least, all of them live."""
        while len(self.agents) < count:
            agent = await self.create()
            await agent.send("hello")
            self.agents.append(agent)

    async def send(self, number: int, text: str) -> None:
        """One message to the agent `number`."""
        assert (await self.agents[number].send(text)).text

    async def at_once(self, agents: int, each: int) -> Crowd:
        """`agents` at once, each with `each` messages one after the other."""
        return await crowd(self.send, agents, each)

    async def resolve(self, agent_id: str) -> Any:
        """Have the directory bring an agent to life; its route."""
        return await self.system._links.directory.resolve(agent_id)


@contextlib.asynccontextmanager
async def running(model: MockModel, database: Path, **runtime: Any) -> AsyncIterator[Core]:
    """An instance on the Ray that runs already, with its database in `database`."""
    providers = {"mock": {"kind": "openai", "base_url": model.base_url, "key": "none"}}
    system = await rep.open(database, config={"providers": providers, "runtime": runtime})
    try:
        yield Core(system=system, database=database)
    finally:
        await system.close()
