"""The tail of the journal: what makes a commit durable in 0.2 ms.

A commit is one frame, appended to a file and synced; commits that arrive during a sync share the next one. The rows
move on to LanceDB later, in batches. (Group commit: Gray and Reuter, *Transaction Processing*, section 9.4.)

The tail is a row of files ``journal.tail.000001`` …; a file is never cut nor written again by another process. A frame:

    magic 2 | version 1 | first seq 8 | rows 4 | known 8 | length 4 | crc32 4 | payload

`known` is how many bytes of this file were synced when the frame was written. It tells a torn end (never
acknowledged, cut off in silence) from a damaged middle (acknowledged, and reported).
"""

from __future__ import annotations

import asyncio
import re
import struct
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgpack

from repertory.memory.disk import Disk
from repertory.memory.records import Record

MAGIC = b"\xf1J"
VERSION = 1
_HEAD = struct.Struct(">2sBQIQI")
_CRC = struct.Struct(">I")
_OVERHEAD = _HEAD.size + _CRC.size
#: bytes of frames that one sync may carry; more wait for the next, so that a flood does not delay the first
BATCH_BYTES = 4 << 20
_NAME = re.compile(r"journal\.tail\.(\d{6,})")


def tail_name(number: int) -> str:
    """The name of the tail's file `number`."""
    return f"journal.tail.{number:06d}"


def tail_number(name: str) -> int | None:
    """The inverse of `tail_name`; None for another file."""
    match = _NAME.fullmatch(name)
    return int(match.group(1)) if match else None


def framed(records: Sequence[Record], known: int) -> bytes:
    """One commit as a frame; `known` counts the synced bytes before it in its file."""
    first = records[0]
    payload: bytes = msgpack.packb([
        first.author, first.epoch, first.op_id, first.at,
        [[record.stream, record.kind, record.crc32, record.data] for record in records],
    ])
    head = _HEAD.pack(MAGIC, VERSION, first.seq, len(records), known, len(payload))
    return head + _CRC.pack(zlib.crc32(payload, zlib.crc32(head))) + payload


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """A whole frame that was found in a file."""

    start: int
    end: int
    known: int
    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TailFile:
    """What a file of the tail holds."""

    frames: tuple[Frame, ...]
    #: bytes behind the last frame that was taken
    cut_bytes: int = 0
    #: what the first frame that was cut off says of itself: (first seq, last seq); None when it says nothing
    cut_rows: tuple[int, int] | None = None


def parsed(raw: bytes) -> TailFile:
    """The frames of a file, in order, without a torn end.

    A damaged frame that had been synced is left out, and those behind it are kept: the gap in their seqs shows it.
    """
    frames: list[Frame] = []
    at = 0
    while (found := _next_frame(raw, at)) is not None:
        frames.append(found)
        at = found.end
    synced = max((frame.known for frame in frames), default=0)
    taken: list[Frame] = []
    at = 0
    for frame in frames:
        if frame.start != at and at >= synced:
            break
        taken.append(frame)
        at = frame.end
    return TailFile(frames=tuple(taken), cut_bytes=len(raw) - at, cut_rows=_claimed(raw, at))


def _next_frame(raw: bytes, at: int) -> Frame | None:
    while at >= 0:
        frame = _frame_at(raw, at)
        if frame is not None:
            return frame
        at = raw.find(MAGIC, at + 1)
    return None


def _frame_at(raw: bytes, at: int) -> Frame | None:
    if len(raw) - at < _OVERHEAD:
        return None
    magic, version, first, count, known, length = _HEAD.unpack_from(raw, at)
    end = at + _OVERHEAD + length
    if magic != MAGIC or version != VERSION or end > len(raw):
        return None
    payload = memoryview(raw)[at + _OVERHEAD:end]
    (crc,) = _CRC.unpack_from(raw, at + _HEAD.size)
    if crc != zlib.crc32(payload, zlib.crc32(raw[at:at + _HEAD.size])):
        return None
    author, epoch, op_id, stamp, rows = msgpack.unpackb(payload)
    if len(rows) != count:
        return None
    return Frame(start=at, end=end, known=known, records=tuple(
        Record(seq=first + offset, stream=stream, kind=kind, author=author, epoch=epoch, op_id=op_id, at=stamp,
               crc32=row_crc, data=data)
        for offset, (stream, kind, row_crc, data) in enumerate(rows)))


