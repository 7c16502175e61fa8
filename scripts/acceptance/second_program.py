"""A second program works beside the first; when the first one's Ray is killed, the database is free in ten seconds."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _killing import Marked

import repertory as rep
from repertory.memory.lock import holder_of

FREE_S = 10.0
START_S = 300.0

FIRST = """
import asyncio, sys
import repertory as rep

async def main():
    async with rep.open(sys.argv[1], config={"runtime": {"live_cap": 2}}) as system:
        agent = await system.create_agent("ada", key="ada")
        await agent.send("My name is Kim.")
        print("started" if system.started else "joined", flush=True)
        await asyncio.sleep(3600)

asyncio.run(main())
"""

SECOND = """
import asyncio, sys
import repertory as rep

async def main():
    async with rep.open(sys.argv[1]) as system:
        agent = await system.agent("ada")
        print((await agent.send("What is my name?")).text)

asyncio.run(main())
"""


def run(scale: float) -> dict[str, Any]:
    """Both at once; then the first one's raylet, and its GCS, are killed. The scale changes nothing."""
    with tempfile.TemporaryDirectory() as place:
        both = together(Path(place) / "both")
        free = {name: killed(Path(place) / name, part) for name, part in (("raylet", b"raylet/raylet"),
                                                                          ("gcs", b"gcs/gcs_server"))}
    return {**both, "free_after_s": free}


def together(database: Path) -> dict[str, Any]:
    """Two programs that begin at once: one starts, the other joins; then a third one works beside them."""
    programs = [Marked(["-c", FIRST, str(database)], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        roles = sorted(first_line(program) for program in programs)
        assert roles == ["joined", "started"], f"of two programs that began at once: {roles}"
        answer = subprocess.run([sys.executable, "-c", SECOND, str(database)], capture_output=True, text=True,
                                timeout=START_S, check=False)
        assert "Kim" in answer.stdout, f"the second program got no answer: {answer.stdout} {answer.stderr[-500:]}"
    finally:
        for program in programs:
            program.kill_everything()
    return {"roles": roles}


def killed(database: Path, part: bytes) -> float:
    """Seconds from killing that part of the first program's Ray until the database is free; then it opens again."""
    program = Marked(["-c", FIRST, str(database)], stdout=subprocess.PIPE)
    try:
        assert first_line(program) == "started"
        [victim] = [pid for pid in program.pids() if part in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]]
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        while holder_of(database) is not None:
            assert time.monotonic() - began < FREE_S, f"{part!r} is dead, and the database is held after {FREE_S} s"
            time.sleep(0.05)
        took_s = time.monotonic() - began
    finally:
        program.kill_everything()
    assert "Kim" in asyncio.run(ask(database)), "the agent has forgotten"
    return round(took_s, 2)


async def ask(database: Path) -> str:
    """What the agent says after all that."""
    async with rep.open(database, config={"runtime": {"live_cap": 2}}) as system:
        return (await (await system.agent("ada")).send("What is my name?")).text


def first_line(program: Marked) -> str:
    """What the program says when it is ready."""
    assert program.process.stdout is not None
    return program.process.stdout.readline().strip()
