"""The face without `await`: the same objects on a loop of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

import repertory as rep
from repertory.api.facade import Blocking
from repertory.errors import StorageError


def test_everything_works_without_await(plain: Blocking) -> None:
    board = plain.blocks.create("board")
    ada = plain.create_agent("ada", blocks=[rep.Block(label="human"), board.wrapped])
    assert ada.send("Remember that the boat leaves at nine.").text
    assert "nine" in plain.agent("ada").send("When does the boat leave?").text
    assert [event.kind for event in ada.stream("Remember me.")][-1] == "end"
    board.append("hello")
    assert ada.memory.block("board").value == "hello"
    assert [agent.name for agent in plain.agents()] == ["ada"]
    with pytest.raises(rep.AgentNotFound):
        plain.agent("bob")


async def test_it_works_in_a_notebook_whose_loop_is_running(plain: Blocking) -> None:
    assert plain.create_agent("ada").send("Hello").text


def test_a_shared_block_of_the_facade_can_be_given_to_an_agent(plain: Blocking) -> None:
    board = plain.blocks.create("board", "hello")
    ada = plain.create_agent("ada")
    ada.memory.attach(board)
    assert ada.memory.block("board").value == "hello"


def test_a_path_that_is_a_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(StorageError, match="is a file"):
        rep.open_sync(file)
    assert file.read_text() == "mine"


def test_a_malformed_configuration_is_refused_before_a_database_is_made(tmp_path: Path) -> None:
    with pytest.raises(rep.ConfigError, match="live_cap"):
        rep.open_sync(tmp_path / "db", config={"runtime": {"live_cap": "many"}})
    assert not (tmp_path / "db").exists()
