"""The directory: which agents there are, and where each one is live.

It has no truth of its own. Names and tags are rebuilt from the store before it answers, who is live from the pool's
processes, and who has something to do is asked of the store at start and every few seconds, beside the store's
own signals. It is the control plane: it hands out routes, and messages go straight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from repertory.actors.activation import Activations
from repertory.actors.handles import Route
from repertory.actors.pool import Pool, PoolLimits, Spawner
from repertory.actors.registry import Known, Registry, checked_name, checked_tags
from repertory.errors import ConfigError, Fenced, OutcomeUnknown, RepertoryError
from repertory.ids import IdSource, derived
from repertory.memory.journal import CLAIM, UNFENCED, Commit, Committed, NewRow, Store
from repertory.memory.rows import DIRECTORY, REGISTRY, author_stream, inbox_stream

#: seconds between two looks for agents that have something to do; the store's signals may get lost
PULL_S = 5.0
#: agents that one commit may create
CREATE_LIMIT = 1_000


class Directory:
    """Names, tags and routes. An actor: it answers after `start`."""

    def __init__(self, store: Store, spawner: Spawner, *, live_cap: int, limits: PoolLimits | None = None,
                 idle_s: float | None = None, now: Callable[[], float], ids: IdSource) -> None:
        """At most `live_cap` agents are live (pinned ones aside, and one that only ends a run that is late).

        Below the cap nobody is put away, unless `idle_s` is set: then those that nobody used for so many seconds.
        `now` gives seconds since 1970.
        """
        self._store = store
        self._now = now
        self._ids = ids
        self._idle_s = idle_s
        self._epoch = UNFENCED
        self._registry = Registry()
        self._outdated = True
        self._activations = Activations(live_cap, resident=self._is_resident, has_work=self._has_work,
                                        oldest_run=self._oldest_run)
        self._pool = Pool(spawner, limits or PoolLimits(), on_death=self._activations.lost)
        self._activations.pool = self._pool
        self._pulling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Claim the epoch, learn who there is and who is live, and begin to look for work."""
        row = NewRow(stream=author_stream(DIRECTORY), kind="activated")
        claim = await self._store.commit(Commit(op_id=f"directory/{self._ids.new('turn')}", author=DIRECTORY,
                                                epoch=CLAIM, rows=(row,)))
        self._epoch = claim.epoch
        await self._learn()
        for ref, status in await self._pool.open():
            if status["agent_id"] in self._registry and not status["briefly"]:
                self._activations.settle(ref, status)
            else:
                self._pool.retire(ref)
        self._pulling = asyncio.get_running_loop().create_task(self._pull())

    async def stop(self, *, end_processes: bool = False) -> None:
        """Stop looking for work and answering; the pool's processes go on unless `end_processes`."""
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.gather(self._pulling, return_exceptions=True)
        await self._activations.close()
        await self._pool.close(end_processes=end_processes)

    # --- which agents there are ---------------------------------------------------------------------------------------

    async def create(self, specs: list[dict[str, Any]], *, op_id: str) -> list[str]:
        """Create agents, all of them or none; their ids in order.

        A spec is what the agent is made of: plain data, of which `name`, `tags` and `resident` mean something here.
        The same `op_id` creates them once. Raises NameTaken or ConfigError.
        """
        if not 1 <= len(specs) <= CREATE_LIMIT:
            raise ConfigError(f"create 1 to {CREATE_LIMIT} agents at once, not {len(specs)}")
        agents = [_known(spec, derived("agent", op_id, number)) for number, spec in enumerate(specs)]
        if len({agent.name for agent in agents}) < len(agents):
            raise ConfigError("two of the agents to be created have the same name")
        rows = tuple(
            NewRow(stream=REGISTRY, kind="agent_created",
                   data={"id": agent.id, "name": agent.name, "tags": list(agent.tags), "spec": spec})
            for agent, spec in zip(agents, specs, strict=True)
        )
        await self._commit(op_id, rows)
        for agent in agents:
            self._registry.put(agent)
        return [agent.id for agent in agents]

    async def change(self, agent_id: str, changes: dict[str, Any], *, op_id: str) -> None:
        """Give an agent another `name` or other `tags`. Raises AgentNotFound, NameTaken or ConfigError."""
        await self._fresh()
        old = self._registry.get(agent_id)
        if not changes or set(changes) - {"name", "tags"}:
            raise ConfigError(f"a change names a new `name`, new `tags` or both, not {', '.join(changes) or 'nothing'}")
        name = checked_name(changes.get("name", old.name))
        tags = checked_tags(changes.get("tags", old.tags))
        new = {"name": name, "tags": list(tags)}
        data = {"id": agent_id, **{key: new[key] for key in sorted(changes)}}
        await self._commit(op_id, (NewRow(stream=REGISTRY, kind="agent_changed", data=data),))
        self._registry.put(Known(id=agent_id, name=name, tags=tags, resident=old.resident))

    async def delete(self, agent_id: str, *, op_id: str) -> None:
        """Delete an agent; who waits for an answer of it gets an error, in the same commit.

        Deleting one that is gone is no error when it was this `op_id` that deleted it.
        """
        await self._fresh()
        if agent_id not in self._registry and await self._store.lookup(op_id):
            return
        name = self._registry.get(agent_id).name
        await self._activations.bar(agent_id)
        try:
            replies = await self._refusals(agent_id, name)
            gone = NewRow(stream=REGISTRY, kind="agent_deleted", data={"id": agent_id})
            await self._commit(op_id, (gone, *replies))
        except RepertoryError:
            self._activations.unbar(agent_id)
            raise
        self._registry.drop(agent_id)
        self._activations.unbar(agent_id)
        await self._sweep()

    async def find(self, name: str) -> str:
        """The id of the agent with that name, or with that id. Raises AgentNotFound."""
        await self._fresh()
        return self._registry.find(name).id

    async def list(self, match_all: tuple[str, ...] = (), match_any: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """Agents that carry all of `match_all` and one of `match_any` (if any is given): id, name, tags."""
        await self._fresh()
        return [{"id": a.id, "name": a.name, "tags": a.tags} for a in self._registry.matching(match_all, match_any)]

    # --- where they are -----------------------------------------------------------------------------------------------

    async def resolve(self, agent_id: str) -> Route:
        """Where the agent is live; it is activated if it is not, and callers who come meanwhile wait for the same."""
        await self._fresh()
        self._registry.get(agent_id)
        return await self._activations.resolve(agent_id)

    async def routes(self, match_all: tuple[str, ...] = (), match_any: tuple[str, ...] = ()
                     ) -> dict[str, Route | None]:
        """The agents that match (see `list`), and where those are that are live; nobody is activated."""
        await self._fresh()
        return {a.id: self._activations.route(a.id) for a in self._registry.matching(match_all, match_any)}

    async def moved(self, agent_id: str, epoch: int) -> None:
        """A caller found that the route leads nowhere: look into it, and give the agent another process if so."""
        await self._activations.moved(agent_id, epoch)

    async def wake(self, agent_id: str) -> None:
        """The store has something for this agent."""
        self._activations.wake(agent_id)

    async def status(self) -> dict[str, Any]:
        """Counts of agents and processes; who is live, who is held back."""
        return {"epoch": self._epoch, "agents": len(self._registry), "pool": self._pool.counts(),
                **self._activations.counts()}

    # --- with the store -----------------------------------------------------------------------------------------------

    async def _commit(self, op_id: str, rows: tuple[NewRow, ...]) -> Committed:
        try:
            done = await self._store.commit(Commit(op_id=op_id, author=DIRECTORY, epoch=self._epoch, rows=rows))
        except OutcomeUnknown:
            self._outdated = True
            raise
        self._outdated = self._outdated or done.replayed
        return done

    async def _fresh(self) -> None:
        """Read the registry again if it is not known what became of a commit."""
        if self._outdated:
            await self._learn()

    async def _learn(self) -> None:
        registry = Registry()
        self._outdated = False
        try:
            for agent in await self._store.ask("agents"):
                registry.put(Known(id=agent["id"], name=agent["name"], tags=tuple(agent["tags"]),
                                   resident=agent["resident"]))
        except RepertoryError:
            self._outdated = True
            raise
        self._registry = registry

    async def _refusals(self, agent_id: str, name: str) -> tuple[NewRow, ...]:
        """Replies that tell everybody who waits for this agent that there will be none."""
        asked: dict[str, tuple[str, str]] = {}
        for row in (await self._store.load(agent_id)).inbox:
            if (to := row.data.get("reply_to")) is not None:
                asked[to["op_id"]] = (to["agent_id"], to["conversation_id"])
        for asker, conversation_id, op_id, target, _ in await self._store.ask("waits"):
            if target == agent_id:
                asked[op_id] = (asker, conversation_id)
        return tuple(_refusal(op_id, asker, conversation_id, agent_id, f"{name} was deleted before it answered")
                     for op_id, (asker, conversation_id) in asked.items() if asker != agent_id)

    async def _sweep(self) -> None:
        """Answer those who wait for an agent that is gone: their question came in while it was being deleted."""
        rows = [_refusal(op_id, asker, conversation_id, target, f"there is no agent {target}")
                for asker, conversation_id, op_id, target, _ in await self._store.ask("waits")
                if target not in self._registry and asker in self._registry]
        if rows:
            await self._commit(f"directory/{self._ids.new('turn')}", tuple(rows))

    async def _pull(self) -> None:
        while True:
            try:
                await self._fresh()
                await self._sweep()
                for agent_id in await self._store.ask("attention", now=self._now()):
                    self._activations.wake(agent_id, checked=True)
                self._activations.hurry(await self._store.ask("late", now=self._now()))
                if self._idle_s is not None:
                    await self._activations.put_away_unused(self._now() - self._idle_s)
            except Fenced:
                return
            except RepertoryError:
                self._outdated = True
            await asyncio.sleep(PULL_S)

    async def _has_work(self, agent_id: str) -> bool:
        has: bool = await self._store.ask("has_work", agent_id=agent_id, now=self._now())
        return has

    async def _oldest_run(self, agent_id: str) -> str:
        """The agent's oldest run that is not over; empty if there is none."""
        runs = await self._store.ask("runs", agent_id=agent_id, active=True, limit=1_000)
        return str(runs[-1]["run_id"]) if runs else ""

    def _is_resident(self, agent_id: str) -> bool:
        return agent_id in self._registry and self._registry.get(agent_id).resident


def _known(spec: dict[str, Any], agent_id: str) -> Known:
    return Known(id=agent_id, name=checked_name(spec.get("name", agent_id)), tags=checked_tags(spec.get("tags", ())),
                 resident=bool(spec.get("resident")))


def _refusal(op_id: str, asker: str, conversation_id: str, agent_id: str, error: str) -> NewRow:
    return NewRow(stream=inbox_stream(asker), kind="reply",
                  data={"in_reply_to": op_id, "conversation_id": conversation_id, "agent_id": agent_id, "error": error})


