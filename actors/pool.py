"""The warm pool: processes that wait for an agent, and the care for all of them.

A few are kept ready, since starting one takes far longer than giving it an identity. One is replaced after so many
identities, above a limit of memory, and after any error; one that dies is noticed at once, because somebody always
waits for its answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from repertory.actors.handles import Ref
from repertory.errors import RepertoryError

_log = logging.getLogger(__name__)

#: seconds that a process may take to answer the question who it is, on a machine under load
STATUS_S = 20.0
#: seconds of one wait for a process's end; then the next wait begins
LINGER_S = 30.0
#: returned processes kept beyond the spare ones: who leaves mostly makes room for somebody who is about to start
RETURNED = 2
#: seconds until a process that failed to start is tried again: the first pause, and the longest
RETRY_S, RETRY_LONGEST_S = 0.2, 10.0


class Spawner(Protocol):
    """Starts and ends processes that carry an `AgentProcess`."""

    async def spawn(self) -> Ref:
        """A new process that answers. Raises RepertoryError when it does not come up."""

    async def kill(self, ref: Ref) -> None:
        """End a process, whatever it does. One that is dead already is no error."""

    async def existing(self) -> list[Ref]:
        """Processes that an earlier directory started and that may still live."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolLimits:
    """How many processes, and how long each."""

    #: processes kept ready
    spare: int = 2
    #: processes that may be starting at the same time
    starting: int = 2
    #: agents that one process hosts before it is replaced
    identities: int = 200
    #: a process that holds more is replaced when its agent leaves (0: no limit)
    memory_bytes: int = 0


class Pool:
    """Hands out processes and takes them back."""

    def __init__(self, spawner: Spawner, limits: PoolLimits, *, on_death: Callable[[Ref], None]) -> None:
        """`on_death(ref)` is called for each process that is gone and was not given up by its holder."""
        self._spawner = spawner
        self._limits = limits
        self._on_death = on_death
        self._idle: dict[str, Ref] = {}
        self._takers: deque[asyncio.Future[Ref]] = deque()
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._spawning = 0
        self._closed = False
        self.started = 0
        self.ended = 0

    async def open(self) -> list[tuple[Ref, dict[str, Any]]]:
        """Look who is there already; the processes that hold an agent, with their status.

        Idle ones join the pool; one that does not answer, or must not take another agent, is ended.
        """
        found = await self._spawner.existing()
        answers = await asyncio.gather(*(self.status(ref) for ref in found))
        holding: list[tuple[Ref, dict[str, Any]]] = []
        for ref, status in zip(found, answers, strict=True):
            if status is None or status["spoiled"]:
                self.retire(ref)
                continue
            self._watch(ref)
            if status["agent_id"] is None:
                self._offer(ref)
            else:
                holding.append((ref, status))
        self._refill()
        return holding

    async def take(self) -> Ref:
        """A process for an agent; waits until one is there."""
        if self._idle:
            ref = self._idle.pop(next(reversed(self._idle)))
            self._refill()
            return ref
        future: asyncio.Future[Ref] = asyncio.get_running_loop().create_future()
        self._takers.append(future)
        self._refill()
        return await future

    async def give_back(self, ref: Ref) -> None:
        """Its agent has left: keep the process for the next one, or replace it."""
        status = await self.status(ref)
        if status is None or not self._fit(status):
            self.retire(ref)
        else:
            self._offer(ref)

    def retire(self, ref: Ref) -> None:
        """End a process and see to its successor."""
        self._idle.pop(ref.key, None)
        if (watch := self._watches.pop(ref.key, None)) is not None:
            watch.cancel()
            self.ended += 1
        self._run(self._spawner.kill(ref))
        self._refill()

    async def status(self, ref: Ref) -> dict[str, Any] | None:
        """What a process says of itself; None if it does not answer."""
        try:
            status: dict[str, Any] = await ref.call("status", timeout_s=STATUS_S)
        except RepertoryError:
            return None
        return status

    def counts(self) -> dict[str, int]:
        """How many processes there are: alive (of them idle), starting, ended."""
        return {"alive": len(self._watches), "idle": len(self._idle), "starting": self._spawning,
                "started": self.started, "ended": self.ended}

    async def close(self, *, end_processes: bool) -> None:
        """Stop caring for processes, and end the idle ones if asked."""
        self._closed = True
        tasks = [*self._watches.values(), *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if end_processes:
            await asyncio.gather(*(self._spawner.kill(ref) for ref in self._idle.values()))
        self._idle.clear()

    def _fit(self, status: dict[str, Any]) -> bool:
        limits = self._limits
        heavy = 0 < limits.memory_bytes < status["memory_bytes"]
        return status["agent_id"] is None and not status["spoiled"] and not heavy \
            and status["identities"] < limits.identities

    def _offer(self, ref: Ref) -> None:
        """Give a ready process to whoever waits for one, else keep it, unless there are enough."""
        while self._takers:
            future = self._takers.popleft()
            if not future.done():
                future.set_result(ref)
                return
        if len(self._idle) >= self._limits.spare + RETURNED:
            self.retire(ref)
        else:
            self._idle[ref.key] = ref

    def _refill(self) -> None:
        waiting = sum(not future.done() for future in self._takers)
        missing = waiting + self._limits.spare - len(self._idle) - self._spawning
        for _ in range(min(missing, self._limits.starting - self._spawning)):
            self._spawning += 1
            self._run(self._spawn())

    async def _spawn(self) -> None:
        pause = RETRY_S
        try:
            while True:
                try:
                    ref = await self._spawner.spawn()
                    break
                except RepertoryError as error:
                    _log.warning("a process did not come up, the next try is in %g s: %s", pause, error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, RETRY_LONGEST_S)
        finally:
            self._spawning -= 1
        self.started += 1
        self._watch(ref)
        self._offer(ref)
        self._refill()

    def _watch(self, ref: Ref) -> None:
        self._watches[ref.key] = asyncio.get_running_loop().create_task(self._until_dead(ref))

    async def _until_dead(self, ref: Ref) -> None:
        while True:
            try:
                await ref.call("linger", LINGER_S, timeout_s=LINGER_S + STATUS_S)
            except RepertoryError:
                if await self.status(ref) is None:
                    break
        self._idle.pop(ref.key, None)
        del self._watches[ref.key]
        self.ended += 1
        self._run(self._spawner.kill(ref))
        self._refill()
        self._on_death(ref)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
