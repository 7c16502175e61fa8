"""What an agent does with messages, memory and other agents; every promise here holds without Ray."""

import asyncio
import dataclasses

import pytest
from stage import Stage, calls, says

from repertory.actors.agent import Agent
from repertory.errors import Fenced, ModelRefused, ModelUnavailable, Moved, NotFound, OutcomeUnknown, RateLimited
from repertory.llm.protocol import ModelAnswer
from repertory.memory import events, tokens
from repertory.memory.agent_types import AgentType
from repertory.memory.fold import revive
from repertory.memory.journal import UNFENCED, Commit, NewRow
from repertory.memory.state import ToolSource
from repertory.messages import Outcome, ReplyTo, Usage

FAST = 20.0
ASKING = ("send_message", "send_message_to_agent_and_wait_for_reply")


async def until(condition):
    async with asyncio.timeout(FAST):
        while not condition():  # noqa: ASYNC110  # what it looks at has no event
            await asyncio.sleep(0.001)


def remembered(content, **more):
    return ("core_memory_append", {"thinking": "t", "label": "human", "content": content, "request_heartbeat": True,
                                   **more})


def asks(agent_id, text="what?"):
    return calls(("send_message_to_agent_and_wait_for_reply",
                  {"thinking": "t", "message": text, "other_agent_id": agent_id, "request_heartbeat": True}))


def last_user(request):
    return next(message.text for message in reversed(request.messages) if message.role == "user")


async def reloaded(stage, agent):
    return revive(agent.id, await stage.store.load(agent.id))


def assert_valid(messages):
    """Every call has its result right behind it, and no result stands alone."""
    open_calls = []
    for message in messages:
        if message.role == "tool":
            assert message.tool_call_id in open_calls
            open_calls.remove(message.tool_call_id)
        else:
            assert not open_calls, "a call without its result"
            open_calls = [call.id for call in message.tool_calls]
    assert not open_calls


async def test_an_agent_edits_its_memory_and_answers_in_one_turn():
    stage = Stage([calls(remembered("Name: Ada")), says("Hello Ada")])
    agent = await stage.live(await stage.create("a"))
    outcome = await stage.ask(agent, "I am Ada")
    assert (outcome.status, outcome.stop_reason, outcome.texts) == ("completed", "end_turn", ("Hello Ada",))
    assert agent.state.blocks["human"].value == "Name: Ada"
    assert_valid(agent.state.conversation("default").messages)
    assert await reloaded(stage, agent) == agent.state


async def test_the_model_sees_an_edit_as_a_note_and_the_system_message_stays():
    stage = Stage([calls(remembered("Name: Ada")), says("one"), says("two")])
    agent = await stage.live(await stage.create("a"))
    await stage.ask(agent, "I am Ada")
    await stage.ask(agent, "and now?")
    first, second, third = stage.model.asked
    assert first.messages[0].text == second.messages[0].text == third.messages[0].text
    assert "Name: Ada" in third.messages[-1].text
    assert third.messages[-1].role == "system"


async def test_a_failed_tool_gets_a_heartbeat_so_that_the_model_can_mend_it():
    wrong = ("core_memory_replace", {"thinking": "t", "label": "human", "old_content": "x", "new_content": "y",
                                     "request_heartbeat": False})
    stage = Stage([calls(wrong), says("mended")])
    agent = await stage.live(await stage.create("a"))
    assert (await stage.ask(agent, "go")).texts == ("mended",)
    assert stage.model.asked[1].messages[-1].failed


async def test_two_hundred_characters_too_many_change_nothing_and_say_so():
    stage = Stage([calls(remembered("x" * 2_200)), says("ok")])
    agent = await stage.live(await stage.create("a"))
    await stage.ask(agent, "go")
    result = stage.model.asked[1].messages[-1]
    assert result.failed
    assert "2200" in result.text.replace(",", "")
    assert "archival_memory_insert" in result.text
    assert agent.state.blocks["human"].value == ""


