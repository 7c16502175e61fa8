"""How everybody outside reaches an agent: a route that is remembered, and what to do when it leads nowhere.

A call goes straight to the process that holds the agent. One that has moved, or died, is resolved again and the call
repeated under its op_id, so that it is carried out once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from repertory.actors.handles import FIRST_PAUSE_S, LONGEST_PAUSE_S, DirectoryHandle, Route
from repertory.errors import DeadlineExceeded, Moved, OutcomeUnknown, RunNotFound
from repertory.memory.journal import UNFENCED, Commit, NewRow, Store
from repertory.memory.outcomes import outcome_of
from repertory.memory.rows import inbox_stream
from repertory.messages import TERMINAL, Envelope, Outcome, Receipt, pack

#: routes that a caller remembers
ROUTES = 10_000
#: seconds of one wait inside an agent's call; then it is asked again
WAIT_S = 20.0
#: seconds that the answer itself may take beside a wait (a machine under load)
ANSWER_S = 20.0


class AgentCaller:
    """Calls agents by their ids."""

    def __init__(self, directory: DirectoryHandle, store: Store, *, now: Callable[[], float]) -> None:
        """`now` gives seconds since 1970, by the clock that deadlines are written in."""
        self._directory = directory
        self._store = store
        self._now = now
        self._routes: OrderedDict[str, Route] = OrderedDict()

    def learn(self, routes: Iterable[Route]) -> None:
        """Remember routes that the directory has just told."""
        for route in routes:
            self._remember(route)

    async def call(self, agent_id: str, method: str, *args: Any, deadline_s: float, **kwargs: Any) -> Any:
        """Call one of the agent's methods; it must be idempotent.

        Raises what the method raised, AgentNotFound, or OutcomeUnknown when `deadline_s` seconds were not enough.
        """
        loop = asyncio.get_running_loop()
        end, pause = loop.time() + deadline_s, FIRST_PAUSE_S
        while True:
            try:
                return await self._once(agent_id, method, args, kwargs, end - loop.time())
            except (Moved, OutcomeUnknown) as error:
                if loop.time() + pause >= end:
                    raise OutcomeUnknown(f"{agent_id} did not answer {method} within {deadline_s:g} s") from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def ask(self, agent_id: str, envelope: Envelope, *, op_id: str, deadline_s: float) -> Outcome:
        """Deliver a message and wait for the end of its run.

        The same `op_id` delivers it once, however often it is tried. Raises DeadlineExceeded (data: run_id) when
        the run had not ended after `deadline_s` seconds; it goes on.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        while (left_s := end - loop.time()) > 0:
            wait_s = min(WAIT_S, left_s)
            try:
                outcome: Outcome = await self._once(agent_id, "ask", (envelope, op_id, wait_s), {}, wait_s + ANSWER_S)
                if outcome.done:
                    return outcome
                if (ended := await self._ended(agent_id, envelope.run_id)) is not None:
                    return ended
            except (Moved, OutcomeUnknown):
                await self._rest(agent_id, envelope.run_id, end)
        raise DeadlineExceeded(
            f"{agent_id} has not answered within {deadline_s:g} s; its run {envelope.run_id} goes on",
            run_id=envelope.run_id, agent_id=agent_id,
        )

    async def post(self, agent_id: str, envelope: Envelope, *, op_id: str, author: str) -> Receipt:
        """Put a message into the agent's inbox and return as soon as it is durable.

        `author` names the sender's side, `client:<id>`. Raises AgentNotFound or InboxFull.
        """
        row = NewRow(stream=inbox_stream(agent_id), kind="message", data=pack(envelope))
        done = await self._store.commit(Commit(op_id=op_id, author=author, epoch=UNFENCED, rows=(row,)))
        return Receipt(run_id=envelope.run_id, agent_id=agent_id, seq=done.first)

    async def _once(self, agent_id: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any],
                    timeout_s: float) -> Any:
        """One try. A route that leads nowhere is forgotten, and the directory is told."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        route = self._routes.get(agent_id)
        if route is None:
            route = await self._directory.resolve(agent_id, deadline_s=timeout_s)
            self._remember(route)
        try:
            return await route.process.call("call", agent_id, route.epoch, method, args, kwargs,
                                            timeout_s=max(end - loop.time(), 0.001))
        except (Moved, OutcomeUnknown):
            if self._routes.get(agent_id) is route:
                del self._routes[agent_id]
            self._directory.ref.tell("moved", agent_id, route.epoch)
            raise

    async def _ended(self, agent_id: str, run_id: str) -> Outcome | None:
        """How a run ended that its process still waits for, if the journal knows.

        Such a process holds an activation that was replaced; it writes nothing, so nobody has told it.
        """
        try:
            run = await self._store.ask("run", run_id=run_id)
        except RunNotFound:
            return None
        if run["status"] not in TERMINAL:
            return None
        self._routes.pop(agent_id, None)
        return await outcome_of(self._store, run_id, run)

    def _remember(self, route: Route) -> None:
        self._routes[route.agent_id] = route
        self._routes.move_to_end(route.agent_id)
        if len(self._routes) > ROUTES:
            self._routes.popitem(last=False)

    async def _rest(self, agent_id: str, run_id: str, end: float) -> None:
        """While the run rests, because its agent waits for others and was put away, do not call it back to life."""
        loop, pause = asyncio.get_running_loop(), FIRST_PAUSE_S
        while loop.time() + pause < end:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
            try:
                run = await self._store.ask("run", run_id=run_id)
            except RunNotFound:
                return
            if run["status"] in TERMINAL or await self._store.ask("has_work", agent_id=agent_id, now=self._now()):
                return
