"""The offline model: it follows its rules, always alike, and never says that it is more than that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from provider_conformance import ProviderConformance, assistant, request, user
from wire.server import DIRECTIVE, sample_of

from repertory.errors import ContextTooLong
from repertory.llm.offline import IDENTITY, OfflineModel, respond
from repertory.llm.offline_reading import rank, sentences
from repertory.llm.offline_tasks import NOTHING_FOUND, NOTHING_IN_TEXT
from repertory.llm.protocol import ModelAnswer, ModelRequest, Provider, ToolSpec
from repertory.llm.scripted import Scripted
from repertory.messages import Message, ToolCall, Usage

PROMPTS = Path(__file__).resolve().parents[2] / "src" / "repertory" / "prompts"


def tool(name: str, *wanted: str, inner: bool = False, **typed: str) -> ToolSpec:
    kinds = dict.fromkeys(wanted, "string") | typed
    if inner:
        kinds |= {"thinking": "string", "request_heartbeat": "boolean"}
    properties = {key: {"type": kind} for key, kind in kinds.items()}
    schema = {"type": "object", "properties": properties, "required": list(kinds)}
    return ToolSpec(name=name, description="", parameters=schema)


SEND = tool("send_message", "message", inner=True)
APPEND = tool("core_memory_append", "label", "content", inner=True)
REPLACE = tool("core_memory_replace", "label", "old_content", "new_content", inner=True)
INSERT = tool("memory_insert", "label", "new_string", insert_line="integer")
SWAP = tool("memory_replace", "label", "old_string", "new_string")
KEEP = tool("archival_memory_insert", "content")
ARCHIVE = tool("archival_memory_search", "query")
RECALL = tool("conversation_search", "query")
ASK = tool("send_message_to_agent_and_wait_for_reply", "message", "other_agent_id")
TELL = tool("send_message_to_agent_async", "message", "other_agent_id")
BROADCAST = tool("send_message_to_agents_matching_tags", "message", match_all="array", match_some="array")
MEMGPT = (SEND, APPEND, REPLACE, RECALL, ARCHIVE, KEEP)
LETTA = (INSERT, SWAP, RECALL)


def block(label: str, value: str, limit: int = 2_000, read_only: bool = False) -> str:
    facts = ("- read_only=true\n" if read_only else "") + f"- chars_current={len(value)}\n- chars_limit={limit}"
    return (
        f"<{label}>\n<description>\nabout {label}\n</description>\n<metadata>\n{facts}\n</metadata>\n"
        f"<value>\n{value}\n</value>\n</{label}>"
    )


def system(*blocks: str) -> Message:
    inside = "\n".join(blocks)
    text = f"You are an agent.\n\n<memory_blocks>\nYour memory.\n\n{inside}\n</memory_blocks>"
    return Message(id="system", role="system", text=text)


HUMAN = system(
    block("persona", "I am a librarian."),
    block("human", "The user's name is Chad.\nmy favourite colour is green\nHe lives in Berlin."),
)


def ask(text: str, *more: Message, tools: tuple[ToolSpec, ...] = (), head: Message = HUMAN, **rest: Any) -> ModelAnswer:
    messages = (head, user(text), *more)
    return respond(ModelRequest(request_id="r", model="offline/rules", messages=messages, tools=tools, **rest))


def after(answer: ModelAnswer, *results: str, failed: bool = False) -> tuple[Message, ...]:
    """The answer as part of the conversation, with the results of its calls."""
    said = Message(id="a", role="assistant", text=answer.text, tool_calls=answer.tool_calls)
    returned = [
        Message(id=f"t{n}", role="tool", text=text, tool_call_id=call.id, tool_name=call.name, failed=failed)
        for n, (call, text) in enumerate(zip(answer.tool_calls, results, strict=True))
    ]
    return (said, *returned)


def only_call(answer: ModelAnswer) -> ToolCall:
    assert len(answer.tool_calls) == 1
    return answer.tool_calls[0]


def said(answer: ModelAnswer) -> str:
    call = only_call(answer)
    assert call.name == "send_message"
    assert call.arguments["request_heartbeat"] is False
    assert call.arguments["thinking"]
    return str(call.arguments["message"])


class TestOffline(ProviderConformance):
    handle = "offline/rules"

    @pytest.fixture
    def provider(self) -> Provider:
        return OfflineModel()


class TestScripted(ProviderConformance):
    @pytest.fixture
    def provider(self) -> Provider:
        return Scripted(_well_behaved)


def _well_behaved(asked: ModelRequest) -> ModelAnswer:
    usage = Usage(input_tokens=1, output_tokens=1, requests=1)
    last = max(n for n, message in enumerate(asked.messages) if message.role == "user")
    text = asked.messages[last].text
    calls = tuple(
        ToolCall(id=f"c{n}", name=name, arguments=json.loads(given))
        for n, (name, given) in enumerate(DIRECTIVE.findall(text))
    )
    if calls and not any(message.role == "tool" for message in asked.messages[last:]):
        return ModelAnswer(tool_calls=calls, finish="tool_calls", usage=usage)
    if asked.returns is not None:
        return ModelAnswer(text=json.dumps(sample_of(asked.returns)), usage=usage)
    return ModelAnswer(text=f"ok: {text}", usage=usage)


def test_the_same_request_always_gets_the_same_answer() -> None:
    assert ask("Remember that tea is hot", tools=MEMGPT) == ask("Remember that tea is hot", tools=MEMGPT)


@pytest.mark.parametrize("question", ["Who are you?", "what are you", "Are you a language model?", "Are you human?"])
def test_it_says_what_it_is(question: str) -> None:
    assert ask(question).text == IDENTITY
    assert "not a language model" in said(ask(question, tools=MEMGPT))


def test_remember_edits_memory_and_then_confirms_through_send_message() -> None:
    first = ask("Please remember that my dog is called Rex.", tools=MEMGPT)
    call = only_call(first)
    assert call.name == "core_memory_append"
    assert call.arguments["label"] == "human"
    assert call.arguments["content"] == "my dog is called Rex."
    assert call.arguments["request_heartbeat"] is True
    text = said(ask("Please remember that my dog is called Rex.", *after(first, "new value"), tools=MEMGPT))
    assert "my dog is called Rex" in text


def test_with_the_newer_tools_it_inserts_a_line_and_answers_in_plain_text() -> None:
    first = ask("My name is Ada Lovelace, hello!", tools=LETTA)
    assert only_call(first).name == "memory_insert"
    assert only_call(first).arguments == {
        "label": "human", "new_string": "The user's name is Ada Lovelace.", "insert_line": -1
    }  # fmt: skip
    second = ask("My name is Ada Lovelace, hello!", *after(first, "new value"), tools=LETTA)
    assert second.tool_calls == ()
    assert "Ada Lovelace" in second.text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Good morning! Can you remember that I like tea?", "I like tea?"),
        ("My name is kim and I sail. Please remember: I like tea.", "The user's name is kim.\nI like tea."),
        ("The weather is fine. Remember that I like tea.", "I like tea."),
        ("Call me Ishmael.", "The user's name is Ishmael."),
        ("Remember my name is Kim", "my name is Kim"),
    ],
)
def test_facts_are_found_in_what_people_say(text: str, kept: str) -> None:
    assert only_call(ask(text, tools=LETTA)).arguments["new_string"] == kept


@pytest.mark.parametrize("text", ["Do you remember my name?", "Remember my name?", "Is my name Kim?", "call me later"])
def test_not_everything_with_these_words_is_a_fact(text: str) -> None:
    assert not [call for call in ask(text, tools=LETTA).tool_calls if call.name == "memory_insert"]


def test_what_it_knows_already_is_not_written_twice() -> None:
    assert "already" in ask("Remember that my favourite colour is green", tools=LETTA).text


def test_asked_what_it_knows_it_quotes_its_blocks_but_for_its_persona() -> None:
    text = ask("What do you know about me?", tools=LETTA).text
    assert "Chad" in text
    assert "Berlin" in text
    assert "librarian" not in text


def test_a_named_block_is_used_and_a_read_only_one_is_not() -> None:
    head = system(block("human", "x", read_only=True), block("team", "y"), block("notes", "z"))
    assert only_call(ask("Remember in notes: the build is red", tools=LETTA, head=head)).arguments["label"] == "notes"
    assert only_call(ask("Remember that the build is red", tools=LETTA, head=head)).arguments["label"] == "team"


def test_what_does_not_fit_the_block_goes_to_the_archive() -> None:
    full = system(block("human", "x" * 95, limit=100))
    assert only_call(ask("Remember that tea is hot", tools=MEMGPT, head=full)).name == "archival_memory_insert"
    assert only_call(ask(f"Remember: {'long ' * 100}", tools=MEMGPT)).name == "archival_memory_insert"
    first = ask("Remember that tea is hot", tools=MEMGPT)
    refused = after(first, "limit exceeded", failed=True)
    assert only_call(ask("Remember that tea is hot", *refused, tools=MEMGPT)).name == "archival_memory_insert"


def test_it_does_not_claim_to_have_kept_what_was_refused() -> None:
    first = ask("Remember that tea is hot", tools=LETTA)
    text = ask("Remember that tea is hot", *after(first, "read-only", failed=True), tools=LETTA).text
    assert "could not" in text
    assert "read-only" in text
    assert "no tool" in ask("Remember that tea is hot").text


@pytest.mark.parametrize(
    ("question", "quoted", "left_out"),
    [
        ("What is my name?", "Chad", "Berlin"),
        ("What's my favorite color?", "green", "Chad"),
        ("Where does he live?", "Berlin", "green"),
        ("tell me my name", "Chad", "green"),
    ],
)
def test_a_question_is_answered_from_memory_with_its_source(question: str, quoted: str, left_out: str) -> None:
    text = said(ask(question, tools=MEMGPT))
    assert quoted in text
    assert left_out not in text
    assert "memory block 'human'" in text


def test_what_was_said_before_counts_too() -> None:
    text = ask("Which city do I work in?", head=HUMAN).text
    assert "nothing" in text
    messages = (HUMAN, user("I work in Oslo, a nice city."), assistant("Good."), user("Which city do I work in?"))
    answer = respond(ModelRequest(request_id="r", model="offline/rules", messages=messages))
    assert "Oslo" in answer.text
    assert "what you told me" in answer.text


def test_a_question_that_memory_does_not_answer_is_searched_for_step_by_step() -> None:
    question = "What is my dog called?"
    head = system(block("human", "Likes tea."))
    first = ask(question, tools=MEMGPT, head=head)
    assert only_call(first).name == "archival_memory_search"
    assert "dog" in only_call(first).arguments["query"]
    more = after(first, "[]")
    second = ask(question, *more, tools=MEMGPT, head=head)
    assert only_call(second).name == "conversation_search"
    hits = {"message": "Showing 2 results:", "results": [
        {"role": "user", "content": "What is my dog called?"}, {"role": "user", "content": "My dog is called Rex."},
    ]}  # fmt: skip
    text = said(ask(question, *more, *after(second, json.dumps(hits)), tools=MEMGPT, head=head))
    assert '"My dog is called Rex." (from our earlier conversation)' in text
    none = after(second, json.dumps({"message": "No results found.", "results": []}))
    assert "know nothing" in said(ask(question, *more, *none, tools=MEMGPT, head=head))


def test_a_passage_is_quoted_from_the_archive() -> None:
    first = ask("When was the bridge built?", tools=MEMGPT, head=system(block("human", "")))
    passages = json.dumps([{"id": "p", "timestamp": "t", "content": "The bridge was built in 1911.", "tags": []}])
    more = after(first, passages)
    assert "1911" in said(ask("When was the bridge built?", *more, tools=MEMGPT, head=system(block("human", ""))))


def test_notes_on_changed_memory_supersede_the_system_message() -> None:
    notes = Message(
        id="memory-notes",
        role="system",
        text="[Memory has changed since the system message was written. This supersedes it:]\n"
        "- human (2026-11-26 04:30 PM UTC+0000, by you), now 30/2000 characters; its value is now:\nLives in Paris.\n"
        "- persona, now 30/2000 characters; added at its end: I like maps.",
    )
    assert "Paris" in ask("Where does he live?", notes).text
    assert "Berlin" not in ask("Where does he live?", notes).text
    assert "maps" in ask("Do you like maps?", notes).text


def test_replace_and_forget_edit_the_block_that_holds_it() -> None:
    call = only_call(ask("Replace berlin by Paris.", tools=MEMGPT))
    assert (call.name, call.arguments["old_content"], call.arguments["new_content"]) == (
        "core_memory_replace", "Berlin", "Paris",
    )  # fmt: skip
    call = only_call(ask("Forget my favourite colour", tools=LETTA))
    assert call.name == "memory_replace"
    assert (call.arguments["old_string"], call.arguments["new_string"]) == ("my favourite colour is green", "")
    assert "nothing to forget" in ask("Forget my shoe size", tools=LETTA).text
    assert "does not contain" in ask("Replace London by Paris", tools=LETTA).text


TEXT = """# The bridge

