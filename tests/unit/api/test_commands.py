"""The commands that only look, on a database that nobody has open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from repertory.cli.app import make_app


def run(database: Path, *arguments: str, code: int = 0) -> str:
    """What a command printed; fails unless it ended with `code`."""
    result = CliRunner().invoke(make_app(), arguments, env={"REPERTORY_DB": str(database), "COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def run_json(database: Path, *arguments: str) -> Any:
    return json.loads(run(database, *arguments, "--json"))


def test_agents_are_listed_and_chosen_by_tag(database: Path) -> None:
    assert [agent["name"] for agent in run_json(database, "agents")] == ["ada", "bob"]
    assert [agent["name"] for agent in run_json(database, "agents", "--tag", "crew")] == ["ada"]
    shown = run(database, "agents")
    assert "ada" in shown
    assert "memgpt" in shown
    assert "no agents" in run(database, "agents", "--tag", "nobody-has-it")


def test_history_shows_what_was_said_in_all_or_one_conversation(database: Path) -> None:
    everything = run_json(database, "history", "ada")
    assert [m["text"] for m in everything if m["role"] == "user"] == ["Remember that the boat leaves at nine.", "Hello"]
    only = run_json(database, "history", "ada", "--conversation", "work")
    assert [m["text"] for m in only if m["role"] == "user"] == ["Hello"]
    assert len(run_json(database, "history", "ada", "--limit", "2")) == 2
    assert "the boat leaves at nine" in run(database, "history", "ada")
    assert "nothing was said" in run(database, "history", "bob")


def test_blocks_are_listed_with_their_versions(database: Path) -> None:
    assert [block["value"] for block in run_json(database, "blocks")] == ["We sail on Friday."]
    assert [block["version"] for block in run_json(database, "blocks", "board")] == [1, 2]
    assert "there are: board" in run(database, "blocks", "bored", code=2)


def test_status_counts_without_a_runtime(database: Path) -> None:
    status = run_json(database, "status")
    assert not status["up"]
    assert status["agents"] == 2
    assert status["blocks"] == 1


def test_a_database_is_checked_copied_and_never_written_over(database: Path, tmp_path: Path) -> None:
    assert run_json(database, "db", "check")["sound"]
    assert run_json(database, "db", "backup", str(tmp_path / "copy"))["rows"] > 0
    run(tmp_path / "again", "db", "restore", str(tmp_path / "copy"))
    assert [agent["name"] for agent in run_json(tmp_path / "again", "agents")] == ["ada", "bob"]
    assert "never written over" in run(database, "db", "restore", str(tmp_path / "copy"), code=1)
    assert run_json(database, "db", "upgrade") is None
    assert "sound" in run(tmp_path / "again", "db", "rebuild")


def test_prompts_are_shown(database: Path) -> None:
    assert set(run_json(database, "prompts")) == {"memgpt", "letta_v1", "react", "workflow", "summarizer"}
    assert "send_message" in run(database, "prompts", "memgpt")
    assert "there are: memgpt" in run(database, "prompts", "genius", code=2)


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("agents", "--db", "nowhere"), 1, "no database in nowhere"),
    (("history", "nobody"), 2, "nobody"),
    (("fly",), 2, "fly"),
    (("history",), 2, "name"),
    (("history", "ada", "--limit", "0"), 2, "limit"),
    (("create", "x", "--block", "no equals sign"), 2, "LABEL=TEXT"),
    (("create", "x", "--system", "nowhere.txt"), 2, "nowhere.txt"),
    (("send", "ada", " "), 2, "nothing to send"),
    (("down", "--db", "nowhere"), 0, ""),
])
def test_bad_input_is_one_clear_message_and_an_exit_code(
        database: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    assert message in run(database, *arguments, code=code)


def test_up_refuses_a_path_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is a file" in run(file, "up", code=1)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("command", [
    (), ("up",), ("down",), ("status",), ("top",), ("create",), ("chat",), ("send",), ("agents",), ("blocks",),
    ("history",), ("prompts",), ("db",), ("db", "check"), ("db", "backup"), ("db", "restore"), ("db", "upgrade"),
])
def test_every_command_explains_itself(database: Path, command: tuple[str, ...]) -> None:
    assert "Usage:" in run(database, *command, "--help")
