"""The command line as a shell runs it: a runtime that stays, and commands that join it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

#: seconds; starting Ray takes long on a machine under load
PATIENCE_S = 240
ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(3 * PATIENCE_S)


class Shell:
    """Runs `repertory` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
        self.environment = {**kept, "REPERTORY_DB": str(folder / "db")}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, running."""
        code = "from repertory.cli.app import main; main()"
        return subprocess.Popen([sys.executable, "-c", code, *arguments], env=self.environment, cwd=self.folder,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str, code: int = 0) -> str:
        """What the command printed on stdout. Fails unless it ended with `code`."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{out}\n{err}"
        return out if code == 0 else err

    def json(self, *arguments: str) -> Any:
        """What the command printed with --json."""
        return json.loads(self.run(*arguments, "--json"))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell in whose folder a runtime is up."""
    made = Shell(tmp_path_factory.mktemp("shell"))
    made.run("up")
    try:
        yield made
    finally:
        made.run("down")


def test_up_says_that_it_is_up_already(shell: Shell) -> None:
    assert shell.json("up")["already"]
    assert Path(shell.json("up")["log"]).is_file()
    status = shell.json("status")
    assert status["up"]
    assert status["keeper"]["pid"] > 0


def test_agents_are_made_asked_and_listed_by_programs_that_join(shell: Shell) -> None:
    shell.run("create", "ada", "--tag", "crew", "--block", "human=Their name is Kim.")
    shell.run("send", "ada", "Remember that the boat leaves at nine.")
    assert "nine" in shell.json("send", "ada", "When does the boat leave?")["text"]
    assert [agent["name"] for agent in shell.json("agents", "--tag", "crew")] == ["ada"]
    assert "nine" in shell.run("history", "ada")
    live = shell.json("top")
    assert [agent["name"] for agent in live["agents"] if agent["live"]] == ["ada"]


def test_bad_input_is_one_line_and_an_exit_code(shell: Shell) -> None:
    assert re.fullmatch(r"error: .*nobody.*\n", shell.run("send", "nobody", "Hello", code=2))
    assert "oracle" in shell.run("create", "b", "--model", "oracle/delphi", code=2)


def test_an_interrupted_command_ends_with_130_and_the_message_is_kept_or_not_at_all(shell: Shell) -> None:
    shell.run("create", "eva")
    process = shell.start("send", "eva", "Remember that I was interrupted.")
    try:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode in (130, 0, -signal.SIGINT)
    asked = [message for message in shell.json("history", "eva") if message["role"] == "user"]
    assert len(asked) <= 1
    assert shell.run("send", "eva", "Hello")


def test_everything_is_there_after_down_and_nothing_runs(shell: Shell) -> None:
    pid = shell.json("status")["keeper"]["pid"]
    assert shell.json("down")["was_up"]
    assert not shell.json("down")["was_up"]
    assert not _lives(pid)
    assert {"ada", "eva"} <= {agent["name"] for agent in shell.json("agents")}
    assert not shell.json("status")["up"]


def _lives(pid: int) -> bool:
    """Whether a process is there and no mere zombie that nobody has asked for its end."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False
