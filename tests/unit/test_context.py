"""What the model sees, and how it is made to fit."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from repertory.memory import compaction, tokens
from repertory.memory.agent_types import builtin_types, default_prompt
from repertory.memory.block import Block
from repertory.memory.compaction import Budget, cut, fit, plain_summary, summary_request
from repertory.memory.context import clamp, compile_plain, compile_with_memory, compiled, notes, opening
from repertory.memory.state import AgentSpec, AgentState, Change, Conversation
from repertory.messages import Message, ToolCall

NOW = 1_800_000_000.0


def state(**blocks):
    made = (Block(label=label, value=value, description=f"about {label}") for label, value in blocks.items())
    return AgentState.born("agent-1", AgentSpec(blocks=tuple(made)))


def text(role, content, number=0, **more):
    return Message(id=f"{role}-{number}-{len(content)}", role=role, text=content, **more)


def test_the_system_message_shows_blocks_with_counts_and_limits_and_what_lies_outside():
    agent = dataclasses.replace(state(human="Name: Ada"), passages=3, tags={"b": 1, "a": 2}, memory_changed_at=NOW)
    shown = compile_with_memory(agent, Conversation(evicted=12, summary="We met."), "You are kind.", NOW)
    assert shown.startswith("You are kind.")
    for part in ("<human>", "about human", "- chars_current=9", "- chars_limit=2000", "Name: Ada",
                 "- 12 previous messages", "- 3 total memories", "tags: a, b", "Memory last changed", "We met."):
        assert part in shown


def test_a_prompt_may_say_where_the_memory_goes():
    shown = compile_with_memory(state(human="x"), Conversation(), "Before {CORE_MEMORY} after", NOW)
    assert shown.startswith("Before <memory_blocks>")
    assert shown.endswith(" after")


def test_an_agent_without_memory_tools_sees_its_prompt_alone():
    assert compile_plain(state(), Conversation(), "Work.", NOW) == "Work."


def test_changes_since_the_system_message_are_told_with_time_and_author():
    before = state(human="one", plan="a\nb", old="x")
    shown = compiled("…", before, NOW)
    assert notes(before, shown) == ""
    later = dataclasses.replace(
        before, changes={"human": Change(at=NOW, by="agent-2")},
        blocks={**{k: v for k, v in before.blocks.items() if k != "old"},
                "human": dataclasses.replace(before.blocks["human"], value="one\ntwo"),
                "plan": dataclasses.replace(before.blocks["plan"], value="c")})
    told = notes(later, shown)
    assert "by agent-2" in told
    assert "added at its end: two" in told
    assert "its value is now:\nc" in told
    assert "old: this block is gone" in told


def test_a_window_never_begins_with_a_result_without_its_call_or_with_the_agents_own_words():
    messages = (text("tool", "42", tool_call_id="c"), text("assistant", "so it is 42"), text("user", "thanks"))
    assert [message.role for message in opening(messages)] == ["user", "assistant", "user"]
    assert opening(()) == ()


def test_clamping_keeps_both_ends_and_says_how_much_is_missing():
    long = text("user", "start" + "x" * 10_000 + "end")
    short = clamp(long, 1_000)
    assert short.text.startswith("start")
    assert short.text.endswith("end")
    assert "9008 characters are left out" in short.text
    call = Message(id="c", role="assistant", tool_calls=(ToolCall(id="1", name="f", arguments={"a": "y" * 5_000}),))
    assert len(clamp(call, 500).tool_calls[0].arguments["a"]) < 700


turns = st.lists(st.tuples(st.integers(1, 2_000), st.integers(0, 3), st.integers(1, 4_000)), min_size=1, max_size=30)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(turns, st.integers(300, 4_000))
def test_p7_whatever_the_history_what_is_left_fits_and_is_valid(shape, room):
    messages = []
    for asked, used, answered in shape:
        messages.append(text("user", "u" * asked, len(messages)))
        for number in range(used):
            call = ToolCall(id=f"c{len(messages)}", name="search", arguments={"query": "q" * (asked % 50)})
            messages.append(Message(id=f"a{len(messages)}", role="assistant", tool_calls=(call,)))
            messages.append(text("tool", "r" * answered, number, tool_call_id=call.id))
        messages.append(text("assistant", "a" * answered, len(messages)))
    budget = Budget(window=int(room / compaction.FULL) + 1, fixed=0, answer=0)
    evicted = cut(tuple(messages), budget, len(messages) - 1)
    kept = tuple(messages[evicted:])
    assert kept
    assert kept[0].role != "tool"
    fitted, count = fit(kept, budget)
    assert len(fitted) == len(kept)
    assert count == tokens.of_messages(fitted)
    assert count <= max(budget.room, sum(
        tokens.of_message(dataclasses.replace(m, text="")) + compaction.LEAST_CHARS for m in fitted))
    if sum(map(tokens.of_message, messages)) <= budget.room:
        assert evicted == 0


def test_the_running_turn_is_cut_into_only_when_it_must_be():
    old, new = text("user", "o" * 4_000), text("user", "n" * 400)
    assert cut((old, text("assistant", "a" * 4_000), new), Budget(window=1_000, fixed=0, answer=0), 2) == 2


def test_a_summary_without_a_model_keeps_the_newest_and_its_limit():
    said = tuple(text("user", f"sentence {number} " + "x" * 100) for number in range(100))
    summary = plain_summary("We met in May.", said)
    assert len(summary) <= compaction.SUMMARY_LIMIT_CHARS
    assert summary.startswith("We met in May.")
    assert "sentence 99" in summary
    system, question = summary_request("Summarise.", "We met.", said, 1_000)
    assert tokens.of_messages((system, question)) <= 1_000
    assert question.text.startswith("Summary so far:\nWe met.")


def test_every_kind_has_a_prompt_of_its_own_and_the_versions_are_kept_out_of_it():
    kinds = builtin_types()
    assert list(kinds) == ["memgpt", "letta_v1", "react", "workflow"]
    assert len({kind.prompt for kind in kinds.values()}) == 4
    for name in (*kinds, "summarizer"):
        assert not default_prompt(name).startswith("version")


def test_other_scripts_count_for_more():
    assert tokens.of_text("abcd" * 10) == 10
    assert tokens.of_text("記憶" * 10) > tokens.of_text("ab" * 10)
