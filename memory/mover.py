"""The background task that carries rows from the tail to the tables, and keeps the tables and the tail small.

It is the only writer of the tables: it appends, compacts and cleans, one after the other. Commits never wait for it;
they are durable in the tail. When a table cannot be written it tries again; when one reads back wrong it says so to
the store, which opens the database anew.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable

from repertory.memory.chain import Chain, TableSyncFailed
from repertory.memory.recent import RecentRows
from repertory.memory.tail import SyncFailed, Tail, WriteInterrupted
from repertory.memory.tuning import Tuning

_log = logging.getLogger("repertory.store")

#: bytes of one Lance append, so that a flood of large rows is moved in steps
_MOVE_BYTES = 4 << 20
#: failures in a row after which the tables are looked at from the ground up: one of their files may be damaged
_FAILURES = 5


class Mover:
    """Moves, settles, compacts, cleans, trims the tail. Runs from `start` to `stop`."""

    def __init__(self, *, chain: Chain, recent: RecentRows, tail: Tail, tuning: Tuning,
                 save: Callable[[bool], Awaitable[None]], on_failure: Callable[[BaseException], None]) -> None:
        """`save(idle)` writes a checkpoint if one is due; `on_failure` is told when a table reads back wrong,
        or anything else ends the task.
        """
        self._chain = chain
        self._recent = recent
        self._tail = tail
        self._tuning = tuning
        self._save = save
        self._on_failure = on_failure
        self._wake = asyncio.Event()
        self._resting = False
        self._closing = False
        self._failures = 0
        #: idle work to come: 2 compact, then 1 clean what was kept for readers, then 0 nothing
        self._chores = 2
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="mover")
        self._task.add_done_callback(self._ended)

    def end(self) -> None:
        """Stop behind the step that runs: no write to a table is left half way."""
        self._closing = True
        self._wake.set()

    async def stop(self) -> None:
        """`end`, and wait for it."""
        self.end()
        if self._task is not None:
            await asyncio.wait([self._task])

    def poke(self) -> None:
        """Rows were synced."""
        if self._resting or self._waiting >= self._tuning.move_rows:
            self._wake.set()

    @property
    def _waiting(self) -> int:
        """How many rows could be moved."""
        return min(self._recent.unmoved_count, max(0, self._tail.synced - self._chain.moved))

    async def _run(self) -> None:
        while not self._closing:
            woken = await self._rest()
            try:
                if not self._closing:
                    await self._step(idle=not woken and not self._waiting)
                self._failures = 0
            except (SyncFailed, WriteInterrupted):
                return  # the tail has told the store
            except TableSyncFailed:
                await asyncio.sleep(self._tuning.retry_s)
                raise
            except OSError as error:
                _log.warning("rows could not be moved to LanceDB, they stay in the tail: %s", error)
                self._failures += 1
                if self._failures >= _FAILURES and error.errno != errno.ENOSPC:
                    raise
                await self._recovered()

    async def _rest(self) -> bool:
        """Wait until there is something to do; False if that is because nothing happened for long."""
        waiting = self._waiting
        if waiting >= self._tuning.move_rows:
            return True
        self._resting = not waiting
        self._wake.clear()
        try:
            async with asyncio.timeout(self._patience(waiting)):
                await self._wake.wait()
        except TimeoutError:
            return False
        finally:
            self._resting = False
        return True

    def _patience(self, waiting: int) -> float | None:
        if waiting:
            return self._tuning.move_after_s
        return {2: self._tuning.idle_s, 1: self._tuning.keep_s}.get(self._chores)

    async def _step(self, *, idle: bool) -> None:
        if idle:
            await self._tidy()
            return
        if await self._move():
            self._chores = 2
        if self._chain.full:
            await self._chain.close()
        elif self._chain.wants_compaction:
            await self._chain.compact()
        await self._chain.finish()
        await self._trim()
        await self._save(False)

    async def _move(self) -> bool:
        batch = self._recent.unmoved(upto=self._tail.synced, limit=4 * self._tuning.move_rows, limit_bytes=_MOVE_BYTES)
        if batch:
            await self._chain.append(batch)
            self._recent.moved(self._chain.moved)
        return bool(batch)

    async def _tidy(self) -> None:
        if self._chores == 2 and self._chain.untidy:
            await self._chain.compact()
        elif self._chores:
            await self._chain.clean()
        await self._chain.finish()
        await self._trim()
        await self._save(True)
        self._chores = max(0, self._chores - 1)

    async def _trim(self) -> None:
        """Delete the tail's files whose rows are safe, but not the newest full one.

        So a table whose newest version is lost can be made good from the tail, which also shows where the journal ends.
        """
        newest = max(self._tail.full.values(), default=0)
        old = [number for number, last in self._tail.full.items() if last <= self._chain.moved and last < newest]
        if old and max(self._tail.full[number] for number in old) > self._chain.safe:
            await self._chain.settle()
        for number in old:
            if self._tail.full[number] <= self._chain.safe:
                await self._tail.drop(number)

    async def _recovered(self) -> None:
        """After a failed write: wait, then look what the table holds."""
        await asyncio.sleep(self._tuning.retry_s)
        try:
            await self._chain.refresh()
            self._recent.moved(self._chain.moved)
        except OSError as error:
            _log.warning("the journal's table cannot be looked at: %s", error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)