async def test_a_plain_answer_ends_the_turn_of_a_letta_v1_agent_and_tool_calls_continue_it():
    stage = Stage([calls(("memory_insert", {"label": "human", "new_string": "Ada"})), "Hello"])
    agent = await stage.live(await stage.create("a", agent_type="letta_v1"))
    assert (await stage.ask(agent, "I am Ada")).texts == ("Hello",)
    assert agent.state.blocks["human"].value.strip() == "Ada"
    assert "thinking" not in stage.model.asked[0].tools[0].parameters["properties"]


async def test_a_workflow_agent_starts_each_run_with_an_empty_window():
    stage = Stage(["one", "two"])
    agent = await stage.live(await stage.create("a", agent_type="workflow"))
    await stage.ask(agent, "first")
    await stage.ask(agent, "second")
    assert [message.text for message in stage.model.asked[1].messages if message.role == "user"] == ["second"]
    assert agent.state.conversation("default").messages == ()
    assert agent.state.conversation("default").evicted == 4
    assert await reloaded(stage, agent) == agent.state


async def test_the_same_op_id_delivers_a_message_once():
    stage = Stage(["one", "two"])
    agent = await stage.live(await stage.create("a", agent_type="react"))
    envelope = stage.envelope("hi")
    first, second = await asyncio.gather(agent.ask(envelope, "op", FAST), agent.ask(envelope, "op", FAST))
    assert first == second
    again = await stage.live("a")
    assert (await again.ask(envelope, "op", FAST)).texts == ("one",)
    assert len(stage.model.asked) <= 2
    assert len(again.state.conversation("default").messages) == 2


async def test_messages_are_done_one_after_the_other_in_the_order_of_the_journal():
    stage = Stage(lambda request: f"re: {last_user(request)}")
    agent = await stage.live(await stage.create("a", agent_type="react"))
    outcomes = await asyncio.gather(*(stage.ask(agent, f"m{number}") for number in range(8)))
    assert [outcome.texts for outcome in outcomes] == [(f"re: m{number}",) for number in range(8)]
    assert_valid(agent.state.conversation("default").messages)


async def test_conversations_run_side_by_side_and_share_the_memory():
    def script(request):
        acted = any(message.role == "tool" for message in request.messages[-2:])
        return says("done") if acted else calls(remembered(last_user(request)))

    stage = Stage(script)
    agent = await stage.live(await stage.create("a"))
    await asyncio.gather(*(stage.ask(agent, f"fact {number}", conversation_id=f"conv-{number}") for number in range(5)))
    assert sorted(agent.state.blocks["human"].value.split("\n")) == [f"fact {number}" for number in range(5)]
    assert await reloaded(stage, agent) == agent.state


async def test_p2_a_crash_behind_the_response_resumes_without_asking_the_model_again():
    stage = Stage([asks("b"), says("b says 42")])
    agent = await stage.live(await stage.create("a", tools=ASKING))
    await stage.create("b")
    envelope = stage.envelope("go")
    waiting = asyncio.ensure_future(agent.ask(envelope, "op", FAST))
    await until(lambda: stage.store.index.turns.get("a", {}).get("default") and
                stage.store.index.turns["a"]["default"].parked)
    await stage.crash("a")
    waiting.cancel()
    again = await stage.live("a")
    assert again.idle, "a turn that rests holds nothing"
    (row,) = await stage.store.read("inbox:b")
    reply_to = row.data["reply_to"]
    await stage.store.commit(Commit(op_id="reply", author="client:b", rows=(NewRow(
        stream="inbox:a", kind="reply", data={"in_reply_to": reply_to["op_id"], "conversation_id": "default",
                                              "agent_id": "b", "texts": ["42"], "error": ""}),)))
    outcome = await again.ask(envelope, "op", FAST)
    assert outcome.texts == ("b says 42",)
    assert len(stage.model.asked) == 2
    assert "42" in stage.model.asked[1].messages[-1].text
    assert_valid(again.state.conversation("default").messages)


async def test_p3_a_stale_activation_is_fenced_off_and_its_callers_are_sent_on():
    stage = Stage(lambda request: "hello")
    old = await stage.live(await stage.create("a", agent_type="react"))
    new = await stage.live("a")
    with pytest.raises((Fenced, Moved)):
        await stage.ask(old, "to the ghost")
    assert (await stage.ask(new, "to the living")).texts == ("hello",)
    assert [message.text for message in new.state.conversation("default").messages] == ["to the living", "hello"]


