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
from pathlib import Path
from typing import Any

from _journal_audit import audit, whole_journal

from repertory.ids import IdSource
from repertory.memory.database import Database

CHILD = Path(__file__).parent / "_store_child.py"
KILLS = 300
#: kills between two looks at the whole journal
LOOK_EVERY = 25


def run_and_kill(folder: Path, run: str, rng: random.Random) -> tuple[dict[str, tuple[int, int]], bool]:
    """Start the store, kill it; what it had acknowledged, and whether it was still opening."""
    process = subprocess.Popen([sys.executable, str(CHILD), str(folder), run], stdout=subprocess.PIPE)
    assert process.stdout is not None
    opening = rng.random() < 0.25
    line = process.stdout.readline()
    assert line == b"opening\n", "the store's process did not start"
    if not opening:
        line = process.stdout.readline()
        assert line == b"open\n", "the store did not open"
    timer_s = rng.uniform(0.0, 0.15) if opening else rng.choice([0.05, 0.4, 1.0]) * rng.random()
    deadline, raw = time.monotonic() + timer_s, b""
    os.set_blocking(process.stdout.fileno(), False)
    while time.monotonic() < deadline:
        raw += process.stdout.read(1 << 20) or b""
        time.sleep(0.002)
    assert process.poll() is None, f"the store's process ended by itself, with code {process.returncode}"
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.set_blocking(process.stdout.fileno(), True)
    raw += process.stdout.read() or b""
    process.stdout.close()
    acknowledged: dict[str, tuple[int, int]] = {}
    for words in (entry.split() for entry in raw.decode().split("\n")[:-1]):
        if len(words) == 3:
            acknowledged[words[0]] = (int(words[1]), int(words[2]))
    return acknowledged, opening and b"open\n" not in raw


async def look(folder: Path, acknowledged: dict[str, tuple[int, int]]) -> dict[str, Any]:
    database = await Database.open(folder, ids=IdSource(), now=time.time)
    try:
        return audit(await whole_journal(database.store), acknowledged, lost=[])
    finally:
        await database.close()


def run(scale: float) -> dict[str, Any]:
    rng, kills = random.Random(7), max(4, round(KILLS * scale))
    acknowledged: dict[str, tuple[int, int]] = {}
    opening, result = 0, {}
    folder = Path(tempfile.mkdtemp(prefix="repertory-kills-"))
    try:
        for number in range(1, kills + 1):
            mine, was_opening = run_and_kill(folder / "db", f"run{number}", rng)
            acknowledged.update(mine)
            opening += was_opening
            if number % LOOK_EVERY == 0 or number == kills:
                copy = folder / "copy"
                shutil.copytree(folder / "db", copy)  # looking must not help the store
                result = asyncio.run(look(copy, acknowledged))
                shutil.rmtree(copy)
        damage = folder / "db" / "damage.json"
        findings = json.loads(damage.read_text()) if damage.exists() else []
        assert not [f for f in findings if f["kind"] in ("lost", "unreadable")], findings
        return {"kills": kills, "while_opening": opening, **result, "findings": len(findings)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