The Stone Bridge crosses the river Main. It was built in 1911 by Dr. Ellen Smith and
her two sons. Cars may not use it.

- The bridge is closed at night.
- It opens at 6 a.m. in summer.
"""


def test_the_sentences_that_answer_are_extracted_as_they_stand() -> None:
    prompt = f"From the text below, extract the sentences that answer: When was the bridge built?\n\n{TEXT}"
    assert ask(prompt).text == "It was built in 1911 by Dr. Ellen Smith and her two sons."
    prompt = f"From the text below, extract the sentences that answer: When does the bridge close?\n\n{TEXT}"
    assert ask(prompt).text.splitlines()[0] == "The bridge is closed at night."
    prompt = f"From the text below, extract the sentences that answer: Who won the election?\n\n{TEXT}"
    assert ask(prompt).text == NOTHING_IN_TEXT


def test_findings_are_merged_with_their_sources_best_first() -> None:
    prompt = (
        "Merge these findings into one answer to the question: When was the bridge built?\n"
        "[c.txt] The bridge is closed at night.\n"
        f"[b.txt] {NOTHING_IN_TEXT}\n"
        "[a.txt] The bridge was built in 1911.\n"
        "[a.txt] The bridge was built in 1911.\n"
    )
    assert ask(prompt).text.splitlines()[0] == "[a.txt] The bridge was built in 1911."
    assert ask(prompt).text.count("1911") == 1
    assert NOTHING_IN_TEXT not in ask(prompt).text
    assert ask(f"Merge these findings. Question: Who?\n[a] {NOTHING_IN_TEXT}").text == NOTHING_FOUND


def test_work_is_split_evenly_and_in_order() -> None:
    assert ask("Split this work into 2 parts:\n- a\n- b\n- c").text == "1. a; b\n2. c"
    assert ask("Split these 3 files into 2 parts:\na\nb\nc").text == "1. a; b\n2. c"


def test_agents_are_told_and_asked() -> None:
    tools = (SEND, ASK, TELL, BROADCAST)
    call = only_call(ask("Tell agent agent-7 that the build is red", tools=tools))
    assert call.name == "send_message_to_agent_async"
    assert call.arguments == {"other_agent_id": "agent-7", "message": "the build is red"}
    first = ask("Ask agent agent-7: what time is it?", tools=tools)
    assert only_call(first).name == "send_message_to_agent_and_wait_for_reply"
    back = "{'agent_id': 'agent-7', 'response': ['noon']}"
    assert "noon" in said(ask("Ask agent agent-7: what time is it?", *after(first, back), tools=tools))
    call = only_call(ask("Tell all agents tagged worker and blue: stop", tools=tools))
    assert call.arguments == {"message": "stop", "match_all": ["worker", "blue"], "match_some": []}
    call = only_call(ask("Ask the agents with any of the tags red, blue: ready?", tools=tools))
    assert call.arguments["match_some"] == ["red", "blue"]


def test_a_message_from_another_agent_is_read_without_its_wrapping() -> None:
    wrapped = "[Incoming message from agent with ID 'agent-1' - your response will be delivered to the sender] "
    assert "Chad" in said(ask(wrapped + "What is his name?", tools=MEMGPT))


def test_any_tool_can_be_used_by_name() -> None:
    dice = tool("roll_dice", sides="integer", reason="string")
    first = ask('Use the tool roll_dice with sides=6, reason="a game"', tools=(dice,))
    assert only_call(first).arguments == {"sides": 6, "reason": "a game"}
    assert "4" in ask('Use the tool roll_dice with sides=6, reason="a game"', *after(first, "4"), tools=(dice,)).text


def test_a_directive_calls_the_tool_first_and_only_once() -> None:
    text = 'Now: [[call archival_memory_insert {"content": "x"}]]'
    first = ask(text, tools=MEMGPT)
    assert only_call(first).arguments == {"content": "x"}
    assert "None" in said(ask(text, *after(first, "None"), tools=MEMGPT))
    assert ask(text).tool_calls == ()


def test_it_summarises_under_a_summarisers_prompt() -> None:
    prompt = Message(id="summarizer", role="system", text=(PROMPTS / "summarizer.txt").read_text())
    text = "user: My dog Rex ate the blue sofa.\nassistant: Oh.\n" + "user: Rex is a dog that eats sofas.\n" * 200
    summary = ask(text, head=prompt, max_output_tokens=50).text
    assert "Rex" in summary
    assert len(summary) <= 200


def test_a_sleep_time_agent_keeps_facts_and_finishes() -> None:
    finish = tool("memory_finish_edits")
    transcript = "user: I am a pilot. What is the weather?\nassistant: I do not know.\nuser: My cat is called Tom."
    first = ask(transcript, tools=(INSERT, finish))
    assert [call.arguments["new_string"] for call in first.tool_calls] == ["I am a pilot.", "My cat is called Tom."]
    second = ask(transcript, *after(first, "ok", "ok"), tools=(INSERT, finish))
    assert only_call(second).name == "memory_finish_edits"


def test_an_answer_in_a_form_is_filled_in_from_what_it_found() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    assert json.loads(ask("What is my name?", returns=schema).text) == {"name": "Chad"}
    final = ToolSpec(name="final_answer", description="", parameters=schema)
    call = only_call(ask("What is my name?", tools=(*MEMGPT, final)))
    assert (call.name, call.arguments) == ("final_answer", {"name": "Chad"})


def test_a_tool_that_is_demanded_is_called() -> None:
    assert only_call(ask("Hello", tools=(*LETTA, KEEP), tool_choice="archival_memory_insert")).name == KEEP.name
    assert ask("Hello", tools=LETTA, tool_choice="required").tool_calls
    assert not ask("Remember that x is y", tools=LETTA, tool_choice="none").tool_calls


def test_it_stops_when_it_has_spoken() -> None:
    first = ask("Hello", tools=MEMGPT)
    second = ask("Hello", *after(first, "Sent message successfully."), tools=MEMGPT)
    assert second.tool_calls == ()
    assert second.text


async def test_a_request_beyond_its_window_is_too_long() -> None:
    with pytest.raises(ContextTooLong):
        await OfflineModel().answer(request(user("word " * 100_000)), "rules")


@pytest.mark.parametrize("text", ["", "?", "[[call x {]]", "Remember", "Split: ", "Tell agent", "Merge findings", "\0"])
def test_odd_messages_get_an_answer(text: str) -> None:
    assert ask(text).text
    assert ask(text, tools=MEMGPT).tool_calls


def test_sentences_end_where_people_end_them() -> None:
    assert sentences('He met Dr. Smith. "Hi," she said. It cost 3.5 euros! Yes.') == [
        "He met Dr. Smith.", '"Hi," she said.', "It cost 3.5 euros!", "Yes.",
    ]  # fmt: skip


def test_lines_of_code_and_items_stand_alone() -> None:
    text = "Run this:\n```\npip install x\npip install y\n```\n1. First,\n   wrapped.\n## Heading\nText."
    assert sentences(text) == [
        "Run this:", "pip install x", "pip install y", "First, wrapped.", "Heading", "Text.",
    ]  # fmt: skip


def test_of_equal_sentences_the_first_comes_first() -> None:
    found = rank("Where is the cat?", ["The cat is here.", "A dog.", "The cat is there."], most=5)
    assert [one.at for one in found] == [0, 2]