async def test_two_agents_talk_and_the_answer_goes_to_the_right_question():

    def script(request):
        if request.agent_id == "a":
            results = [m for m in request.messages if m.role == "tool"]
            return says(f"heard {results[-1].text}") if results else asks("b", "how are you?")
        return says(f"fine ({last_user(request)[-12:]})")

    stage = Stage(script)
    for name in ("a", "b"):
        await stage.live(await stage.create(name, tools=ASKING))
    outcome = await stage.ask(stage.agents["a"], "go")
    assert "fine (how are you?)" in outcome.text
    asked = [row for row in await stage.store.read("inbox:b") if row.kind == "message"]
    assert asked[0].data["sender"] == {"kind": "agent", "id": "a"}


async def test_p6_a_circle_of_waiting_agents_is_refused_and_named():
    following = {"a": "b", "b": "c", "c": "a"}

    def script(request):
        results = [m for m in request.messages if m.role == "tool"]
        return says(f"got {results[-1].text}") if results else asks(following[request.agent_id])

    stage = Stage(script)
    for name in following:
        await stage.live(await stage.create(name, tools=ASKING))
    outcome = await stage.ask(stage.agents["a"], "go")
    assert outcome.status == "completed"
    refused = next(m for m in stage.agents["c"].state.conversation("default").messages if m.role == "tool")
    assert "c, a, b would wait for each other" in refused.text
    assert not stage.store.index.waits.edges()


async def test_a_broadcast_by_tags_names_who_answered_and_who_is_unknown_to_it():
    tools = ("send_message", "send_message_to_agents_matching_tags")

    def script(request):
        if request.agent_id != "boss":
            return says(f"I am {request.agent_id}")
        results = [m for m in request.messages if m.role == "tool"]
        call = ("send_message_to_agents_matching_tags", {
            "thinking": "t", "message": "who?", "match_all": ["worker"], "match_some": [], "request_heartbeat": True})
        return says(results[-1].text) if results else calls(call)

    stage = Stage(script)
    for name in ("w1", "w2", "w3"):
        await stage.live(await stage.create(name, tags=("worker",), tools=tools))
    boss = await stage.live(await stage.create("boss", tools=tools))
    outcome = await stage.ask(boss, "ask all")
    assert all(f"I am w{number}" in outcome.text for number in (1, 2, 3))


async def test_an_unknown_receiver_is_an_error_that_the_model_can_read():
    stage = Stage([asks("nobody"), says("no such agent")])
    agent = await stage.live(await stage.create("a", tools=ASKING))
    assert (await stage.ask(agent, "go")).texts == ("no such agent",)
    assert "nobody" in stage.model.asked[1].messages[-1].text


async def test_an_async_message_goes_out_with_the_step_and_the_receiver_answers_nobody():
    post = ("send_message_to_agent_async", {"thinking": "t", "message": "news", "other_agent_id": "b",
                                            "request_heartbeat": True})

    def script(request):
        if request.agent_id == "b":
            return says("thanks")
        return says("sent") if any(m.role == "tool" for m in request.messages) else calls(post)

    stage = Stage(script)
    tools = ("send_message", "send_message_to_agent_async")
    for name in ("a", "b"):
        await stage.live(await stage.create(name, tools=tools))
    assert (await stage.ask(stage.agents["a"], "tell b")).texts == ("sent",)
    receiver = stage.agents["b"]
    await until(lambda: receiver.state.conversation("default").messages and receiver.idle)
    assert "news" in receiver.state.conversation("default").messages[0].text


