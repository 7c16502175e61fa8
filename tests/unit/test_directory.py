"""The directory: names, tags, routes; who is live, who is put away, and what happens when a process dies."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from town import Town

from repertory.errors import AgentNotFound, ConfigError, Moved, NameTaken
from repertory.memory.journal import UNFENCED, Commit, NewRow
from repertory.memory.rows import inbox_stream
from repertory.messages import Envelope, ReplyTo, pack


async def test_a_created_agent_is_found_by_name_and_tags_and_no_process_was_started_for_it() -> None:
    async with Town(spare=0) as town:
        ada, bo = await town.create("Ada", "Bo", tags=["staff"])
        await town.handle.change(bo, {"name": "Bob", "tags": ["staff", "night"]}, op_id="c")
        assert await town.handle.find("Ada") == ada
        assert await town.handle.find("Bob") == bo == await town.handle.find(bo)
        assert [a["id"] for a in await town.handle.list(("staff",))] == [ada, bo]
        assert [a["id"] for a in await town.handle.list(("staff",), ("night", "day"))] == [bo]
        assert await town.handle.routes(("staff",)) == {ada: None, bo: None}
        with pytest.raises(AgentNotFound):
            await town.handle.find("Bo")
        assert not town.processes


async def test_a_name_is_given_once_and_a_failed_batch_creates_nobody() -> None:
    async with Town() as town:
        await town.create("Ada")
        with pytest.raises(NameTaken):
            await town.create("Bo", "Ada")
        with pytest.raises(AgentNotFound):
            await town.handle.find("Bo")
        with pytest.raises(ConfigError, match="same name"):
            await town.create("Cy", "Cy")


async def test_creating_under_one_op_id_creates_once() -> None:
    async with Town() as town:
        first = await town.handle.create([{"name": "Ada"}], op_id="once")
        assert await town.handle.create([{"name": "Ada"}], op_id="once") == first
        assert len(await town.handle.list()) == 1


@pytest.mark.parametrize("spec", [{"name": ""}, {"name": 3}, {"tags": "staff"}, {"tags": [""]}])
async def test_a_malformed_name_or_tag_is_refused_before_anything_is_written(spec: dict[str, object]) -> None:
    async with Town() as town:
        before = town.store.index.last_seq
        with pytest.raises(ConfigError):
            await town.handle.create([spec], op_id="x")
        assert town.store.index.last_seq == before


async def test_the_first_message_activates_and_callers_that_come_together_join_one_activation() -> None:
    async with Town() as town:
        (ada,) = await town.create("Ada")
        routes = await asyncio.gather(*(town.handle.resolve(ada) for _ in range(20)))
        assert len({(route.process.key, route.epoch) for route in routes}) == 1
        assert (await town.ask(ada)).text == "Ada"


async def test_a_message_that_was_only_written_activates_its_agent() -> None:
    async with Town() as town:
        (ada,) = await town.create("Ada")
        await town.done(await town.post(ada))
        await town.done(*[await town.post(ada) for _ in range(3)])
        assert town.turns == ["Ada"] * 4


async def test_at_the_cap_the_one_used_longest_ago_makes_room_and_below_it_nobody_is_put_away() -> None:
    async with Town(cap=2) as town:
        ada, bo, cy = await town.create("Ada", "Bo", "Cy")
        for agent_id in (ada, bo, ada):
            await town.ask(agent_id)
        assert town.live() == ["Ada", "Bo"]
        await town.ask(cy)
        assert town.live() == ["Ada", "Cy"]


async def test_many_agents_take_turns_under_a_small_cap() -> None:
    async with Town(cap=3) as town:
        agents = await town.create(*(f"a{n}" for n in range(40)))
        outcomes = await asyncio.gather(*(town.ask(agent_id) for agent_id in agents))
        assert [outcome.text for outcome in outcomes] == [f"a{n}" for n in range(40)]
        assert (await town.handle.status())["most_live"] <= 3


async def test_a_pinned_agent_stays_and_even_a_cap_full_of_them_lets_others_in() -> None:
    async with Town(cap=1) as town:
        (pinned,) = await town.create("pinned", resident=True)
        ada, bo = await town.create("Ada", "Bo")
        for agent_id in (pinned, ada, bo):
            await town.ask(agent_id)
        assert town.live() == ["Bo", "pinned"]


async def test_a_chain_of_agents_that_wait_for_each_other_needs_no_more_than_two_slots() -> None:
    async with Town(cap=2) as town:
        chain = await town.create(*(f"a-{n}" for n in range(20)))
        outcome = await town.ask(chain[0], "next")
        assert outcome.text == "<".join(f"a-{n}" for n in range(20))
        assert (await town.handle.status())["most_live"] == 2


async def test_when_all_are_busy_the_longest_live_leaves_after_its_turn_though_more_waits_for_it() -> None:
    async with Town(cap=1) as town:
        ada, bo = await town.create("Ada", "Bo")
        runs = [await town.post(ada, "hold") for _ in range(3)]
        await town.until(lambda: town.held)
        runs.append(await town.post(bo))
        await town.until(lambda: town.directory._activations._slots[ada].asked)
        town.gate.set()
        await town.done(*runs)
        assert [name for name, _ in itertools.groupby(town.turns)] == ["Ada", "Bo", "Ada"]


async def test_p5_a_run_whose_agent_waits_for_a_place_in_vain_is_ended_beyond_the_cap() -> None:
    async with Town(cap=1) as town:
        ada, bo = await town.create("Ada", "Bo")
        long = await town.post(ada, "hold")
        await town.until(lambda: town.held)
        late, later = await town.post(bo, within_s=0.01), await town.post(bo)
        await town.until(lambda: town.store.index.late(town.now()) == [bo])
        town.directory._activations.hurry([bo])
        await town.done(late)
        assert town.store.index.runs[later].status == "created"
        await town.until(lambda: town.live() == ["Ada"])
        assert town.directory._activations.most_live == 2
        town.gate.set()
        await town.done(long, later)
        assert town.turns == ["Ada", "Bo"]


async def test_an_idle_agent_is_put_away_below_the_cap_only_when_an_idle_time_is_set() -> None:
    async with Town() as town:
        (ada,) = await town.create("Ada")
        await town.ask(ada)
        activations = town.directory._activations
        await activations.put_away_unused(town.now() - 1000)
        assert town.live() == ["Ada"]
        await activations.put_away_unused(town.now() + 1)
        assert town.live() == []


async def test_when_a_process_dies_its_agent_goes_on_elsewhere_and_the_caller_gets_one_answer() -> None:
    async with Town() as town:
        (ada,) = await town.create("Ada")
        asking = asyncio.create_task(town.ask(ada, "hold"))
        await town.until(lambda: town.held)
        await town.kill(town.process_of(ada))
        await town.until(lambda: len(town.held) == 2)
        town.gate.set()
        assert (await asking).text == "Ada"
        assert sum(row.kind == "message" for row in await town.store.read(inbox_stream(ada))) == 1


async def test_a_process_that_nobody_calls_is_missed_too() -> None:
    async with Town() as town:
        (ada,) = await town.create("Ada")
        run = await town.post(ada, "hold")
        await town.until(lambda: town.held)
        await town.kill(town.process_of(ada))
        town.gate.set()
        await town.done(run)


async def test_an_agent_whose_process_keeps_dying_is_held_back_and_others_are_not() -> None:
    async with Town() as town:
        ada, bo = await town.create("Ada", "Bo")
        town.poisoned.append(ada)
        run = await town.post(ada)
        await town.until(lambda: ada in town.directory._activations.counts()["held_back"])
        assert (await town.ask(bo)).text == "Bo"
        town.poisoned.clear()
        await town.done(run)


async def test_an_agent_that_gets_on_between_its_deaths_is_not_held_back() -> None:
    async with Town() as town:
        (ada,) = await town.create("Ada")
        for number in range(8):
            town.gate.clear()
            asking = asyncio.create_task(town.ask(ada, "hold"))
            await town.until(lambda number=number: len(town.held) == 2 * number + 1)
            await town.kill(town.process_of(ada))
            await town.until(lambda number=number: len(town.held) == 2 * number + 2)
            town.gate.set()
            await asking
            assert not town.directory._activations.counts()["held_back"]


async def test_a_process_is_replaced_after_its_identities() -> None:
    async with Town(cap=1, spare=0, identities=2) as town:
        agents = await town.create(*(f"a{n}" for n in range(6)))
        for agent_id in agents:
            await town.ask(agent_id)
        assert town.directory._pool.counts()["started"] == 3


async def test_a_call_for_another_activation_is_answered_with_moved() -> None:
    async with Town() as town:
        (ada,) = await town.create("Ada")
        route = await town.handle.resolve(ada)
        with pytest.raises(Moved):
            await route.process.call("call", ada, route.epoch + 1, "view", ("state",), {}, timeout_s=60)
        with pytest.raises(Moved):
            await route.process.call("call", "agent-x", route.epoch, "view", ("state",), {}, timeout_s=60)


async def test_whoever_waits_for_a_deleted_agent_gets_an_error_and_its_process_is_free() -> None:
    async with Town() as town:
        asker, target = await town.create("a-1", "a-2")
        town.poisoned.append(target)
        asking = asyncio.create_task(town.ask(asker, "next"))
        await town.until(lambda: town.store.index.waits.edges())
        pending = Envelope(run_id="run-p", message_id="m", text="hello",
                           reply_to=ReplyTo(agent_id=asker, conversation_id="other", op_id="question"))
        row = NewRow(stream=inbox_stream(target), kind="message", data=pack(pending))
        await town.store.commit(Commit(op_id="question", author="client:x", epoch=UNFENCED, rows=(row,)))
        await town.handle.delete(target, op_id="d")
        await town.handle.delete(target, op_id="d")
        assert "a-2 was deleted" in (await asking).text
        replies = [r.data["in_reply_to"] for r in await town.store.read(inbox_stream(asker)) if r.kind == "reply"]
        assert "question" in replies
        with pytest.raises(AgentNotFound):
            await town.handle.resolve(target)


async def test_a_live_agent_that_is_deleted_leaves_its_process() -> None:
    async with Town() as town:
        (ada,) = await town.create("Ada")
        await town.ask(ada)
        await town.handle.delete(ada, op_id="d")
        assert town.live() == []
        with pytest.raises(AgentNotFound):
            await town.ask(ada)
        await town.create("Ada")


async def test_a_new_directory_finds_who_is_live_and_ends_the_processes_that_do_not_answer() -> None:
    async with Town(spare=1) as town:
        ada, bo = await town.create("Ada", "Bo")
        await town.ask(ada)
        await town.ask(bo)
        dead = town.process_of(bo)
        before = await town.handle.resolve(ada)
        await town.directory.stop()
        dead.kill()
        await town.open_directory()
        assert await town.handle.resolve(ada) == before
        assert dead.key not in town.processes
        assert (await town.ask(bo)).text == "Bo"


async def test_work_that_was_there_before_the_directory_is_pulled_at_its_start() -> None:
    async with Town() as town:
        (ada,) = await town.create("Ada")
        await town.directory.stop()
        town.ref.kill()
        run = await town.post(ada)
        await town.open_directory()
        await town.done(run)


async def test_an_older_directory_may_write_nothing_more() -> None:
    async with Town() as town:
        old = town.directory
        await old.stop()
        await town.open_directory()
        with pytest.raises(Exception, match="epoch"):
            await old.create([{"name": "Ada"}], op_id="late")
