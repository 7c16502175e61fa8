"""How actors reach each other: a reference that carries calls, and typed handles around it.

A `Ref` is all that an actor knows of another one; Ray, the simulator and a plain process each bring their own. A
handle gives the calls their names and types and says what may be tried again. Nobody hands out raw Ray handles.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from repertory.errors import OutcomeUnknown
from repertory.memory.journal import Commit, Committed, Loaded, Row

#: seconds for one try of a call that may be tried again
TRY_S = 20.0
#: seconds until such a call is given up: longer than a restart of the store or the directory takes
GIVE_UP_S = 90.0
#: the first pause between tries, in seconds; each next one is twice as long, up to the second
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0

T = TypeVar("T")


class Ref(Protocol):
    """Where an actor can be reached."""

    #: tells one actor from another; changes when the actor is replaced
    key: str

    async def call(self, method: str, /, *args: Any, timeout_s: float, **kwargs: Any) -> Any:
        """Call it and wait for the answer.

        Raises whatever RepertoryError the actor raised, or OutcomeUnknown when it died or did not answer in time: the
        call may or may not have been carried out, so only what is idempotent is tried again.
        """

    def tell(self, method: str, /, *args: Any, **kwargs: Any) -> None:
        """Call it without waiting; it may get lost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """Where an agent is live: which process, and which activation of it that process must hold."""

    agent_id: str
    process: Ref
    epoch: int


async def repeated(attempt: Callable[[float], Awaitable[T]], *, deadline_s: float = GIVE_UP_S,
                   try_s: float = TRY_S) -> T:
    """Carry out `attempt(timeout_s)` until its outcome is known.

    Only for what is idempotent. Raises OutcomeUnknown when `deadline_s` seconds were not enough.
    """
    loop = asyncio.get_running_loop()
    end, pause = loop.time() + deadline_s, FIRST_PAUSE_S
    while True:
        try:
            return await attempt(max(min(try_s, end - loop.time()), 0.001))
        except OutcomeUnknown:
            if loop.time() + pause >= end:
                raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)


class StoreHandle:
    """A store that is reached by a reference. Satisfies `journal.Store`.

    A commit whose outcome is unknown is sent again under its op_id, which the store carries out once.
    """

    def __init__(self, ref: Ref, *, deadline_s: float = GIVE_UP_S) -> None:
        self.ref = ref
        self._deadline_s = deadline_s

    async def commit(self, commit: Commit) -> Committed:
        """See `journal.Store.commit`; OutcomeUnknown when the store stayed away until the deadline."""
        done: Committed = await self._ask("commit", commit)
        return done

    async def lookup(self, op_id: str) -> tuple[Row, ...]:
        """See `journal.Store.lookup`."""
        rows: tuple[Row, ...] = await self._ask("lookup", op_id)
        return rows

    async def read(self, stream: str, *, after: int = 0, limit: int = 1000) -> tuple[Row, ...]:
        """See `journal.Store.read`."""
        rows: tuple[Row, ...] = await self._ask("read", stream, after=after, limit=limit)
        return rows

    async def load(self, agent_id: str) -> Loaded:
        """See `journal.Store.load`."""
        loaded: Loaded = await self._ask("load", agent_id)
        return loaded

    async def ask(self, question: str, **arguments: Any) -> Any:
        """See `journal.Store.ask`."""
        return await self._ask("ask", question, **arguments)

    async def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await repeated(lambda left_s: self.ref.call(method, *args, timeout_s=left_s, **kwargs),
                              deadline_s=self._deadline_s)


class DirectoryHandle:
    """A directory that is reached by a reference; see `actors.directory.Directory` for what the calls do."""

    def __init__(self, ref: Ref, *, deadline_s: float = GIVE_UP_S) -> None:
        self.ref = ref
        self._deadline_s = deadline_s

    async def create(self, specs: list[dict[str, Any]], *, op_id: str) -> list[str]:
        """Create agents, all or none; their ids."""
        ids: list[str] = await self._ask("create", specs, op_id=op_id)
        return ids

    async def change(self, agent_id: str, changes: dict[str, Any], *, op_id: str) -> None:
        """Give an agent another name or other tags."""
        await self._ask("change", agent_id, changes, op_id=op_id)

    async def delete(self, agent_id: str, *, op_id: str) -> None:
        """Delete an agent; whoever waits for it gets an error."""
        await self._ask("delete", agent_id, op_id=op_id)

    async def find(self, name: str) -> str:
        """The id of the agent of that name (or id). Raises AgentNotFound."""
        agent_id: str = await self._ask("find", name)
        return agent_id

    async def list(self, match_all: tuple[str, ...] = (), match_any: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """The agents that carry all of `match_all` and one of `match_any`: id, name, tags."""
        found: list[dict[str, Any]] = await self._ask("list", match_all, match_any)
        return found

    async def routes(self, match_all: tuple[str, ...] = (), match_any: tuple[str, ...] = ()
                     ) -> dict[str, Route | None]:
        """The same agents' ids, and where those of them are that are live."""
        found: dict[str, Route | None] = await self._ask("routes", match_all, match_any)
        return found

    async def resolve(self, agent_id: str, *, deadline_s: float | None = None) -> Route:
        """Where the agent is live; it is activated if it is not. Raises AgentNotFound."""
        route: Route = await repeated(lambda left_s: self.ref.call("resolve", agent_id, timeout_s=left_s),
                                      deadline_s=deadline_s or self._deadline_s)
        return route

    async def moved(self, agent_id: str, epoch: int) -> None:
        """Report that a route led nowhere, so that it is looked at."""
        await self._ask("moved", agent_id, epoch)

    def wake(self, agent_id: str) -> None:
        """Tell that there is something in the agent's inbox."""
        self.ref.tell("wake", agent_id)

    async def status(self) -> dict[str, Any]:
        """Counts, and who is live where."""
        status: dict[str, Any] = await self._ask("status")
        return status

    async def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await repeated(lambda left_s: self.ref.call(method, *args, timeout_s=left_s, **kwargs),
                              deadline_s=self._deadline_s)