async def test_p5_a_run_ends_at_its_deadline_although_the_model_hangs():
    stage = Stage(lambda request: "too late")
    agent = await stage.live(await stage.create("a", agent_type="react"))
    stage.model._delay_s = 3_600.0
    asking = asyncio.ensure_future(stage.ask(agent, "hello?", within_s=0.05))
    await until(lambda: stage.model.asked)
    stage.clock.time += 1.0
    outcome = await asyncio.wait_for(asking, FAST)
    assert (outcome.status, outcome.stop_reason) == ("failed", "deadline")
    assert await reloaded(stage, agent) == agent.state
    stage.model._delay_s = 0.0
    assert (await stage.ask(agent, "and now?")).status == "completed"


async def test_p5_a_cancelled_run_ends_at_once_and_the_next_one_works():
    stage = Stage(lambda request: "hm")
    agent = await stage.live(await stage.create("a", agent_type="react"))
    stage.model._delay_s = 3_600.0
    envelope = stage.envelope("think long")
    asking = asyncio.ensure_future(agent.ask(envelope, "op", FAST))
    await until(lambda: stage.model.asked and envelope.run_id in stage.store.index.runs)
    outcome = await agent.cancel(envelope.run_id)
    assert outcome.status == "cancelled"
    assert await asking == outcome
    assert await agent.cancel(envelope.run_id) == outcome
    stage.model._delay_s = 0.0
    assert (await stage.ask(agent, "again")).texts == ("hm",)
    assert not stage.store.index.inboxes


async def test_p5_the_model_is_down_and_the_run_says_so():
    stage = Stage(lambda request: ModelUnavailable("it is down"))
    agent = await stage.live(await stage.create("a", agent_type="react", deadline_s=2.0))
    outcome = await stage.ask(agent, "hello?")
    assert outcome.status == "failed"
    assert outcome.stop_reason in ("model_error", "deadline")


async def test_a_turn_stops_at_its_last_step():
    stage = Stage(lambda request: calls(remembered("x")))
    agent = await stage.live(await stage.create("a"))
    outcome = await stage.ask(agent, "go on and on", max_steps=3)
    assert (outcome.status, outcome.stop_reason) == ("completed", "max_steps")
    assert len(stage.model.asked) == 3


async def test_p7_a_small_window_never_overflows_and_what_is_evicted_is_summarised():
    stage = Stage(lambda request: "a summary of it all" if request.messages[0].id == "summarizer" else "yes " * 30,
                  window=1_200)
    agent = await stage.live(await stage.create("a", agent_type="react"))
    for number in range(40):
        assert (await stage.ask(agent, f"question {number} " + "word " * 30)).status == "completed"
    for request in stage.model.asked:
        assert tokens.of_messages(request.messages) + tokens.of_tools(request.tools) <= 1_200
    conversation = agent.state.conversation("default")
    assert conversation.summary == "a summary of it all"
    assert conversation.evicted + len(conversation.messages) == 80
    assert "a summary of it all" in stage.model.asked[-1].messages[0].text
    assert await reloaded(stage, agent) == agent.state


async def test_p7_a_model_that_cannot_summarise_bricks_nobody():
    stage = Stage(lambda request: ModelRefused("no") if request.messages[0].id == "summarizer" else "yes " * 30,
                  window=1_200)
    agent = await stage.live(await stage.create("a", agent_type="react"))
    for number in range(12):
        assert (await stage.ask(agent, f"question {number} " + "word " * 40)).status == "completed"
    assert "question" in agent.state.conversation("default").summary


async def test_p7_a_single_message_longer_than_the_window_is_clamped_in_the_request_only():
    stage = Stage(lambda request: "ok", window=1_200)
    agent = await stage.live(await stage.create("a", agent_type="react"))
    long = "start " + "x" * 50_000 + " end"
    assert (await stage.ask(agent, long)).status == "completed"
    sent = stage.model.asked[-1].messages[-1].text
    assert "characters are left out" in sent
    assert len(sent) < 5_000
    assert agent.state.conversation("default").messages[0].text == long


async def test_a_system_prompt_that_fills_the_window_fails_with_a_word_on_what_to_do():
    stage = Stage(lambda request: "ok", window=1_200)
    agent = await stage.live(await stage.create("a", agent_type="react", system="rule " * 2_000))
    outcome = await stage.ask(agent, "hi")
    assert (outcome.status, outcome.stop_reason) == ("failed", "context_too_long")
    assert "context_window" in outcome.error


