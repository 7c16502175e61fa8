"""What every store must do (`journal.Store`): the one in memory, the durable one, the durable one on a simulated disk.

A suite is a subclass of `StoreConformance` with a fixture `store`, and `woken`: the list that `on_inbox` appends to.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from repertory.errors import (
    AgentNotFound,
    CommitRefused,
    Fenced,
    NameTaken,
    OpConflict,
    RunNotFound,
    StaleExpectation,
    WaitCycle,
)
from repertory.memory.journal import CLAIM, UNFENCED, Commit, Committed, NewRow, Store

DIRECTORY = "directory"


async def claim(store: Store, author: str, *rows: NewRow, op_id: str = "") -> Committed:
    stream = author if author.startswith("agent:") else f"author:{author}"
    return await store.commit(Commit(op_id=op_id or f"claim/{author}", author=author, epoch=CLAIM,
                                     rows=(NewRow(stream=stream, kind="activated"), *rows)))


async def create(store: Store, *agent_ids: str) -> int:
    """Make agents, whose names are their ids in capitals; returns the directory's epoch."""
    rows = [NewRow(stream="registry", kind="agent_created",
                   data={"id": a, "name": a.upper(), "tags": ["all", a], "spec": {"model": "m"}}) for a in agent_ids]
    return (await claim(store, DIRECTORY, *rows)).epoch


async def live(store: Store, agent_id: str = "a") -> int:
    """Make an agent and activate it; returns its epoch."""
    await create(store, agent_id)
    return (await claim(store, f"agent:{agent_id}")).epoch


def note(agent_id: str, op_id: str, epoch: int, text: str = "", **expect: int) -> Commit:
    return Commit(op_id=op_id, author=f"agent:{agent_id}", epoch=epoch, expect={f"agent:{agent_id}": v
                  for v in expect.values()}, rows=(NewRow(stream=f"agent:{agent_id}", kind="edited",
                                                          data={"text": text}),))


def message(agent_id: str, op_id: str, author: str = "client:1", text: str = "hello") -> Commit:
    return Commit(op_id=op_id, author=author, epoch=UNFENCED, rows=(
        NewRow(stream=f"inbox:{agent_id}", kind="message", data={
            "run_id": f"run-{op_id}", "message_id": f"message-{op_id}", "text": text, "conversation_id": "default"}),))


def step(agent_id: str, op_id: str, epoch: int, *, run_id: str, consumed: list[int], status: str = "completed",
         rows: tuple[NewRow, ...] = ()) -> Commit:
    return Commit(op_id=op_id, author=f"agent:{agent_id}", epoch=epoch, rows=(
        NewRow(stream=f"agent:{agent_id}", kind="step", data={
            "conversation_id": "default", "run_id": run_id, "consumed": consumed, "status": status}), *rows))


def wait(agent_id: str, op_id: str, epoch: int, target: str) -> Commit:
    return Commit(op_id=op_id, author=f"agent:{agent_id}", epoch=epoch, rows=(
        NewRow(stream=f"agent:{agent_id}", kind="wait", data={
            "conversation_id": "default", "run_id": "run-w", "due_at": None,
            "targets": [{"op_id": f"{op_id}/q", "agent_id": target, "conversation_id": "default"}]}),))


