"""Whatever a history looks like, what goes to a provider is one that providers accept."""

from __future__ import annotations

import dataclasses
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from wire.anthropic_wire import check

from repertory.config import ProviderConfig
from repertory.llm.anthropic_wire import conversation
from repertory.llm.assembly import Assembly, call_from_json
from repertory.llm.conversation import NO_RESULT, prepare
from repertory.llm.protocol import Delta
from repertory.llm.settings import gateway_settings
from repertory.messages import Message, Sender, ToolCall, Usage

PRICES = {"gpt-4o-mini": (0.15, 0.6)}
#: few ids, so that they repeat
IDS = st.sampled_from(["call_0", "call_1", "", "a b/c", "x" * 60])
TEXTS = st.sampled_from(["", " ", "Hello.", "two\nlines "])
CALLS = st.builds(
    ToolCall, id=IDS, name=st.just("note"), arguments=st.just({"a": 1}), malformed=st.sampled_from([None, None, "{"])
)
MESSAGES = st.one_of(
    st.builds(
        Message,
        id=st.just("u"),
        role=st.just("user"),
        text=TEXTS,
        sender=st.sampled_from([None, Sender(name="Ada"), Sender(name="Bob"), Sender(kind="agent", id="agent-1")]),
    ),
    st.builds(Message, id=st.just("s"), role=st.just("system"), text=TEXTS),
    st.builds(
        Message,
        id=st.just("a"),
        role=st.just("assistant"),
        text=TEXTS,
        tool_calls=st.lists(CALLS, max_size=3).map(tuple),
        reasoning=st.sampled_from(["", "hm"]),
        reasoning_signature=st.sampled_from(["", "sig", '[{"type": "redacted_thinking", "data": "x"}]']),
    ),
    st.builds(Message, id=st.just("t"), role=st.just("tool"), text=TEXTS, tool_call_id=IDS, tool_name=st.just("note")),
)
HISTORIES = st.lists(MESSAGES, max_size=12)


@settings(max_examples=60, deadline=None)
@given(HISTORIES)
def test_every_call_has_its_result_right_behind_it_under_an_id_of_its_own(history: list[Message]) -> None:
    prepared = prepare(history)
    ids = [call.id for message in prepared for call in message.tool_calls]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name) for name in ids)
    expected: list[str] = []
    for message in prepared:
        if message.role == "tool":
            assert message.tool_call_id == expected.pop(0)
        else:
            assert not expected
            expected = [call.id for call in message.tool_calls]
    assert not expected


@settings(max_examples=60, deadline=None)
@given(HISTORIES)
def test_nothing_that_was_said_is_lost(history: list[Message]) -> None:
    before = sorted(message.text for message in history)
    after = [message for message in prepare(history) if message.text != NO_RESULT]
    assert len(after) == len(before)
    for text in before:
        assert any(message.text.endswith(text) for message in after)


@settings(max_examples=60, deadline=None)
@given(HISTORIES)
def test_anthropic_gets_what_it_accepts(history: list[Message]) -> None:
    _, messages = conversation(history)
    check({"messages": messages, "max_tokens": 1})


@settings(max_examples=20, deadline=None)
@given(HISTORIES)
def test_the_same_history_is_always_sent_alike_so_that_caches_hold(history: list[Message]) -> None:
    assert conversation(history) == conversation(tuple(history))


@given(st.text(max_size=30))
def test_any_text_is_a_tool_call_or_kept_as_malformed(text: str) -> None:
    call = call_from_json("c", "note", text)
    assert call.malformed == text or isinstance(call.arguments, dict)


@pytest.mark.parametrize(
    "text", ['{"n": 123456789012345678901}', '{"n": NaN}', '{"s": "\\ud83d"}', '{"a":' * 600 + "1" + "}" * 600]
)
def test_arguments_that_the_journal_could_not_keep_are_malformed(text: str) -> None:
    assert call_from_json("c", "note", text).malformed == text


def test_a_character_that_a_stream_has_cut_in_two_is_put_together() -> None:
    assembly = Assembly()
    assembly.text("a \ud83d")
    assembly.text("\ude00 b \ud83d")
    assert assembly.answer(finish="stop", usage=Usage(), model="m").text == "a \U0001f600 b \ufffd"


def test_a_name_that_a_model_made_up_can_be_sent_back() -> None:
    made_up = ToolCall(id="1", name="files.read the file!")
    sent = prepare([Message(id="a", role="assistant", tool_calls=(made_up, ToolCall(id="2", name="")))])
    assert [call.name for call in sent[0].tool_calls] == ["files_read_the_file_", "unnamed"]


def test_pieces_of_calls_are_told_apart_whichever_way_a_server_counts() -> None:
    def build(*pieces: tuple[object, str, str, str]) -> list[tuple[str, dict[str, object]]]:
        heard: list[Delta] = []
        assembly = Assembly(heard.append)
        for key, call_id, name, arguments in pieces:
            assembly.tool_call(key, call_id=call_id, name=name, arguments=arguments)
        answer = assembly.answer(finish="stop", usage=Usage(), model="m")
        assert "".join(delta.text for delta in heard) == "".join(piece[3] for piece in pieces)
        return [(call.name, call.arguments) for call in answer.tool_calls]

    two = [("a", {"x": 1}), ("b", {"y": 2})]
    assert build((0, "1", "a", ""), (0, "", "", '{"x":1}'), (1, "2", "b", '{"y"'), (1, "", "", ":2}")) == two
    assert build((0, "1", "a", '{"x":1}'), (0, "2", "b", '{"y":2}')) == two, "all are number 0"
    assert build((None, "1", "a", '{"x"'), (None, "", "", ":1}"), (None, "2", "b", '{"y":2}')) == two, "no numbers"
    assert build((0, "1", "a", '{"x"'), (0, "1", "a", ":1}"), (1, "2", "b", '{"y":2}')) == two, "ids in each piece"


def test_a_key_from_a_file_shows_itself_nowhere() -> None:
    config = ProviderConfig(kind="openai", key=SecretStr("sk-very-secret"), base_url="http://x")
    merged = gateway_settings(
        {"vllm": config, "openai": ProviderConfig(kind="openai", max_concurrent=7, prices=PRICES)}
    )
    assert "very-secret" not in repr(merged)
    assert "very-secret" not in str(dataclasses.asdict(merged.providers["vllm"]))
    assert merged.providers["openai"].key_env == "OPENAI_API_KEY", "what is not given stays as it was"
    assert merged.providers["openai"].max_concurrent == 7
    assert merged.providers["openai"].prices == PRICES
    travelled = pickle.loads(pickle.dumps(merged))
    key = travelled.providers["vllm"].key
    assert key is not None
    assert key.get_secret_value() == "sk-very-secret"