async def test_a_final_answer_of_a_form_is_checked_and_may_be_repaired():
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    stage = Stage(["Ada is 36", calls(("final_answer", {"age": "old"})), calls(("final_answer", {"age": 36}))])
    agent = await stage.live(await stage.create("a", agent_type="react"))
    outcome = await stage.ask(agent, "how old?", returns=schema)
    assert (outcome.status, outcome.value) == ("completed", {"age": 36})
    assert stage.model.asked[1].tool_choice == "final_answer"


async def test_a_final_answer_that_never_fits_ends_the_run_by_name():
    stage = Stage(lambda request: "I had rather not")
    agent = await stage.live(await stage.create("a", agent_type="react"))
    outcome = await stage.ask(agent, "how old?", returns={"type": "integer"})
    assert (outcome.status, outcome.stop_reason) == ("failed", "answer_invalid")
    assert len(stage.model.asked) == 4


async def test_a_custom_tool_runs_in_the_sandbox_behind_its_response_row():
    stage = Stage([calls(("add", {"a": 1, "b": 2})), "it is 3"])
    stage.tools.functions["add"] = lambda a, b: str(a + b)
    tool = ToolSource(name="add", description="Adds.", source="def add(a, b): return a + b", parameters={
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]})
    agent = await stage.live(await stage.create("a", agent_type="react", custom_tools=(tool,)))
    assert (await stage.ask(agent, "1 + 2?")).texts == ("it is 3",)
    kinds = [row.kind for row in await stage.store.read("agent:a")]
    assert kinds == ["activated", "response", "step", "step"]
    assert stage.tools.ran[0][0] == "add"


async def test_p5_a_tool_gets_what_is_left_of_the_deadline_when_it_begins():
    stage = Stage([calls(("dig", {}), ("dig", {})), "done"])

    def dig():
        stage.clock.time += 6.0
        return "deep"

    stage.tools.functions["dig"] = dig
    tool = ToolSource(name="dig", description="Digs.", source="def dig(): ...", parameters={"type": "object"})
    agent = await stage.live(await stage.create("a", agent_type="react", custom_tools=(tool,), deadline_s=10.0))
    assert (await stage.ask(agent, "dig twice")).stop_reason == "deadline"
    assert stage.tools.given_s == [10.0, 4.0]


async def test_p8_a_missing_sandbox_is_an_error_and_not_a_fall_back():
    stage = Stage([calls(("add", {})), "I could not"])
    tool = ToolSource(name="add", description="Adds.", source="def add(): ...", parameters={"type": "object"})
    agent = await stage.live(await stage.create("a", agent_type="react", custom_tools=(tool,)))
    await stage.ask(agent, "go")
    assert stage.model.asked[1].messages[-1].failed
    assert "sandbox" in stage.model.asked[1].messages[-1].text


async def test_shared_blocks_are_seen_by_all_and_edits_of_others_are_announced():
    def script(request):
        if request.agent_id == "a" and not any(m.role == "tool" for m in request.messages):
            return calls(("core_memory_append", {"thinking": "t", "label": "plan", "content": "a was here",
                                                 "request_heartbeat": True}))
        return says("ok")

    stage = Stage(script)
    made = await stage.blocks.create("plan", "Start", op_id="make", by="test")
    for name in ("a", "b"):
        await stage.live(await stage.create(name, shared=(made.block_id,)))
    await stage.ask(stage.agents["b"], "look")
    await stage.ask(stage.agents["a"], "write")
    await stage.ask(stage.agents["b"], "look again")
    note = stage.model.asked[-1].messages[-1].text
    assert "a was here" in note
    assert "by a" in note
    assert (await stage.blocks.read(made.block_id)).value == "Start\na was here"
    assert stage.agents["a"].state.blocks["plan"].version == 2


async def test_edits_from_outside_are_committed_once_and_recompile_the_system_message():
    stage = Stage(lambda request: says("ok"))
    agent = await stage.live(await stage.create("a"))
    await stage.ask(agent, "hi")
    change = {"set_block": {"label": "rules", "value": "Be kind."}, "by": "boss"}
    await agent.edit("e1", change)
    assert (await agent.edit("e1", change)) == {"replayed": True}
    await stage.ask(agent, "hi again")
    assert "Be kind." in stage.model.asked[-1].messages[0].text
    assert await reloaded(stage, agent) == agent.state


