"""300 SIGKILLs of a store under load, some while it opens: every acknowledged commit is there, once (P1, P2)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _journal_audit import audit, whole_journal

from repertory.ids import IdSource
from repertory.memory.database import Database

CHILD = Path(__file__).parent / "_store_child.py"
KILLS = 300
#: kills between two looks at the whole journal
LOOK_EVERY = 25


#: seconds that a step of one run may take on a busy machine
PATIENCE_S = 120.0


class Runs:
    """Starts stores and kills them."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "db"
        self._said = folder / "acknowledged"
        self._server = subprocess.Popen([sys.executable, "-W", "ignore", str(CHILD)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.acknowledged: dict[str, tuple[int, int]] = {}
        self.while_opening = 0

    def run(self, name: str, rng: random.Random) -> None:
        """Start a store, let it work for a while or catch it opening, kill it."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._said.write_text("")
        self._server.stdin.write(f"{self.database} {name} {self._said}\n")
        self._server.stdin.flush()
        pid = int(self._server.stdout.readline())
        opening = rng.random() < 0.25
        self._wait(pid, lambda: ("opening\n" if opening else "open\n") in self._said.read_text())
        time.sleep(rng.uniform(0.0, 0.15) if opening else rng.choice([0.05, 0.4, 1.0]) * rng.random())
        assert alive(pid), "the store's process ended by itself"
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while alive(pid):
            assert time.monotonic() < deadline, f"process {pid} does not die"
            time.sleep(0.001)
        lines = self._said.read_text().split("\n")[:-1]
        self.while_opening += "open" not in lines
        for words in map(str.split, lines):
            if len(words) == 3:
                self.acknowledged[words[0]] = (int(words[1]), int(words[2]))

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()

    def _wait(self, pid: int, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not there():
            assert alive(pid), "the store's process ended by itself"
            assert time.monotonic() < deadline, "the store does not open"
            time.sleep(0.002)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def look(folder: Path, acknowledged: dict[str, tuple[int, int]]) -> dict[str, Any]:
    database = await Database.open(folder, ids=IdSource(), now=time.time)
    try:
        return audit(await whole_journal(database.store), acknowledged, lost=[])
    finally:
        await database.close()


def run(scale: float) -> dict[str, Any]:
    rng, kills = random.Random(7), max(4, round(KILLS * scale))
    folder = Path(tempfile.mkdtemp(prefix="repertory-kills-"))
    runs = Runs(folder)
    result: dict[str, Any] = {}
    try:
        for number in range(1, kills + 1):
            runs.run(f"run{number}", rng)
            if number % LOOK_EVERY == 0 or number == kills:
                copy = folder / "copy"
                shutil.copytree(runs.database, copy)  # looking must not help the store
                result = asyncio.run(look(copy, runs.acknowledged))
                shutil.rmtree(copy)
        damage = runs.database / "damage.json"
        findings = json.loads(damage.read_text()) if damage.exists() else []
        assert not [f for f in findings if f["kind"] in ("lost", "unreadable")], findings
        return {"kills": kills, "while_opening": runs.while_opening, **result, "findings": len(findings)}
    finally:
        runs.close()
        shutil.rmtree(folder, ignore_errors=True)
