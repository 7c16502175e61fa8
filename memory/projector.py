"""The background task that carries the journal into the projections, off every path that somebody waits on.

It looks at the journal's end from time to time instead of being told: a commit must cost nothing for its sake. Words
come first; vectors follow behind them by a mark of their own, so that search by words never waits for an embedder.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from repertory.errors import ModelError, StorageError
from repertory.memory.documents import Batch, Document, gather
from repertory.memory.embeddings import Embedder
from repertory.memory.journal import Row

_T = TypeVar("_T")
_log = logging.getLogger("repertory.projector")

#: rows that are carried at once; fewer wait until the oldest of them has waited so long
ENOUGH_ROWS, WAIT_S = 256, 2.0
#: seconds between two looks at the journal, and between two batches: each batch is a file and a version more
LOOK_S = 0.5
#: rows of one batch at most: a batch is made ready in Python, beside which the commits of the same process run
BATCH_ROWS = 1_024
#: texts that an embedder is given at once
EMBED_TEXTS = 64
#: pause after a failure, doubled each time up to the second; so many in a row call for a rebuild
RETRY_S, LONGEST_RETRY_S, REBUILD_AFTER = 1.0, 60.0, 3
#: pause between steps of a long catch-up, so that the process has time for others
BREATH_S = 0.01


class RowSource(Protocol):
    """The journal, as the projector reads it."""

    @property
    def last_seq(self) -> int:
        """The newest row that is durable."""

    async def since(self, after: int, *, limit: int = 256) -> tuple[Row, ...]:
        """The oldest rows of all streams with seq > `after`."""


class ProjectionState(Protocol):
    """How far projections have come."""

    @property
    def watermark(self) -> int:
        """All rows up to this seq are in the tables."""

    @property
    def vectors_watermark(self) -> int:
        """And up to this one in the vectors."""


class ProjectionTables(Protocol):
    """What `projections.Projections` is to the projector; each method blocks, and runs in a thread."""

    @property
    def state(self) -> ProjectionState:
        """How far they have come."""

    def open(self, last_seq: int) -> bool:
        """Take what is there, or begin anew."""

    def rebuild(self) -> None:
        """Begin anew."""

    def apply(self, batch: Batch) -> None:
        """Take what rows come to."""

    def apply_vectors(self, batch: Batch, documents: Sequence[Document], vectors: Sequence[Sequence[float]]) -> None:
        """Take the vectors of a batch."""

    def optimise(self) -> bool:
        """Rewrite one table, if one has grown."""

    def close(self) -> None:
        """Sync everything."""


class Projector:
    """Keeps one database's projections up with its journal. Runs from `start` to `stop`."""

    def __init__(self, tables: ProjectionTables, rows: RowSource, *, embedder: Embedder | None = None) -> None:
        """`embedder` makes the vectors; None: there are none."""
        self._tables = tables
        self._rows = rows
        self._embedder = embedder
        self._threads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="projector")
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = asyncio.Event()
        self._opened = asyncio.Event()
        #: set, and replaced, at each batch of words
        self._carried = asyncio.Event()

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run_words(), name="projector")]
        if self._embedder is not None:
            self._tasks.append(loop.create_task(self._run_vectors(self._embedder), name="projector of vectors"))

    async def stop(self) -> None:
        """Finish the batch that runs, then stop; what was not taken is taken the next time."""
        self._ending.set()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._in_thread(self._tables.close)
        self._threads.shutdown(wait=True)

    async def reached(self, seq: int) -> None:
        """Return when search by words finds all rows up to `seq` in the tables, without the journal's help."""
        await self._opened.wait()
        while self._tables.state.watermark < seq:
            await self._carried.wait()

    async def catch_up(self, on_rows: Callable[[int], None] = lambda seq: None) -> None:
        """Take all that the journal has now, words and vectors, at once: for maintenance, instead of `start`.

        `on_rows` is told of the seq that words have reached. Raises OSError or RuntimeError when the disk refuses,
        and ModelError when the embedder does.
        """
        await self._open()
        while self._tables.state.watermark < self._rows.last_seq:
            await self._carry_words()
            on_rows(self._tables.state.watermark)
        while self._embedder is not None and self._tables.state.vectors_watermark < self._rows.last_seq:
            await self._carry_vectors(self._embedder)
        while await self._in_thread(self._tables.optimise):
            pass

    async def _run_words(self) -> None:
        await self._persistently(self._open)
        while await self._due(lambda: self._tables.state.watermark):
            await self._persistently(self._carry_words)
            await self._persistently(self._optimise)

    async def _run_vectors(self, embedder: Embedder) -> None:
        while not self._opened.is_set() and not self._ending.is_set():
            await self._either(self._opened, LOOK_S)
        while await self._due(lambda: self._tables.state.vectors_watermark):
            await self._persistently(lambda: self._carry_vectors(embedder))

    async def _open(self) -> None:
        if not await self._in_thread(lambda: self._tables.open(self._rows.last_seq)):
            _log.info("the projections are made anew from the journal")
        self._opened.set()

    async def _carry_words(self) -> None:
        batch = await self._batch(self._tables.state.watermark)
        await self._in_thread(lambda: self._tables.apply(batch))
        self._carried.set()
        self._carried = asyncio.Event()

    async def _carry_vectors(self, embedder: Embedder) -> None:
        batch = await self._batch(self._tables.state.vectors_watermark)
        documents = [d for d in batch.documents.values() if d.text and d.role != "tool"]
        vectors: list[list[float]] = []
        for start in range(0, len(documents), EMBED_TEXTS):
            vectors += await embedder([d.text for d in documents[start:start + EMBED_TEXTS]])
            await asyncio.sleep(BREATH_S)
        await self._in_thread(lambda: self._tables.apply_vectors(batch, documents, vectors))

    async def _optimise(self) -> None:
        await self._in_thread(self._tables.optimise)

    async def _batch(self, after: int) -> Batch:
        """What the next rows come to. Where the journal ends in rows that were lost, they are passed over."""
        end = self._rows.last_seq
        rows = await self._rows.since(after, limit=BATCH_ROWS)
        batch = await self._in_thread(lambda: gather(rows))
        batch.last = batch.last or end
        return batch

    async def _due(self, mark: Callable[[], int]) -> bool:
        """Wait until there are enough rows behind the mark, or old ones; False when it is time to stop."""
        loop = asyncio.get_running_loop()
        behind_since: float | None = None
        while not self._ending.is_set():
            far_behind = self._rows.last_seq - mark() > BATCH_ROWS
            await self._either(self._ending, BREATH_S if far_behind else LOOK_S)
            behind = self._rows.last_seq - mark()
            if behind <= 0:
                behind_since = None
                continue
            behind_since = behind_since or loop.time()
            if behind >= ENOUGH_ROWS or loop.time() - behind_since >= WAIT_S:
                return not self._ending.is_set()
        return False

    async def _persistently(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it again until it is done, or it is time to stop; make the tables anew when nothing else helps."""
        tries = failures = 0
        while not self._ending.is_set():
            try:
                if failures >= REBUILD_AFTER and self._opened.is_set():
                    await self._in_thread(self._tables.rebuild)
                await work()
                return
            except (RuntimeError, ValueError, OSError, StorageError) as error:
                failures += not _is_full(error)  # making them anew would need even more room
                _log.warning("the projections could not be written (%d in a row): %s", tries + 1, error)
            except ModelError as error:
                _log.warning("the embedder refused, it is asked again: %s", error)
            tries += 1
            await self._either(self._ending, min(RETRY_S * 2 ** (tries - 1), LONGEST_RETRY_S))

    async def _either(self, event: asyncio.Event, timeout_s: float) -> None:
        """Wait for `event`, at most so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await event.wait()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _is_full(error: Exception) -> bool:
    """Whether the disk has no room; LanceDB says it in words."""
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    return full or "os error 28" in str(error) or "No space left" in str(error)