async def test_snapshots_keep_loading_short_and_say_the_same():
    stage = Stage(lambda request: "ok")
    agent = await stage.live(await stage.create("a", agent_type="react"))
    for number in range(70):
        await stage.ask(agent, f"m{number}")
    await until(lambda: len(stage.store.index.agents["a"].events) < 40)
    assert stage.store.index.agents["a"].snapshot_seq
    assert await reloaded(stage, agent) == agent.state


async def test_an_agent_at_rest_takes_nothing_new_and_leaves_nothing_behind():
    stage = Stage(lambda request: "ok")
    agent = await stage.live(await stage.create("a", agent_type="react"))
    await stage.ask(agent, "hi")
    assert agent.idle
    assert await agent.rest(FAST)
    with pytest.raises(Moved):
        await stage.ask(agent, "too late")
    await agent.stop()
    assert not agent._tasks


async def test_a_listener_hears_pieces_calls_results_and_the_end():
    stage = Stage([calls(remembered("Name: Ada")), says("Hello")])
    agent = await stage.live(await stage.create("a"))
    envelope = stage.envelope("I am Ada")
    asking = asyncio.ensure_future(agent.ask(envelope, "op", FAST, stream=True))
    heard = []
    while not heard or heard[-1]["kind"] != "end":
        heard += await agent.events(envelope.run_id, heard[-1]["n"] if heard else 0, FAST)
    await asking
    kinds = [event["kind"] for event in heard]
    assert [event["n"] for event in heard] == list(range(1, len(heard) + 1))
    assert "result" in kinds
    assert [event["text"] for event in heard if event["kind"] == "said"] == ["Hello"]


async def test_unknown_agents_and_views_are_refused_by_name():
    stage = Stage(["x"])
    with pytest.raises(NotFound, match="nobody"):
        await stage.live("nobody")
    agent = await stage.live(await stage.create("a"))
    with pytest.raises(ValueError, match="there is no view"):
        await agent.view("soul")
    assert (await agent.view("context"))["tokens"]["window"] == 32_000


async def test_usage_is_added_up_over_the_steps_of_a_run():
    cost = Usage(input_tokens=10, output_tokens=5, requests=1)
    answers = (calls(remembered("x")), says("ok"))
    stage = Stage([dataclasses.replace(answer, usage=cost) for answer in answers])
    agent = await stage.live(await stage.create("a"))
    assert (await stage.ask(agent, "hi")).usage == Usage(input_tokens=20, output_tokens=10, requests=2)


async def test_a_cut_off_answer_is_kept_and_named():
    stage = Stage([ModelAnswer(text="It was a dark and", finish="length")])
    agent = await stage.live(await stage.create("a", agent_type="react"))
    outcome = await stage.ask(agent, "tell me a story")
    assert (outcome.status, outcome.stop_reason, outcome.text) == ("completed", "max_tokens", "It was a dark and")


async def test_a_rate_limit_passes_and_the_answer_comes():
    stage = Stage([RateLimited("slow down", retry_after_s=0.01), "here"])
    agent = await stage.live(await stage.create("a", agent_type="react"))
    assert (await stage.ask(agent, "hi")).texts == ("here",)


async def test_p5_a_run_that_waits_behind_a_long_one_ends_at_its_own_deadline_or_cancel():
    stage = Stage(lambda request: "hm")
    agent = await stage.live(await stage.create("a", agent_type="react"))
    stage.model._delay_s = 3_600.0
    long = asyncio.ensure_future(stage.ask(agent, "think long"))
    await until(lambda: stage.model.asked)
    late = asyncio.ensure_future(stage.ask(agent, "quick!", within_s=5.0))
    unwanted = stage.envelope("never mind")
    waiting = asyncio.ensure_future(agent.ask(unwanted, "op", FAST))
    await until(lambda: len(agent.arrivals.messages) == 3)
    assert (await agent.cancel(unwanted.run_id)).status == "cancelled"
    assert (await waiting).status == "cancelled"
    stage.clock.time += 6.0
    await agent.nudge()
    assert (await late).stop_reason == "deadline"
    assert not long.done()
    assert [run["status"] for run in await stage.store.ask("runs")] == ["cancelled", "failed", "created"]
    await stage.close()
    assert await reloaded(stage, agent) == agent.state


