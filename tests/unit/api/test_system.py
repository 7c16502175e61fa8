"""The Python face, end to end on a system in memory."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

import repertory as rep
from repertory.api.system import System
from repertory.errors import (
    AgentNotFound,
    BlockLimitExceeded,
    BlockNotFound,
    ConfigError,
    MissingKey,
    NameTaken,
    UnknownModel,
)
from repertory.memory.block import Block


async def test_an_agent_answers_and_remembers(system: System) -> None:
    ada = await system.create_agent("ada")
    first = await ada.send("Remember that the boat leaves at nine.")
    assert first.text
    second = await (await system.agent("ada")).send("When does the boat leave?")
    assert "nine" in second.text
    assert second.usage.requests >= 1


async def test_an_agent_is_found_by_its_id_too_and_its_absence_is_said(system: System) -> None:
    ada = await system.create_agent("ada", tags=["crew"])
    assert (await system.agent(ada.id)).name == "ada"
    assert (await system.agent("ada")).tags == ("crew",)
    assert await system.has_agent("ada")
    assert not await system.has_agent("bob")
    with pytest.raises(AgentNotFound, match="bob"):
        await system.agent("bob")


async def test_agents_are_listed_by_tags(system: System) -> None:
    for name, tags in (("a", ["x"]), ("b", ["x", "y"]), ("c", ["y"])):
        await system.create_agent(name, tags=tags)
    assert [agent.name for agent in await system.agents()] == ["a", "b", "c"]
    assert [agent.name for agent in await system.agents(["x", "y"])] == ["b"]
    assert [agent.name for agent in await system.agents(match_any=["x", "y"])] == ["a", "b", "c"]


@pytest.mark.parametrize(("wrong", "kind", "message"), [
    ({"model": "oracle/delphi"}, UnknownModel, "oracle"),
    ({"model": "gpt-4o"}, UnknownModel, "provider/model"),
    ({"model": "openai/gpt-4o"}, MissingKey, "OPENAI_API_KEY"),
    ({"type": "genius"}, ConfigError, "memgpt"),
    ({"tools": ["fly"]}, ConfigError, "fly"),
    ({"timezone": "Mars/Olympus"}, ConfigError, "Mars/Olympus"),
    ({"max_steps": 0}, ConfigError, "max_steps"),
    ({"tempo": 3}, ConfigError, "tempo"),
    ({"blocks": {"human": "x" * 2_001}}, BlockLimitExceeded, "2001.*2000"),
    ({"blocks": [Block(label="a"), Block(label="a")]}, ConfigError, "two memory blocks"),
    ({"name": "ada"}, NameTaken, "ada"),
    ({"name": " "}, ConfigError, "name"),
    ({"tags": [""]}, ConfigError, "tag"),
])
async def test_bad_input_is_refused_before_anything_is_written(
        system: System, wrong: dict[str, object], kind: type[Exception], message: str) -> None:
    await system.create_agent("ada")
    before = (await system.status())["store"]["rows"]
    with pytest.raises(kind, match=f"(?s){message}"):
        await system.create_agent(**{"name": "bob", **wrong})  # type: ignore[arg-type]  # wrong on purpose
    assert (await system.status())["store"]["rows"] == before


async def test_a_key_creates_and_sends_once(system: System) -> None:
    one = await system.create_agent("ada", key="create-1")
    assert (await system.create_agent("ada", key="create-1")).id == one.id
    first = await one.send("Remember the milk.", key="m-1")
    assert (await one.send("Remember the milk.", key="m-1")).run_id == first.run_id
    posted = await one.post("Remember the bread.", key="m-2")
    assert (await one.post("Remember the bread.", key="m-2")).seq == posted.seq
    await posted.outcome(timeout_s=60)
    assert len([m for m in await one.history() if m.role == "user"]) == 2


async def test_a_posted_message_is_kept_and_answered_later(system: System) -> None:
    ada = await system.create_agent("ada")
    posted = await ada.post("Remember that the key is under the mat.")
    outcome = await posted.outcome(timeout_s=60)
    assert outcome.status == "completed"
    assert (await posted.reply(timeout_s=60)).text == outcome.text


async def test_a_stream_ends_with_the_outcome(system: System) -> None:
    ada = await system.create_agent("ada")
    events = [event async for event in ada.stream("Remember that tea is at four.")]
    assert events[-1].kind == "end"
    assert events[-1].outcome is not None
    assert events[-1].outcome.status == "completed"
    said = [event.text for event in events if event.kind == "said"]
    assert "\n".join(said) == events[-1].outcome.text
    assert [event.number for event in events] == sorted({event.number for event in events})


async def test_blocks_are_read_and_edited_from_outside(system: System) -> None:
    ada = await system.create_agent("ada", blocks={"human": "Their name is Kim."})
    assert (await ada.memory.block("human")).value == "Their name is Kim."
    await ada.memory.append("human", "They sail.")
    await ada.memory.replace("human", "Kim", "Kim Berg")
    assert (await ada.memory.block("human")).value == "Their name is Kim Berg.\nThey sail."
    await ada.memory.add("plans", "None yet.", limit_chars=50)
    assert [block.label for block in await ada.memory.blocks()] == ["persona", "human", "plans"]
    with pytest.raises(BlockLimitExceeded):
        await ada.memory.set("plans", "x" * 51)
    assert (await ada.memory.block("plans")).value == "None yet."
    await ada.memory.remove("plans")
    with pytest.raises(BlockNotFound, match="persona, human"):
        await ada.memory.block("plans")


async def test_what_was_archived_and_said_is_found(system: System) -> None:
    ada = await system.create_agent("ada")
    await ada.memory.archive("The lighthouse was built in 1888.", ["history"])
    await ada.send("Remember that the ferry is called Vitte.")
    assert "1888" in (await ada.memory.search_archive("lighthouse"))[0]["text"]
    assert any("Vitte" in hit["text"] for hit in await ada.memory.search_messages("ferry"))
    assert [passage["tags"] for passage in await ada.memory.passages()] == [["history"]]


async def test_conversations_are_apart_and_memory_is_shared(system: System) -> None:
    ada = await system.create_agent("ada")
    await ada.conversation("work").send("Remember that the office closes at six.")
    assert await ada.messages() == []
    assert len(await ada.conversation("work").messages()) > 0
    assert "six" in (await ada.send("When does the office close?")).text


async def test_a_shared_block_is_seen_by_all_and_keeps_every_version(system: System) -> None:
    board = await system.blocks.create("board", limit_chars=100)
    ada = await system.create_agent("ada", blocks=[Block(label="human"), board])
    bob = await system.create_agent("bob")
    await bob.memory.attach(board)
    await ada.memory.append("board", "ada was here")
    await board.append("so was kim")
    assert (await bob.memory.block("board")).value == "ada was here\nso was kim"
    assert "+so was kim" in await board.diff(2, 3)
    await board.revert(2)
    assert [version.value for version in await board.history()][-1] == "ada was here"
    assert (await (await system.blocks.get("board")).read()).version == 4
    with pytest.raises(BlockNotFound, match="there are: board"):
        await system.blocks.get("bored")


async def test_a_broadcast_says_who_answered_and_who_failed(system: System) -> None:
    for name in ("a", "b"):
        await system.create_agent(name, tags=["crew"])
    await system.create_agent("c", tags=["crew"], model="offline/rules", max_steps=1)
    await system.create_agent("d")
    result = await system.broadcast("Remember that we sail at dawn.", match_all=["crew"], timeout_s=60)
    assert {*result.answered, *result.failed} == {"a", "b", "c"}
    assert {"a", "b"} <= set(result.answered)
    assert result.late == ()


async def test_a_late_answer_to_a_broadcast_is_named(system: System) -> None:
    await system.create_agent("a", tags=["crew"])
    result = await system.broadcast("Hello", match_all=["crew"], timeout_s=0.0)
    assert result.late == ("a",)


class Fact(BaseModel):
    answer: str


async def test_an_answer_can_be_an_object(system: System) -> None:
    ada = await system.create_agent("ada")
    await ada.send("Remember that the ferry is called Vitte.")
    fact = await ada.ask("What is the ferry called?", returns=Fact)
    assert isinstance(fact, Fact)


async def test_renaming_retagging_and_deleting(system: System) -> None:
    ada = await system.create_agent("ada")
    await system.create_agent("bob")
    with pytest.raises(NameTaken):
        await ada.rename("bob")
    await ada.rename("eva")
    await ada.retag(["x"])
    assert [agent.name for agent in await system.agents(["x"])] == ["eva"]
    await ada.delete()
    assert not await system.has_agent("eva")


async def test_the_model_is_changed_only_to_one_that_there_is(system: System) -> None:
    ada = await system.create_agent("ada")
    with pytest.raises(UnknownModel):
        await ada.change(model="oracle/delphi")
    await ada.change(max_steps=7)
    assert (await ada.state())["spec"]["max_steps"] == 7


async def test_the_public_names_are_those_of_the_face() -> None:
    assert rep.System is System


async def test_a_python_function_becomes_a_tool_with_its_source(system: System) -> None:
    def add(first: int, second: int) -> int:
        """Add two numbers.

        Args:
            first: one number.
            second: the other.
        """
        return first + second

    ada = await system.create_agent("ada", tools=["send_message", rep.tool(add, retry="never")])
    [custom] = (await ada.state())["spec"]["custom_tools"]
    assert custom["name"] == "add"
    assert custom["parameters"]["required"] == ["first", "second"]
    assert custom["source"].startswith("def add(")
    assert custom["retry"] == "never"
    await ada.change(tools=["send_message"])
    assert (await ada.context())["tools"] == ["send_message"]
    for wrong, message in ((lambda x: x, "plain function"), (len, "plain function")):
        with pytest.raises(ConfigError, match=message):
            await system.create_agent("bob", tools=[wrong])
