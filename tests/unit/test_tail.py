"""The tail's frames, and the group commit that writes them."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repertory.memory.disk import LocalDisk
from repertory.memory.journal import FORMAT, Row
from repertory.memory.records import Record, intact, opened, sealed
from repertory.memory.tail import SyncFailed, Tail, WriteInterrupted, framed, parsed, tail_name, tail_number

SAMPLES = Path(__file__).parents[1] / "samples"


def commit(first: int, count: int = 1, fill: bytes = b"") -> list[Record]:
    return [sealed(Row(seq=first + n, stream=f"agent:{n}", kind="edited", author="agent:a", epoch=3, op_id=f"op{first}",
                       at=1.5, data={"fill": fill, "n": n})) for n in range(count)]


def written(commits: Sequence[Sequence[Record]], synced: Sequence[int] = ()) -> tuple[bytes, list[int]]:
    """A file that holds these commits, and where each ends; `synced`: how many frames each one knows to be synced."""
    raw, ends = b"", [0]
    for number, records in enumerate(commits):
        raw += framed(records, ends[synced[number]] if synced else 0)
        ends.append(len(raw))
    return raw, ends


COMMITS = st.lists(st.tuples(st.integers(1, 3), st.binary(max_size=40)), min_size=1, max_size=6)


def numbered(shapes: list[tuple[int, bytes]]) -> list[list[Record]]:
    made: list[list[Record]] = []
    for count, fill in shapes:
        made.append(commit(made[-1][-1].seq + 1 if made else 1, count, fill))
    return made


@settings(deadline=None)
@given(COMMITS, st.data())
def test_any_cut_of_a_file_gives_the_whole_commits_before_it(
        shapes: list[tuple[int, bytes]], data: st.DataObject) -> None:
    commits = numbered(shapes)
    raw, ends = written(commits)
    cut = data.draw(st.integers(0, len(raw)))
    whole = sum(end <= cut for end in ends[1:])
    found = parsed(raw[:cut])
    assert [list(frame.records) for frame in found.frames] == commits[:whole]
    assert found.cut_bytes == cut - ends[whole]


@settings(deadline=None)
@given(COMMITS, st.data())
def test_a_flipped_byte_never_changes_a_commit(shapes: list[tuple[int, bytes]], data: st.DataObject) -> None:
    commits = numbered(shapes)
    raw, ends = written(commits)
    place = data.draw(st.integers(0, len(raw) - 1))
    hurt = bytearray(raw)
    hurt[place] ^= data.draw(st.integers(1, 255))
    frames = parsed(bytes(hurt)).frames
    assert all(list(frame.records) in commits for frame in frames)
    before = sum(end <= place for end in ends[1:])
    assert [list(frame.records) for frame in frames] == commits[:before], "what follows was not known to be synced"


def test_behind_a_damaged_frame_that_was_synced_the_others_are_kept() -> None:
    commits = numbered([(1, b"a"), (2, b"b"), (1, b"c")])
    raw, ends = written(commits, synced=[0, 1, 2])
    hurt = bytearray(raw)
    hurt[ends[2] - 1] ^= 1
    assert [list(frame.records) for frame in parsed(bytes(hurt)).frames] == [commits[0], commits[2]]


def test_a_torn_frame_says_which_rows_it_was_to_hold() -> None:
    raw, ends = written(numbered([(1, b"a"), (3, b"b")]))
    assert parsed(raw[:ends[2] - 1]).cut_rows == (2, 4)
    assert parsed(raw[:ends[1] + 3]).cut_rows is None


def test_garbage_and_zeros_are_no_frames() -> None:
    assert parsed(bytes(10_000)).frames == ()
    raw, _ = written(numbered([(1, b"a")]))
    assert len(parsed(raw + bytes(4_096)).frames) == 1


def test_names_of_files_are_told_from_others() -> None:
    assert tail_number(tail_name(7)) == 7
    assert tail_number(tail_name(12_345_678)) == 12_345_678
    assert tail_number("journal.tail.000007.bad") is None
    assert tail_number("checkpoint") is None


def test_a_file_of_format_1_is_read_as_it_was_written() -> None:
    assert FORMAT == 1
    frames = parsed((SAMPLES / "journal.tail.v1").read_bytes()).frames
    rows = [opened(record) for frame in frames for record in frame.records]
    assert rows == [
        Row(seq=41, stream="inbox:agent-1", kind="message", author="client:7", epoch=0, op_id="op-1",
            at=1_790_000_000.25,
            data={"run_id": "run-1", "text": "grüße", "raw": b"\x00\xff", "none": None, "list": [1, 2.5, True]}),
        Row(seq=42, stream="agent:agent-1", kind="step", author="agent:agent-1", epoch=3, op_id="op-2",
            at=1_790_000_001.0, data={"status": "completed"}),
        Row(seq=43, stream="inbox:agent-2", kind="message", author="agent:agent-1", epoch=3, op_id="op-2",
            at=1_790_000_001.0, data={}),
    ]


@settings(deadline=None)
@given(st.binary(max_size=50), st.integers(1, 2**62), st.text(max_size=10))
def test_a_record_is_intact_until_any_field_changes(data: bytes, seq: int, text: str) -> None:
    record = sealed(Row(seq=seq, stream=text, kind="k", author="a", epoch=1, op_id="o", at=0.5, data={"d": data}))
    assert intact(record)
    for change in ({"seq": seq + 1}, {"stream": text + "x"}, {"kind": ""}, {"author": "b"}, {"epoch": 2}, {"at": 0.6},
                   {"op_id": None}, {"data": record.data + b"\0"}, {"crc32": record.crc32 ^ 1}):
        assert not intact(dataclasses.replace(record, **change))


class SlowDisk(LocalDisk):
    """Syncs when it is allowed to, and fails when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.may_sync = asyncio.Event()
        self.may_sync.set()
        self.syncs = 0
        self.fail_append: OSError | None = None
        self.fail_sync: OSError | None = None

    async def append(self, name: str, data: bytes) -> None:
        if self.fail_append is not None:
            await super().append(name, data[:len(data) // 2])
            raise self.fail_append
        await super().append(name, data)

    async def sync(self, name: str) -> None:
        await self.may_sync.wait()
        self.syncs += 1
        if self.fail_sync is not None:
            raise self.fail_sync
        await super().sync(name)


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[SlowDisk]:
    disk = SlowDisk(tmp_path)
    yield disk
    disk.close()


@pytest.fixture
async def start(disk: SlowDisk) -> AsyncIterator[Callable[..., Tail]]:
    tails: list[Tail] = []

    def make(rotate_bytes: int = 1 << 20, failures: list[Exception] | None = None) -> Tail:
        tail = Tail(disk, number=1, full={}, synced=0, rotate_bytes=rotate_bytes,
                    on_failure=(failures if failures is not None else []).append)
        tail.start()
        tails.append(tail)
        return tail

    yield make
    disk.may_sync.set()
    for tail in tails:
        await tail.stop()


async def test_commits_that_come_during_a_sync_share_the_next(disk: SlowDisk, start: Callable[..., Tail]) -> None:
    tail = start()
    disk.may_sync.clear()
    tail.put(commit(1))
    first = asyncio.create_task(tail.durable(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for seq in range(2, 40):
        tail.put(commit(seq))
    later = [asyncio.create_task(tail.durable(seq)) for seq in range(2, 40)]
    disk.may_sync.set()
    await asyncio.gather(first, *later)
    assert disk.syncs == 2
    frames = parsed(await disk.read(tail_name(1))).frames
    assert [frame.records[0].seq for frame in frames] == list(range(1, 40))


async def test_one_that_is_cancelled_while_it_waits_breaks_nobody(disk: SlowDisk, start: Callable[..., Tail]) -> None:
    tail = start()
    disk.may_sync.clear()
    tail.put(commit(1))
    tail.put(commit(2))
    one, two = asyncio.create_task(tail.durable(1)), asyncio.create_task(tail.durable(2))
    await asyncio.sleep(0)
    one.cancel()
    disk.may_sync.set()
    await two
    assert len(parsed(await disk.read(tail_name(1))).frames) == 2


async def test_a_full_file_is_followed_by_the_next(disk: SlowDisk, start: Callable[..., Tail]) -> None:
    tail = start(rotate_bytes=300)
    for seq in range(1, 11):
        tail.put(commit(seq))
        await tail.durable(seq)
    assert len(await disk.sizes()) > 2
    assert list(tail.full) == list(range(1, len(tail.full) + 1))
    seqs = [frame.records[0].seq for name in await disk.sizes() for frame in parsed(await disk.read(name)).frames]
    assert seqs == list(range(1, 11))
    await tail.drop(1)
    assert tail_name(1) not in await disk.sizes()


async def test_a_failed_write_is_told_to_all_who_wait_and_nothing_more_is_written(
        disk: SlowDisk, start: Callable[..., Tail]) -> None:
    failures: list[Exception] = []
    tail = start(failures=failures)
    tail.put(commit(1))
    await tail.durable(1)
    disk.fail_append = OSError(errno.ENOSPC, "No space left on device")
    tail.put(commit(2))
    tail.put(commit(3))
    results = await asyncio.gather(tail.durable(2), tail.durable(3), return_exceptions=True)
    assert all(isinstance(result, WriteInterrupted) and result.errno == errno.ENOSPC for result in results)
    assert len(failures) == 1
    with pytest.raises(WriteInterrupted):
        await tail.durable(4)
    found = parsed(await disk.read(tail_name(1)))
    assert [frame.records[0].seq for frame in found.frames][:1] == [1]
    assert tail.synced == 1


async def test_a_failed_sync_is_told_apart_from_a_failed_write(disk: SlowDisk, start: Callable[..., Tail]) -> None:
    tail = start()
    disk.fail_sync = OSError(errno.EIO, "Input/output error")
    tail.put(commit(1))
    with pytest.raises(SyncFailed):
        await tail.durable(1)


async def test_a_listener_that_breaks_leaves_nobody_waiting(disk: SlowDisk) -> None:
    def broken(seq: int) -> None:
        raise ValueError(seq)

    tail = Tail(disk, number=1, full={}, synced=0, rotate_bytes=1 << 20, on_failure=lambda error: None,
                on_synced=broken)
    tail.start()
    tail.put(commit(1))
    tail.put(commit(2))
    waiting = asyncio.create_task(tail.durable(3))
    with pytest.raises(WriteInterrupted):
        await waiting