async def test_p5_a_mistake_in_a_users_agent_type_ends_the_run_by_name_and_not_the_agent():
    def broken(state, conversation, prompt, now):
        raise ZeroDivisionError("oh")

    stage = Stage(lambda request: "fine", types=[AgentType(name="odd", prompt="x", compile=broken)])
    agent = await stage.live(await stage.create("a", agent_type="odd"))
    outcome = await stage.ask(agent, "hi")
    assert (outcome.status, outcome.stop_reason, outcome.error) == ("failed", "error", "ZeroDivisionError: oh")
    await agent.edit("mend", {"spec": {"agent_type": "react"}})
    assert (await stage.ask(agent, "hi again")).texts == ("fine",)


async def test_p3_a_fenced_agent_says_so_when_it_is_nudged_so_that_nobody_counts_on_it():
    stage = Stage(lambda request: "hello")
    old = await stage.live(await stage.create("a", agent_type="react"))
    await stage.live("a")
    with pytest.raises((Fenced, Moved)):
        await stage.ask(old, "to the ghost")
    await until(lambda: old.lanes.fenced)
    with pytest.raises(Fenced):
        await old.nudge()


async def test_p5_an_agent_that_is_live_only_briefly_ends_what_is_late_and_takes_nothing():
    stage = Stage(lambda request: says("fine"))
    await stage.create("a")
    for text, within_s in (("first", None), ("second", 5.0), ("third", None)):
        envelope = stage.envelope(text, within_s=within_s)
        await stage.store.commit(Commit(op_id=text, author="client:test", epoch=UNFENCED,
                                        rows=(events.message("a", envelope),)))
    stage.clock.time += 6.0
    agent = Agent("a", stage.surroundings)
    await agent.start(briefly=True)
    assert {run["status"] for run in await stage.store.ask("runs", active=True)} == {"created"}
    assert [run["status"] for run in await stage.store.ask("runs")] == ["created", "failed", "created"]
    with pytest.raises(Moved):
        await stage.ask(agent, "fourth")
    assert await agent.rest(5.0)
    await agent.stop()
    assert stage.model.asked == []
    await stage.live("a")
    await until(lambda: len(stage.model.asked) == 2)
    await stage.close()


async def test_p1_a_reply_that_was_settled_by_a_step_whose_answer_got_lost_is_not_settled_again():
    stage = Stage(lambda request: asks("b") if len(stage.model.asked) == 1 else says("done"))
    asker = await stage.live(await stage.create("a", tools=ASKING))
    await stage.create("b")
    asking = asyncio.create_task(stage.ask(asker, "ask b"))
    await until(lambda: asker.state.conversation("default").turn and asker.state.conversation("default").turn.questions)
    commit, lost = stage.store.commit, []

    async def forgetful(new):
        done = await commit(new)
        if new.op_id.endswith("/step") and not lost:
            lost.append(new)
            raise OutcomeUnknown("the answer got lost")
        return done

    stage.store.commit = forgetful
    (question,) = asker.state.conversation("default").turn.questions
    reply = events.reply(ReplyTo(agent_id="a", conversation_id="default", op_id=question.op_id),
                         Outcome(run_id="r", agent_id="b", status="completed", texts=("yes",)))
    await commit(Commit(op_id="reply", author="client:test", epoch=UNFENCED, rows=(reply,)))
    assert (await asyncio.wait_for(asking, FAST)).texts == ("done",)
    await asker.nudge()
    assert lost
    settled = [seq for row in await stage.store.read("agent:a") for seq in row.data.get("consumed", ())]
    assert len(settled) == len(set(settled)) == 2
    await stage.close()