class StoreConformance:
    """The suite."""

    async def test_seqs_are_global_and_gapless_from_one(self, store: Store) -> None:
        epoch = await live(store)
        done = [await store.commit(note("a", f"op{i}", epoch)) for i in range(5)]
        assert [d.first for d in done] == [4, 5, 6, 7, 8]
        assert all(d.first == d.last for d in done)

    async def test_a_commit_of_many_streams_is_one(self, store: Store) -> None:
        await create(store, "a", "b")
        epoch = (await claim(store, "agent:a")).epoch
        out = NewRow(stream="inbox:b", kind="message", data={"run_id": "r2", "conversation_id": "default"})
        done = await store.commit(step("a", "s", epoch, run_id="r1", consumed=[], rows=(out,)))
        assert done.last == done.first + 1
        assert [(r.seq, r.stream) for r in await store.lookup("s")] == [
            (done.first, "agent:a"), (done.last, "inbox:b")]

    async def test_data_of_every_kind_comes_back_as_it_went_in(self, store: Store) -> None:
        epoch = await live(store)
        data: dict[str, Any] = {
            "none": None, "yes": True, "int": -2**62, "float": 0.1, "text": "grüße\n\0 '; --", "raw": b"\0\xff",
            "list": [1, [2, {"deep": []}]], "map": {"k": {"": 1}},
        }
        await store.commit(Commit(op_id="d", author="agent:a", epoch=epoch, rows=(
            NewRow(stream="agent:a", kind="edited", data=data),)))
        (row,) = await store.lookup("d")
        assert row.data == data
        assert (row.author, row.epoch, row.op_id, row.kind, row.stream) == ("agent:a", epoch, "d", "edited", "agent:a")

    async def test_the_same_op_id_is_carried_out_once(self, store: Store) -> None:
        epoch = await live(store)
        first = await store.commit(note("a", "op", epoch, "x"))
        again = await store.commit(note("a", "op", epoch, "x"))
        assert again.replayed
        assert not first.replayed
        assert (again.first, again.last, again.epoch, again.at) == (first.first, first.last, first.epoch, first.at)
        assert len(await store.read("agent:a")) == 2

    async def test_the_same_op_id_with_another_payload_is_refused(self, store: Store) -> None:
        epoch = await live(store)
        await store.commit(note("a", "op", epoch, "x"))
        with pytest.raises(OpConflict):
            await store.commit(note("a", "op", epoch, "y"))

    async def test_a_duplicate_of_one_in_flight_joins_it(self, store: Store) -> None:
        epoch = await live(store)
        done = await asyncio.gather(*(store.commit(note("a", "op", epoch)) for _ in range(10)))
        assert {d.first for d in done} == {4}
        assert len(await store.lookup("op")) == 1

    async def test_a_replay_answers_even_when_the_author_was_fenced_since(self, store: Store) -> None:
        epoch = await live(store)
        first = await store.commit(note("a", "op", epoch))
        await claim(store, "agent:a", op_id="claim2")
        assert (await store.commit(note("a", "op", epoch))).first == first.first

    async def test_an_older_epoch_is_fenced_off_at_the_write(self, store: Store) -> None:
        epoch = await live(store)
        newer = await claim(store, "agent:a", op_id="claim2")
        assert newer.epoch == epoch + 1
        with pytest.raises(Fenced):
            await store.commit(note("a", "late", epoch))
        assert await store.lookup("late") == ()
        await store.commit(note("a", "now", newer.epoch))

    async def test_nobody_writes_in_the_name_of_another(self, store: Store) -> None:
        await live(store, "a")
        with pytest.raises(CommitRefused):
            await store.commit(Commit(op_id="x", author="client:1", epoch=UNFENCED,
                                      rows=(NewRow(stream="agent:a", kind="edited"),)))
        with pytest.raises(Fenced):
            await store.commit(message("a", "x", author="agent:a"))

    async def test_a_stale_expectation_is_refused_and_nothing_is_written(self, store: Store) -> None:
        epoch = await live(store)
        head = (await store.commit(note("a", "1", epoch))).last
        await store.commit(note("a", "2", epoch, expect=head))
        with pytest.raises(StaleExpectation) as refused:
            await store.commit(note("a", "3", epoch, expect=head))
        assert refused.value.data["actual"] == head + 1
        assert await store.lookup("3") == ()

    async def test_of_two_commits_with_the_same_expectation_one_is_taken(self, store: Store) -> None:
        epoch = await live(store)
        head = (await store.commit(note("a", "0", epoch))).last
        results = await asyncio.gather(*(store.commit(note("a", f"n{i}", epoch, expect=head)) for i in range(8)),
                                       return_exceptions=True)
        assert sum(isinstance(r, Committed) for r in results) == 1
        assert sum(isinstance(r, StaleExpectation) for r in results) == 7

    async def test_two_agents_cannot_have_one_name(self, store: Store) -> None:
        epoch = await create(store, "a")
        with pytest.raises(NameTaken):
            await store.commit(Commit(op_id="n", author=DIRECTORY, epoch=epoch, rows=(
                NewRow(stream="registry", kind="agent_created", data={"id": "b", "name": "A"}),)))

    async def test_a_circle_of_waiting_agents_is_refused_at_once_by_name(self, store: Store) -> None:
        await create(store, "a", "b")
        epochs = {x: (await claim(store, f"agent:{x}")).epoch for x in "ab"}
        await store.commit(wait("a", "w1", epochs["a"], "b"))
        with pytest.raises(WaitCycle) as refused:
            await store.commit(wait("b", "w2", epochs["b"], "a"))
        assert set(refused.value.data["members"]) == {"a", "b"}

    async def test_an_unknown_agent_gets_no_message(self, store: Store) -> None:
        await create(store, "a")
        with pytest.raises(AgentNotFound):
            await store.commit(message("nobody", "m"))
        with pytest.raises(AgentNotFound):
            await store.load("nobody")

    async def test_an_agent_is_woken_by_what_others_write_and_not_by_itself(
            self, store: Store, woken: list[str]) -> None:
        epoch = await live(store)
        await store.commit(note("a", "n", epoch))
        assert woken == []
        await store.commit(message("a", "m"))
        assert woken == ["a"]
        await store.commit(Commit(op_id="own", author="agent:a", epoch=epoch, rows=(NewRow(
            stream="inbox:a", kind="message", data={"run_id": "run-own", "conversation_id": "default"}),)))
        assert woken == ["a"]

    async def test_a_replay_wakes_nobody_twice(self, store: Store, woken: list[str]) -> None:
        await live(store)
        await store.commit(message("a", "m"))
        await store.commit(message("a", "m"))
        assert woken == ["a"]

    async def test_loading_gives_the_spec_the_newest_snapshot_and_what_came_after(self, store: Store) -> None:
        epoch = await live(store)
        for number in range(3):
            await store.commit(note("a", f"old{number}", epoch))
        head = (await store.read("agent:a"))[-1].seq
        snapshot = await store.commit(Commit(op_id="snap", author="agent:a", epoch=epoch, rows=(
            NewRow(stream="snapshot:a", kind="snapshot", data={"upto": head, "state": {"n": 3}}),)))
        later = await store.commit(note("a", "new", epoch))
        posted = await store.commit(message("a", "m"))
        loaded = await store.load("a")
        assert loaded.spec == {"model": "m"}
        assert loaded.snapshot is not None
        assert loaded.snapshot.seq == snapshot.first
        assert [row.seq for row in loaded.events] == [later.first]
        assert [row.seq for row in loaded.inbox] == [posted.first]
        assert loaded.inbox_head == posted.first

    async def test_consumed_messages_wait_no_longer(self, store: Store) -> None:
        epoch = await live(store)
        one, two = [(await store.commit(message("a", f"m{i}"))).first for i in range(2)]
        await store.commit(step("a", "s", epoch, run_id="run-m0", consumed=[one]))
        assert [row.seq for row in (await store.load("a")).inbox] == [two]
        assert (await store.ask("run", run_id="run-m0"))["status"] == "completed"
        assert await store.ask("attention", now=0.0) == ["a"]

    async def test_a_stream_is_read_in_order_from_any_place(self, store: Store) -> None:
        epoch = await live(store)
        seqs = []
        for number in range(30):
            seqs.append((await store.commit(note("a", f"n{number}", epoch))).first)
            await store.commit(message("a", f"m{number}"))
        assert [r.seq for r in await store.read("agent:a", after=3)] == seqs
        assert [r.seq for r in await store.read("agent:a", after=seqs[9], limit=5)] == seqs[10:15]
        assert await store.read("agent:a", after=seqs[-1]) == ()
        assert await store.read("no such stream") == ()

    async def test_unknown_things_are_named(self, store: Store) -> None:
        await create(store, "a")
        assert await store.lookup("never") == ()
        with pytest.raises(RunNotFound):
            await store.ask("run", run_id="never")
        with pytest.raises(ValueError, match="no answer"):
            await store.ask("the meaning of life")

    async def test_an_empty_commit_is_refused(self, store: Store) -> None:
        with pytest.raises(CommitRefused):
            await store.commit(Commit(op_id="e", author="client:1", rows=()))

    async def test_op_ids_and_streams_may_hold_anything(self, store: Store) -> None:
        name = "x' OR '1'='1"
        await create(store, name)
        epoch = (await claim(store, f"agent:{name}")).epoch
        await store.commit(note(name, "o'p\\\"; DROP", epoch))
        assert len(await store.read(f"agent:{name}")) == 2
        assert len(await store.lookup("o'p\\\"; DROP")) == 1

    async def test_a_cancelled_caller_breaks_nothing(self, store: Store) -> None:
        epoch = await live(store)
        tasks = [asyncio.create_task(store.commit(note("a", f"n{i}", epoch))) for i in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all([await store.lookup(f"n{i}") for i in range(1, 20, 2)])
        rows = await store.read("agent:a")
        assert len({row.op_id for row in rows}) == len(rows)
        await store.commit(note("a", "after", epoch))

    async def test_commits_in_order_from_one_sender_stay_in_order(self, store: Store) -> None:
        await create(store, "a")
        await asyncio.gather(*(store.commit(message("a", f"m{i:02}")) for i in range(50)))
        rows = await store.read("inbox:a")
        assert [row.op_id for row in rows] == [f"m{i:02}" for i in range(50)]