def _claimed(raw: bytes, at: int) -> tuple[int, int] | None:
    if len(raw) - at < _HEAD.size:
        return None
    magic, _, first, count, _, _ = _HEAD.unpack_from(raw, at)
    return (first, first + count - 1) if magic == MAGIC and 0 < count < 1 << 20 else None


class SyncFailed(Exception):
    """A sync of the tail failed: nobody knows what is on the disk, and asking again does not help.

    (After a failed fsync the kernel may drop the dirty pages and report success the next time: Rebello et al.,
    *Can Applications Recover from fsync Failures?*, USENIX ATC 2020.)
    """


class WriteInterrupted(Exception):
    """A write of the tail failed before its sync: what it held may be there or not; read the disk again."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class Tail:
    """The end of the tail, where commits are written. Its writer runs from `start` to `stop`."""

    def __init__(self, disk: Disk, *, number: int, full: dict[int, int], synced: int, rotate_bytes: int,
                 on_failure: Callable[[SyncFailed | WriteInterrupted], None],
                 on_synced: Callable[[int], None] = lambda seq: None) -> None:
        """`number`: of the next file; `full`: older files, number -> last seq; `synced`: the last durable seq.

        `on_failure` is told once, and `on_synced` of each new last durable seq, before those who wait are.
        """
        self._disk = disk
        self._number = number
        self._rotate_bytes = rotate_bytes
        self._on_failure = on_failure
        self._on_synced = on_synced
        self._size = 0
        self._queue: deque[Sequence[Record]] = deque()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._work = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._failure: SyncFailed | WriteInterrupted | None = None
        self.synced = synced
        #: the files that are full, oldest first: number -> seq of the last row in it
        self.full = dict(full)

    def start(self) -> None:
        """Begin to write what is put."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="tail")
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Write what was put, then stop."""
        if self._task is not None:
            self._closing = True
            self._work.set()
            await asyncio.wait([self._task])

    def put(self, records: Sequence[Record]) -> None:
        """Queue one commit. It is durable when `durable` of its last seq returns."""
        self._queue.append(records)
        self._work.set()

    async def durable(self, seq: int) -> None:
        """Return when all rows up to `seq` are durable. Raises SyncFailed or WriteInterrupted.

        A caller that is cancelled takes only its own waiting with it: what was put is written.
        """
        if seq <= self.synced:
            return
        if self._failure is not None:
            raise self._failure
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((seq, waiter))
        await waiter

    async def drop(self, number: int) -> None:
        """Delete a full file, whose rows are safe elsewhere."""
        await self._disk.delete(tail_name(number))
        del self.full[number]

    async def _run(self) -> None:
        try:
            while True:
                while not self._queue:
                    if self._closing:
                        return
                    self._work.clear()
                    await self._work.wait()
                await self._write()
        except (SyncFailed, WriteInterrupted) as error:
            self._fail(error)

    async def _write(self) -> None:
        """Append and sync all that waits, as one."""
        batch: list[Sequence[Record]] = []
        data = bytearray()
        while self._queue and len(data) < BATCH_BYTES:
            batch.append(self._queue.popleft())
            data += framed(batch[-1], self._size)
        name, last = tail_name(self._number), batch[-1][-1].seq
        try:
            await self._disk.append(name, bytes(data))
        except OSError as error:
            raise WriteInterrupted(str(error), error.errno) from error
        try:
            await self._disk.sync(name)
        except OSError as error:
            raise SyncFailed(str(error)) from error
        self._size += len(data)
        self.synced = last
        if self._size >= self._rotate_bytes:
            self.full[self._number] = last
            self._number += 1
            self._size = 0
        self._on_synced(last)
        self._tell()

    def _tell(self) -> None:
        still: list[tuple[int, asyncio.Future[None]]] = []
        for seq, waiter in self._waiting:
            if seq > self.synced:
                still.append((seq, waiter))
            elif not waiter.done():
                waiter.set_result(None)
        self._waiting = still

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:  # nobody may wait for ever
            self._fail(WriteInterrupted(f"the tail's writer broke: {error!r}"))

    def _fail(self, error: SyncFailed | WriteInterrupted) -> None:
        self._failure = error
        self._on_failure(error)
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting = []
