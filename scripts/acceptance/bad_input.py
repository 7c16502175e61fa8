"""Bad input: each kind is refused with a clear error, and nothing is changed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import repertory as rep
from repertory.api.facade import Blocking
from repertory.errors import MissingKey, StorageError, StorageFull

#: megabytes of the small disk: the store keeps a reserve of 64 to compact with
DISK_MB = 192


def run(scale: float) -> dict[str, Any]:
    """All kinds; `scale` changes nothing here."""
    for name in [name for name in os.environ if name.endswith(("_API_KEY", "_BASE_URL"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        refused = _refused_by_a_system(Path(folder) / "db") | _refused_at_the_door(Path(folder))
    return {"refused": refused, "full_disk": _full_disk()}


def _refused_by_a_system(database: Path) -> dict[str, str]:
    with rep.open_sync(database) as system:
        system.create_agent("ada")
        board = system.blocks.create("board", limit_chars=100)
        before = system.status()["store"]["rows"]
        refused = {
            "unknown provider": _refusal(rep.UnknownModel, lambda: system.create_agent("b", model="oracle/delphi")),
            "no handle": _refusal(rep.UnknownModel, lambda: system.create_agent("b", model="gpt-4o")),
            "missing key": _refusal(MissingKey, lambda: system.create_agent("b", model="openai/gpt-4o-mini")),
            "unknown agent": _refusal(rep.AgentNotFound, lambda: system.agent("nobody")),
            "duplicate name": _refusal(rep.NameTaken, lambda: system.create_agent("ada")),
            "unknown type": _refusal(rep.ConfigError, lambda: system.create_agent("b", type="genius")),
            "unknown tool": _refusal(rep.ConfigError, lambda: system.create_agent("b", tools=["fly"])),
            "over-limit block of a new agent": _refusal(
                rep.BlockLimitExceeded, lambda: system.create_agent("b", blocks={"human": "x" * 2_001})),
            "over-limit block of an agent": _refusal(
                rep.BlockLimitExceeded, lambda: system.agent("ada").memory.set("human", "x" * 2_001)),
            "over-limit shared block": _refusal(rep.BlockLimitExceeded, lambda: board.append("x" * 101)),
        }
        after = system.status()["store"]["rows"]
        system_agents = [agent.name for agent in system.agents()]
        values = {block.label: block.value for block in system.agent("ada").memory.blocks()}
        shared = board.read().value
    assert after - before <= _ACTIVATION_ROWS, f"{after - before} rows were written by what was refused"
    assert system_agents == ["ada"], system_agents
    assert values["human"] == "", values
    assert shared == "", shared
    return refused


#: looking into an agent brings it to life, which is a row and may be a snapshot
_ACTIVATION_ROWS = 2


def _refused_at_the_door(folder: Path) -> dict[str, str]:
    file = folder / "file"
    file.write_text("not a database")
    config = folder / "broken.toml"
    config.write_text("[runtime]\nlive_cap = 'many'\n")
    refused = {
        "a path that is a file": _refusal(StorageError, lambda: rep.open_sync(file)),
        "malformed config": _refusal(rep.ConfigError, lambda: rep.open_sync(folder / "new", config=config)),
    }
    assert file.read_text() == "not a database"
    assert not (folder / "new").exists(), "a refused configuration has made a database"
    return refused


def _full_disk() -> dict[str, Any] | str:
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder],
                                 capture_output=True, text=True, check=False)
        if mounted.returncode:
            return f"skipped: a small disk cannot be mounted here ({mounted.stderr.strip()})"
        try:
            return _on_a_full_disk(Path(folder))
        finally:
            subprocess.run(["umount", folder], check=False)


def _on_a_full_disk(disk: Path) -> dict[str, Any]:
    with rep.open_sync(disk / "db") as system:
        ada = system.create_agent("ada")
        ada.send("Remember that the key is under the mat.")
        with _filled(disk / "filler"):
            create = _refusal(StorageFull, lambda: system.create_agent("b"))
            post = _refusal(StorageFull, lambda: ada.post("Hello?"))
            assert [agent.name for agent in system.agents()] == ["ada"]
            assert any("mat" in str(block.value) for block in ada.memory.blocks()), "reading must go on"
        system.create_agent("c")
        assert ada.send("Where is the key?").text
    with rep.open_sync(disk / "db") as system:
        names = [agent.name for agent in system.agents()]
    assert names == ["ada", "c"], names
    return {"create": create, "post": post, "agents_after": names}


@contextmanager
def _filled(filler: Path) -> Iterator[None]:
    """Every byte that is left goes into `filler`."""
    with filler.open("wb") as file:
        try:
            while True:
                file.write(b"\0" * 1_048_576)
                file.flush()
        except OSError:
            pass
    try:
        yield
    finally:
        filler.unlink()


def _refusal(kind: type[Exception], call: Callable[[], Any]) -> str:
    """The text with which `call` is refused. Raises AssertionError when it is not, or by another error."""
    try:
        made = call()
    except kind as error:
        assert len(str(error)) > 20, f"this says too little: {error}"
        return str(error)
    if isinstance(made, Blocking):
        made.close()
    raise AssertionError(f"not refused by {kind.__name__}: {made!r}")
