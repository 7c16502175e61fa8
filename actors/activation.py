"""Who is live: giving agents a process, and taking it away from those that do not need theirs.

All who want to be live stand in one queue, in the order in which they were wanted; an agent that several callers
want stands there once. Below the cap nobody is put away. At the cap the one that has been idle longest makes room (a
turn that waits for others is idle: waiting holds no slot); when all are busy, those that have been live longest are
asked to leave after their turn, so that nobody waits for ever. Whoever waits so long that the deadline of one of its
runs passes gets a place beyond the cap, one at a time, for as long as it takes to end that run (P5). What bounds how
many may *start* at once is the pool, and never a reason to put anybody away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from repertory.actors.handles import Ref, Route
from repertory.actors.pool import Pool
from repertory.actors.queue import Queue
from repertory.actors.slots import Slot, evictable
from repertory.errors import AgentNotFound, CommitRefused, OutcomeUnknown, RepertoryError, RouteError, StorageError

#: seconds until another look for an agent that has become idle (a parked turn does not tell): at first, at most
LOOK_AGAIN_S, LOOK_AGAIN_LONGEST_S = 0.02, 0.5
#: errors of an activation that the next one may not meet; any other is told to whoever waits for the agent
PASSING = (RouteError, StorageError, CommitRefused)
#: seconds a busy agent that is being deleted gets to end its turn
DELETE_S = 2.0
#: seconds a busy agent gets to end its turn when others wait
TURN_S = 30.0
#: seconds that one activation may take (a long history, a machine under load)
ADOPT_S = 60.0
#: seconds after which an answer that did not come is asked for again
ANSWER_S = 10.0
#: seconds within which a live agent must have looked into its inbox; else its process is looked at
NUDGE_S = 30.0


class Activations:
    """Gives each agent that is wanted a process, within the cap."""

    def __init__(self, cap: int, *, resident: Callable[[str], bool],
                 has_work: Callable[[str], Awaitable[bool]], oldest_run: Callable[[str], Awaitable[str]]) -> None:
        """`cap` agents may be live; `resident(agent_id)` are not put away.

        `has_work` and `oldest_run` (the oldest one of an agent that is not over; empty: none) ask the store.
        """
        self.pool: Pool
        self._cap = cap
        self._resident = resident
        self._has_work = has_work
        self._oldest_run = oldest_run
        self._slots: dict[str, Slot] = {}
        self._queue = Queue()
        self._barred: dict[str, None] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._room_maker: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self.most_live = 0

    # --- what the directory asks for ----------------------------------------------------------------------------------

    def settle(self, ref: Ref, status: dict[str, Any]) -> None:
        """A process from before holds this agent: it is live there."""
        now = asyncio.get_running_loop().time()
        self._slots[status["agent_id"]] = Slot(status["agent_id"], "live", ref, status["epoch"], now)

    async def resolve(self, agent_id: str) -> Route:
        """Where the agent is live, activating it if need be."""
        route = self.route(agent_id)
        if route is None:
            route = await asyncio.shield(self._want(agent_id))
        if (slot := self._slots.get(agent_id)) is not None:
            slot.handed_out = asyncio.get_running_loop().time()
        return route

    def route(self, agent_id: str) -> Route | None:
        """Where the agent is live, if it is."""
        slot = self._slots.get(agent_id)
        return slot.route if slot is not None and slot.state == "live" and not slot.briefly else None

    def hurry(self, late: list[str]) -> None:
        """These are all who have runs whose deadlines have passed: whoever of them waits need not wait for a place."""
        self._queue.hurry(late)
        self._pump()

    def wake(self, agent_id: str, *, checked: bool = False) -> None:
        """Something waits for the agent: nudge it if it is live, activate it if it has work.

        `checked`: it should have been done by now, so see to it that whoever is taken for live really is.
        """
        slot = self._slots.get(agent_id)
        if slot is None:
            if agent_id not in self._queue:
                self._run(self._want_if_work(agent_id))
        elif checked and slot.state == "live":
            self._run(self._nudge(slot))
        elif slot.state == "live" and slot.process is not None:
            slot.process.tell("call", agent_id, slot.epoch, "nudge", (), {})
        else:
            slot.nudged = True

    async def _nudge(self, slot: Slot) -> None:
        assert slot.process is not None
        try:
            await slot.process.call("call", slot.agent_id, slot.epoch, "nudge", (), {}, timeout_s=NUDGE_S)
        except RouteError:
            await self.moved(slot.agent_id, slot.epoch)
        except RepertoryError:
            return  # it is there, and has met something else; the next look comes soon

    async def moved(self, agent_id: str, epoch: int) -> None:
        """A route led nowhere: look whether the process still holds the agent, else give it another."""
        slot = self._slots.get(agent_id)
        if slot is None or slot.state != "live" or slot.epoch != epoch or slot.process is None:
            return
        status = await self.pool.status(slot.process)
        if self._slots.get(agent_id) is not slot or slot.state != "live":
            return
        held = status is not None and not status["spoiled"] \
            and (status["agent_id"], status["epoch"]) == (agent_id, epoch)
        if not held:
            self.pool.retire(slot.process)
            self.lost(slot.process)

    def lost(self, process: Ref) -> None:
        """This process is dead: whom it held is activated elsewhere if it has work."""
        for slot in self._slots.values():
            if slot.process is not None and slot.process.key == process.key and slot.state != "starting":
                self._died(slot)
                return

    async def bar(self, agent_id: str) -> None:
        """Put an agent away and keep it from coming back (it is being deleted)."""
        self._barred[agent_id] = None
        self._queue.refuse(agent_id, AgentNotFound(f"{agent_id} is being deleted", agent_id=agent_id))
        while (slot := self._slots.get(agent_id)) is not None:
            if slot.state == "live":
                if not await self._put_away(slot, DELETE_S) and slot.process is not None:
                    self.pool.retire(slot.process)
                    self._free(slot)
            else:
                await self._change()

    def unbar(self, agent_id: str) -> None:
        """The deletion came to nothing."""
        self._barred.pop(agent_id, None)

    async def put_away_unused(self, since: float) -> None:
        """Put away those that have done nothing since `since` (seconds since 1970)."""
        known = await self._statuses()
        by_id = {slot.agent_id: status for slot, status in known}
        unused = [s for s in self._evictable(known) if by_id[s.agent_id]["last_used"] < since]
        await asyncio.gather(*(self._put_away(slot, 0.0) for slot in unused))

    def counts(self) -> dict[str, Any]:
        """Who is live, how many wait for a place, who is held back after deaths."""
        return {
            "cap": self._cap, "most_live": self.most_live, "wanted": len(self._queue),
            "live": {s.agent_id: s.process.key for s in self._slots.values() if s.process and s.state == "live"},
            "held_back": self._queue.held_back(),
        }

    async def close(self) -> None:
        """Stop; whoever waits for an agent gets an error."""
        tasks = [*self._tasks, *([self._room_maker] if self._room_maker else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._queue.refuse_all(OutcomeUnknown("the directory has stopped"))

    # --- coming -------------------------------------------------------------------------------------------------------

    def _want(self, agent_id: str) -> asyncio.Future[Route]:
        if agent_id in self._barred:
            raise AgentNotFound(f"{agent_id} is being deleted", agent_id=agent_id)
        future = self._queue.join(agent_id)
        self._pump()
        return future

    async def _want_if_work(self, agent_id: str) -> None:
        if await self._has_work(agent_id) and agent_id not in self._slots and agent_id not in self._barred:
            self._want(agent_id)

    @property
    def _room(self) -> bool:
        """Whether another agent may go live. Pinned ones may fill the cap, but never shut everybody else out."""
        if len(self._slots) < self._cap:
            return True
        return sum(self._resident(agent_id) for agent_id in self._slots) == len(self._slots)

    @property
    def _crowded(self) -> bool:
        """Whether somebody waits for a place."""
        return not self._room and next(self._queue.able(self._slots), None) is not None

    def _pump(self) -> None:
        """Start whom there is room for; else see that room is made."""
        while self._room and (agent_id := next(self._queue.able(self._slots), None)) is not None:
            self._occupy(Slot(agent_id))
        if not self._crowded:
            return
        if len(self._slots) == self._cap and (agent_id := self._queue.take_late(self._slots)) is not None:
            self._occupy(Slot(agent_id, briefly=True))
        if self._room_maker is None or self._room_maker.done():
            self._room_maker = asyncio.get_running_loop().create_task(self._make_room())

    def _occupy(self, slot: Slot) -> None:
        self._slots[slot.agent_id] = slot
        self.most_live = max(self.most_live, len(self._slots))
        self._run(self._start(slot))

    async def _start(self, slot: Slot) -> None:
        process = await self.pool.take()
        slot.process = process
        try:
            epoch = await self._insist(process, "adopt", slot.agent_id, slot.briefly, within_s=ADOPT_S, try_s=ANSWER_S)
        except RepertoryError as error:
            self.pool.retire(process)
            if not isinstance(error, PASSING):
                self._queue.refuse(slot.agent_id, error)
            self._died(slot)
            return
        slot.epoch, slot.since = epoch, asyncio.get_running_loop().time()
        self._is_live(slot)

    def _is_live(self, slot: Slot) -> None:
        """Tell those who wait for it, and tell it what came for it meanwhile."""
        slot.state, slot.asked = "live", slot.briefly
        if slot.briefly:
            self._run(self._put_away(slot, TURN_S))  # whoever wants it goes on waiting for a place of its own
        else:
            self._queue.answer(slot.agent_id, slot.route)
        self._changed.set()
        if slot.nudged:
            slot.nudged = False
            self.wake(slot.agent_id)

    # --- going --------------------------------------------------------------------------------------------------------

    async def _make_room(self) -> None:
        pause = LOOK_AGAIN_S
        while self._crowded:
            missing = self._queue.missing(self._slots)
            known = await self._statuses()
            idle = self._evictable(known)[:missing]
            if idle:
                await asyncio.gather(*(self._put_away(slot, 0.0) for slot in idle))
                pause = LOOK_AGAIN_S
                continue
            busy = sorted((slot for slot, status in known if not status["idle"] and not self._resident(slot.agent_id)),
                          key=lambda slot: slot.since)
            for slot in busy[:missing]:
                if not slot.asked:
                    slot.asked = True
                    self._run(self._put_away(slot, TURN_S))
            await self._change(pause)
            pause = min(2 * pause, LOOK_AGAIN_LONGEST_S)

    def _evictable(self, known: list[tuple[Slot, dict[str, Any]]]) -> list[Slot]:
        free = [(slot, status) for slot, status in known if not self._resident(slot.agent_id)]
        return evictable(free, asyncio.get_running_loop().time())

    async def _statuses(self) -> list[tuple[Slot, dict[str, Any]]]:
        """What the processes of the live ones say, asked all at once; those that do not answer are lost."""
        live = [slot for slot in self._slots.values() if slot.state == "live" and slot.process is not None]
        answers = await asyncio.gather(*(self.pool.status(slot.process) for slot in live if slot.process))
        known: list[tuple[Slot, dict[str, Any]]] = []
        for slot, status in zip(live, answers, strict=True):
            if self._slots.get(slot.agent_id) is not slot or slot.state != "live" or slot.process is None:
                continue
            if status is None:
                self.pool.retire(slot.process)
                self._died(slot)
            else:
                known.append((slot, status))
        return known

    async def _put_away(self, slot: Slot, wait_s: float) -> bool:
        """Ask its process to let the agent go; whether it did."""
        process = slot.process
        if process is None or slot.state != "live":
            return False
        slot.state = "leaving" if wait_s == 0 else slot.state
        try:
            gone = await self._insist(process, "release", slot.agent_id, slot.epoch, wait_s,
                                      within_s=wait_s + ADOPT_S, try_s=wait_s + ANSWER_S)
        except RepertoryError:
            if self._slots.get(slot.agent_id) is slot:
                self.pool.retire(process)
                self._died(slot)
            return True
        if self._slots.get(slot.agent_id) is not slot:
            return True
        if not gone:
            self._is_live(slot)
            return False
        await self._left(slot, process)
        return True

    async def _insist(self, process: Ref, method: str, *args: Any, within_s: float, try_s: float) -> Any:
        """Call what may be called twice; again when the answer does not come, unless the process is dead."""
        loop = asyncio.get_running_loop()
        end = loop.time() + within_s
        while True:
            try:
                return await process.call(method, *args, timeout_s=min(try_s, max(end - loop.time(), 1.0)))
            except OutcomeUnknown:
                if loop.time() >= end or await self.pool.status(process) is None:
                    raise

    async def _left(self, slot: Slot, process: Ref) -> None:
        """The agent is out of the process; both are free."""
        slot.state = "leaving"
        if slot.has_lived_well(asyncio.get_running_loop().time()):
            self._queue.lived_well(slot.agent_id)
        await self.pool.give_back(process)
        self._free(slot)
        if slot.agent_id not in self._barred:
            self._run(self._want_if_work(slot.agent_id))

    def _died(self, slot: Slot) -> None:
        """Its process is gone. It is activated again at once; if the same work kills it again, after growing pauses."""
        loop = asyncio.get_running_loop()
        if slot.has_lived_well(loop.time()):
            self._queue.lived_well(slot.agent_id)
        pause = self._queue.died(slot.agent_id)
        self._free(slot)
        self._run(self._forgive(slot.agent_id))
        if pause:
            loop.call_later(pause, self._pump)
        if slot.agent_id not in self._barred:
            self._run(self._want_if_work(slot.agent_id))

    async def _forgive(self, agent_id: str) -> None:
        if self._queue.forgive(agent_id, await self._oldest_run(agent_id)):
            self._pump()

    def _free(self, slot: Slot) -> None:
        if self._slots.get(slot.agent_id) is slot:
            del self._slots[slot.agent_id]
        self._changed.set()
        self._pump()

    async def _change(self, within_s: float | None = None) -> None:
        """Wait until a slot changed, or `within_s` seconds are over."""
        self._changed.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()
