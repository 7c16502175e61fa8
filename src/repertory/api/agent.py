"""An agent as programs see it: talk to it, look into its memory, change it, delete it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from repertory.api.conversation import Conversation
from repertory.api.links import READ_S, Links
from repertory.api.memory import AgentMemory
from repertory.api.tools import sorted_out
from repertory.messages import DEFAULT_CONVERSATION, Message, Outcome, pack


class Agent(Conversation):
    """One agent, and its default conversation. Agents are always there: a message brings one to life."""

    def __init__(self, links: Links, agent_id: str, name: str, tags: tuple[str, ...] = ()) -> None:
        super().__init__(links, agent_id, name, DEFAULT_CONVERSATION)
        self.memory = AgentMemory(links, agent_id)
        self.tags = tags

    def __repr__(self) -> str:
        return f"Agent({self.name!r}, id={self.id!r})"

    @property
    def id(self) -> str:
        """Its id, `agent-…`."""
        return self.agent_id

    @property
    def name(self) -> str:
        """Its name as it was when this object was made."""
        return self._name

    def conversation(self, conversation_id: str) -> Conversation:
        """Another thread with the same agent, made when it is first used."""
        return Conversation(self._links, self.agent_id, self._name, conversation_id)

    async def context(self, conversation_id: str = DEFAULT_CONVERSATION) -> dict[str, Any]:
        """What the model would see now: the compiled system message, the messages, counts of tokens."""
        found: dict[str, Any] = await self._view("context", conversation_id=conversation_id)
        return found

    async def history(self, *, limit: int = 50, conversation_id: str | None = None) -> list[Message]:
        """The newest messages of all that was ever said to it and by it, oldest first."""
        return await self.memory.history(limit=limit, conversation_id=conversation_id)

    async def conversations(self) -> list[dict[str, Any]]:
        """Its threads: id, messages in the window, evicted ones, whether a turn is open."""
        found: list[dict[str, Any]] = await self._view("conversations")
        return found

    async def change(self, *, key: str | None = None, **settings: Any) -> None:
        """Change what was said when it was created (model, system, tools, max_steps, …). Raises ConfigError."""
        if "model" in settings:
            await self._links.models.context_window(settings["model"])
        if "tools" in settings:
            names, sources = sorted_out(settings["tools"], self._links.tools)
            settings |= {"tools": list(names), "custom_tools": [pack(source) for source in sources]}
        await self._links.agents.call(self.agent_id, "edit", self._links.op(f"{self.agent_id}/change", key),
                                      {"spec": settings, "by": self._links.me.id}, deadline_s=READ_S)

    async def state(self) -> dict[str, Any]:
        """All of its state, as plain data."""
        found: dict[str, Any] = await self._view("state")
        return found

    async def cancel(self, run_id: str | None = None) -> list[Outcome]:
        """Cancel a run, or all that are under way; each outcome is the run's, which may have ended by itself."""
        runs = [run_id] if run_id is not None else [
            run["run_id"] for run in await self._links.store.ask("runs", agent_id=self.agent_id, active=True)]
        return [await self._links.agents.call(self.agent_id, "cancel", run, deadline_s=READ_S) for run in runs]

    async def rename(self, name: str, *, key: str | None = None) -> None:
        """Give it another name. Raises NameTaken or ConfigError."""
        await self._links.directory.change(self.agent_id, {"name": name},
                                           op_id=self._links.op(f"{self.agent_id}/rename", key))
        self._name = name

    async def retag(self, tags: Iterable[str], *, key: str | None = None) -> None:
        """Give it these tags instead of those that it has. Raises ConfigError."""
        new = tuple(tags)
        await self._links.directory.change(self.agent_id, {"tags": list(new)},
                                           op_id=self._links.op(f"{self.agent_id}/retag", key))
        self.tags = new

    async def delete(self, *, key: str | None = None) -> None:
        """Delete it; whoever waits for it gets an error."""
        await self._links.directory.delete(self.agent_id, op_id=self._links.op(f"{self.agent_id}/delete", key))

    async def _view(self, what: str, **arguments: Any) -> Any:
        return await self._links.agents.call(self.agent_id, "view", what, deadline_s=READ_S, **arguments)
