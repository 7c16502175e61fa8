"""Who wants to be live: one place in the queue for each agent, however many wait for it, and who is held back."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from repertory.actors.handles import Route
from repertory.errors import RepertoryError

#: an agent whose process died rests before its next activation: 0, then this long, twice as long each time
DIED_PAUSE_S, DIED_LONGEST_S = 0.5, 60.0


@dataclass(slots=True)
class Deaths:
    """How often an agent's process has died of late."""

    count: int = 0
    #: its oldest run that was not over when it died last
    run_id: str = ""
    #: loop time before which it is not activated again
    until: float = 0.0


class Queue:
    """Agents in the order in which they were wanted. All times are the event loop's."""

    def __init__(self) -> None:
        self._routes: dict[str, asyncio.Future[Route]] = {}
        self._late: dict[str, None] = {}
        self._deaths: dict[str, Deaths] = {}

    def __contains__(self, agent_id: str) -> bool:
        return agent_id in self._routes

    def __len__(self) -> int:
        return len(self._routes)

    def join(self, agent_id: str) -> asyncio.Future[Route]:
        """Stand at its end, if the agent does not stand in it yet; what will be its route."""
        future = self._routes.get(agent_id)
        if future is None:
            future = self._routes[agent_id] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_heard)
        return future

    def answer(self, agent_id: str, route: Route) -> None:
        """It is live: tell those who wait for it."""
        if (future := self._routes.pop(agent_id, None)) is not None and not future.done():
            future.set_result(route)

    def refuse(self, agent_id: str, error: RepertoryError) -> None:
        """It will not be: tell those who wait for it."""
        if (future := self._routes.pop(agent_id, None)) is not None and not future.done():
            future.set_exception(error)

    def refuse_all(self, error: RepertoryError) -> None:
        """Nobody in it will be live."""
        for agent_id in list(self._routes):
            self.refuse(agent_id, error)

    def able(self, live: Container[str]) -> Iterator[str]:
        """Those that need only a place, in order; `live` have one."""
        now = asyncio.get_running_loop().time()
        return (agent_id for agent_id in self._routes if agent_id not in live
                and (agent_id not in self._deaths or self._deaths[agent_id].until <= now))

    def missing(self, live: Container[str]) -> int:
        """How many places are wanted beside those of the `live`."""
        return sum(agent_id not in live for agent_id in self._routes)

    # --- whose runs are late ------------------------------------------------------------------------------------------

    def hurry(self, late: Iterable[str]) -> None:
        """These are all who have runs whose deadlines have passed."""
        self._late = dict.fromkeys(late)

    def take_late(self, live: Container[str]) -> str | None:
        """The first that needs only a place and has a late run; it counts as late no more."""
        agent_id = next((one for one in self.able(live) if one in self._late), None)
        if agent_id is not None:
            del self._late[agent_id]
        return agent_id

    # --- who is held back ---------------------------------------------------------------------------------------------

    def died(self, agent_id: str) -> float:
        """Its process has died once more; the seconds until it may be activated again."""
        deaths = self._deaths.setdefault(agent_id, Deaths())
        pause = 0.0 if deaths.count == 0 else min(DIED_PAUSE_S * 2 ** (deaths.count - 1), DIED_LONGEST_S)
        deaths.count += 1
        deaths.until = asyncio.get_running_loop().time() + pause
        return pause

    def lived_well(self, agent_id: str) -> None:
        """Its deaths are forgotten."""
        self._deaths.pop(agent_id, None)

    def forgive(self, agent_id: str, run_id: str) -> bool:
        """Whether it got somewhere since it died before: another run is its oldest now, and it need not rest."""
        deaths = self._deaths.get(agent_id)
        if deaths is None or deaths.run_id == run_id:
            return False
        deaths.run_id, deaths.count, deaths.until = run_id, 1, asyncio.get_running_loop().time()
        return True

    def held_back(self) -> dict[str, float]:
        """Who rests after deaths, and for how many seconds yet."""
        now = asyncio.get_running_loop().time()
        return {agent_id: round(deaths.until - now, 3) for agent_id, deaths in self._deaths.items()
                if deaths.until > now}


def _heard(future: asyncio.Future[Route]) -> None:
    """Nobody may be waiting for it, and that is no error."""
    if not future.cancelled():
        future.exception()
