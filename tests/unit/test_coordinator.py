import asyncio
from typing import Any

import pytest

from repertory.actors.blocks import CoordinatorHandle
from repertory.actors.coordinator import BlockCoordinator
from repertory.errors import (
    BlockConflict,
    BlockError,
    BlockLimitExceeded,
    BlockNotFound,
    BlockReadOnly,
    Fenced,
    OpConflict,
    OutcomeUnknown,
)
from repertory.ids import IdSource
from repertory.memory.block import Append, Insert, Rewrite, Substitute
from repertory.memory.journal import Commit, Committed
from repertory.memory.versions import BlockChange
from repertory.memory.volatile import VolatileStore

DEADLINE_S = 60


class ForgetfulStore(VolatileStore):
    """Carries the next `lose` commits out, or refuses to, without an answer."""

    lose: str = ""

    async def commit(self, commit: Commit) -> Committed:
        await asyncio.sleep(0)
        if commit.rows[0].kind == "activated" or not self.lose:
            return await super().commit(commit)
        lost, self.lose = self.lose, ""
        if lost == "answer":
            await super().commit(commit)
        raise OutcomeUnknown


class Beside:
    """A reference to an object in this process."""

    key = "beside"

    def __init__(self, target: Any) -> None:
        self.target = target

    async def call(self, method: str, /, *args: Any, timeout_s: float, **kwargs: Any) -> Any:
        async with asyncio.timeout(timeout_s):
            return await getattr(self.target, method)(*args, **kwargs)

    def tell(self, method: str, /, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError


def coordinator(store: VolatileStore | None = None, seed: int = 1) -> BlockCoordinator:
    return BlockCoordinator(store or ForgetfulStore(), IdSource(seed))


async def test_a_block_is_created_read_edited_and_found_by_its_label():
    blocks = coordinator()
    created = await blocks.create("plan", "ship it", description="what we do", op_id="c", by="ann")
    edited = await blocks.edit(created.block_id, Append(content="soon"), op_id="e", by="agent-1")
    assert (created.version, edited.version, edited.value) == (1, 2, "ship it\nsoon")
    assert await blocks.read(created.block_id) == edited
    assert [found.block_id for found in await blocks.find("plan")] == [created.block_id]
    assert await blocks.find("other") == []
    assert edited.block().version == 2


async def test_a_thousand_concurrent_appends_are_a_thousand_versions_and_nothing_is_lost():
    blocks = coordinator()
    block_id = (await blocks.create("log", limit_chars=100_000, op_id="c", by="ann")).block_id

    async def writer(name: str) -> None:
        for number in range(100):
            await blocks.edit(block_id, Append(content=f"{name}/{number}"), op_id=f"{name}/{number}", by=name)

    await asyncio.gather(*(writer(f"agent-{number}") for number in range(10)))
    history = await blocks.history(block_id, after=1, limit=2_000)
    assert [version.version for version in history] == list(range(2, 1_002))
    assert all(version.op_id.startswith(f"{version.by}/") for version in history)
    lines = (await blocks.read(block_id)).value.split("\n")
    assert sorted(lines) == sorted(f"agent-{a}/{n}" for a in range(10) for n in range(100))


async def test_different_blocks_are_edited_side_by_side():
    blocks = coordinator()
    ids = [(await blocks.create(f"b{n}", op_id=f"c{n}", by="ann")).block_id for n in range(20)]
    await asyncio.gather(*(blocks.edit(block_id, Append(content="x"), op_id=f"e{block_id}", by="a")
                           for block_id in ids))
    assert [(await blocks.read(block_id)).version for block_id in ids] == [2] * 20


async def test_the_same_op_id_is_carried_out_once_also_when_the_edit_would_no_longer_fit():
    blocks = coordinator()
    block_id = (await blocks.create("plan", "red", op_id="c", by="ann")).block_id
    first = await blocks.edit(block_id, Substitute(old="red", new="blue"), op_id="e", by="a")
    await blocks.edit(block_id, Append(content="more"), op_id="f", by="b")
    again = await blocks.edit(block_id, Substitute(old="red", new="blue"), op_id="e", by="a")
    assert again == first
    assert (await blocks.read(block_id)).version == 3


async def test_a_creation_is_repeated_without_a_second_block_and_without_taking_the_block_back():
    blocks = coordinator()
    first = await blocks.create("plan", "red", op_id="c", by="ann")
    await blocks.edit(first.block_id, Append(content="more"), op_id="e", by="a")
    assert await blocks.create("plan", "red", op_id="c", by="ann") == first
    assert (await blocks.read(first.block_id)).version == 2
    with pytest.raises(OpConflict):
        await blocks.create("plan", "green", op_id="c", by="ann")


@pytest.mark.parametrize("lost", ["answer", "request"])
async def test_an_edit_whose_answer_was_lost_is_made_once(lost):
    store = ForgetfulStore()
    blocks = coordinator(store)
    handle = CoordinatorHandle(Beside(blocks))
    store.lose = lost
    block_id = (await handle.create("plan", "red", op_id="c", by="ann")).block_id
    store.lose = lost
    edited = await handle.edit(block_id, Append(content="one"), op_id="e", by="a")
    assert (edited.version, edited.value) == (2, "red\none")
    store.lose = lost
    with pytest.raises(OutcomeUnknown):
        await blocks.edit(block_id, Append(content="two"), op_id="f", by="b")
    third = await blocks.edit(block_id, Append(content="three"), op_id="g", by="c")
    assert third.value == ("red\none\ntwo\nthree" if lost == "answer" else "red\none\nthree")
    assert [v.version for v in await blocks.history(block_id)] == list(range(1, third.version + 1))


async def test_a_block_whose_creation_was_not_answered_is_found_all_the_same():
    store = ForgetfulStore()
    blocks = coordinator(store)
    store.lose = "answer"
    with pytest.raises(OutcomeUnknown):
        await blocks.create("plan", "red", op_id="c", by="ann")
    found = await blocks.find("plan")
    assert [block.value for block in found] == ["red"]
    assert (await blocks.edit(found[0].block_id, Append(content="x"), op_id="e", by="a")).version == 2


async def test_a_cancelled_edit_leaves_the_block_usable():
    blocks = coordinator()
    block_id = (await blocks.create("plan", "red", op_id="c", by="ann")).block_id
    edit = asyncio.create_task(blocks.edit(block_id, Append(content="one"), op_id="e", by="a"))
    await asyncio.sleep(0)
    edit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await edit
    assert (await blocks.edit(block_id, Append(content="two"), op_id="f", by="b")).value.endswith("two")


async def test_rewrites_of_different_lines_are_merged_and_say_so():
    blocks = coordinator()
    block_id = (await blocks.create("plan", "one\ntwo", op_id="c", by="ann")).block_id
    await blocks.edit(block_id, Rewrite(value="ONE\ntwo", base_version=1), op_id="e", by="a")
    merged = await blocks.edit(block_id, Rewrite(value="one\nTWO", base_version=1), op_id="f", by="b")
    assert merged.value == "ONE\nTWO"
    assert merged.result == {"merged_from": 1}


async def test_rewrites_of_the_same_line_conflict_and_the_second_writer_sees_the_value_and_the_difference():
    blocks = coordinator()
    block_id = (await blocks.create("plan", "one\ntwo", op_id="c", by="ann")).block_id
    await blocks.edit(block_id, Rewrite(value="ONE\ntwo", base_version=1), op_id="e", by="a")
    with pytest.raises(BlockConflict) as conflict:
        await blocks.edit(block_id, Rewrite(value="eins\ntwo", base_version=1), op_id="f", by="b")
    assert (conflict.value.current, conflict.value.version) == ("ONE\ntwo", 2)
    assert "-one\n+ONE" in conflict.value.diff
    settled = await blocks.edit(block_id, Rewrite(value="eins\ntwo", base_version=2), op_id="g", by="b")
    assert settled.value == "eins\ntwo"


async def test_a_rewrite_may_be_based_on_a_version_that_is_long_past():
    blocks = coordinator()
    block_id = (await blocks.create("plan", "one\ntwo", op_id="c", by="ann")).block_id
    for number in range(20):
        await blocks.edit(block_id, Append(content=str(number)), op_id=f"e{number}", by="a")
    merged = await blocks.edit(block_id, Rewrite(value="ONE\ntwo", base_version=1), op_id="f", by="b")
    assert merged.value.startswith("ONE\ntwo\n0\n1\n")
    with pytest.raises(BlockNotFound):
        await blocks.edit(block_id, Rewrite(value="x", base_version=99), op_id="g", by="b")


async def test_history_says_who_did_what_and_versions_can_be_compared_and_brought_back():
    blocks = coordinator(ForgetfulStore(now=lambda: 7.0))
    block_id = (await blocks.create("plan", "red", op_id="c", by="ann")).block_id
    await blocks.edit(block_id, Insert(text="blue", line=0), op_id="e", by="agent-1")
    reverted = await blocks.revert(block_id, 1, op_id="r", by="ann")
    assert (reverted.version, reverted.value) == (3, "red")
    history = await blocks.history(block_id)
    assert [(v.by, v.at, v.op_id, v.action["do"]) for v in history] == [
        ("ann", 7.0, "c", "create"), ("agent-1", 7.0, "e", "insert"), ("ann", 7.0, "r", "revert"),
    ]
    assert await blocks.history(block_id, after=1, limit=1) == history[1:2]
    assert "+blue" in await blocks.diff(block_id, 1, 2)
    assert await blocks.diff(block_id, 1, 3) == ""
    with pytest.raises(BlockNotFound):
        await blocks.revert(block_id, 9, op_id="s", by="ann")


async def test_a_refused_edit_writes_nothing():
    blocks = coordinator()
    block_id = (await blocks.create("plan", "red", limit_chars=5, op_id="c", by="ann")).block_id
    with pytest.raises(BlockLimitExceeded):
        await blocks.edit(block_id, Append(content="much too long"), op_id="e", by="a")
    with pytest.raises(BlockError):
        await blocks.edit(block_id, Substitute(old="x", new="y"), op_id="f", by="a")
    with pytest.raises(BlockLimitExceeded):
        await blocks.create("other", "much too long", limit_chars=5, op_id="d", by="ann")
    assert [version.version for version in await blocks.history(block_id)] == [1]


async def test_what_agents_may_not_write_can_be_changed_from_outside():
    blocks = coordinator()
    block_id = (await blocks.create("rules", "be kind", read_only=True, op_id="c", by="ann")).block_id
    with pytest.raises(BlockReadOnly):
        await blocks.edit(block_id, Append(content="or not"), op_id="e", by="a")
    changed = await blocks.change(block_id, BlockChange(value="be brief", label="law", limit_chars=9), op_id="f",
                                  by="ann")
    assert (changed.value, changed.label, changed.limit_chars, changed.read_only) == ("be brief", "law", 9, True)
    with pytest.raises(BlockLimitExceeded):
        await blocks.change(block_id, BlockChange(limit_chars=3), op_id="g", by="ann")
    assert (await blocks.change(block_id, BlockChange(read_only=False), op_id="h", by="ann")).version == 3


async def test_read_since_gives_only_what_changed_and_says_what_was_deleted():
    blocks = coordinator()
    one, two, gone = [(await blocks.create(name, "x", op_id=name, by="ann")).block_id for name in "abc"]
    known = {one: 1, two: 1, gone: 1}
    assert await blocks.read_since(known) == {}
    edited = await blocks.edit(two, Append(content="y"), op_id="e", by="a")
    await blocks.delete(gone, op_id="d", by="ann")
    assert await blocks.read_since(known) == {two: edited, gone: None}


async def test_a_deleted_block_is_gone_but_its_history_and_the_repeated_calls_stay():
    blocks = coordinator()
    block_id = (await blocks.create("plan", "red", op_id="c", by="ann")).block_id
    edited = await blocks.edit(block_id, Append(content="x"), op_id="e", by="a")
    await blocks.delete(block_id, op_id="d", by="ann")
    await blocks.delete(block_id, op_id="d", by="ann")
    with pytest.raises(BlockNotFound):
        await blocks.read(block_id)
    with pytest.raises(BlockNotFound):
        await blocks.delete(block_id, op_id="another", by="ann")
    with pytest.raises(BlockNotFound):
        await blocks.edit(block_id, Append(content="x"), op_id="f", by="a")
    assert await blocks.edit(block_id, Append(content="x"), op_id="e", by="a") == edited
    assert len(await blocks.history(block_id)) == 2


async def test_a_watcher_sees_the_next_version_or_that_none_came_or_that_the_block_is_gone():
    blocks = coordinator()
    block_id = (await blocks.create("plan", "red", op_id="c", by="ann")).block_id
    assert (await blocks.watch(block_id, 0, DEADLINE_S)).version == 1
    assert await blocks.watch(block_id, 1, 0.0) is None
    watcher = asyncio.create_task(blocks.watch(block_id, 1, DEADLINE_S))
    await asyncio.sleep(0)
    edited = await blocks.edit(block_id, Append(content="x"), op_id="e", by="a")
    assert await watcher == edited
    watcher = asyncio.create_task(blocks.watch(block_id, 2, DEADLINE_S))
    await asyncio.sleep(0)
    await blocks.delete(block_id, op_id="d", by="ann")
    with pytest.raises(BlockNotFound):
        await watcher


async def test_a_new_coordinator_goes_on_where_the_old_one_was_and_the_old_one_is_fenced():
    store = ForgetfulStore()
    old = coordinator(store, seed=1)
    block_id = (await old.create("plan", "red", op_id="c", by="ann")).block_id
    new = coordinator(store, seed=2)
    assert (await new.edit(block_id, Append(content="x"), op_id="e", by="a")).version == 2
    with pytest.raises(Fenced):
        await old.edit(block_id, Append(content="y"), op_id="f", by="b")
    assert (await new.read(block_id)).value == "red\nx"
