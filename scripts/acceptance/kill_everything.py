"""Every process is killed at once, again and again: each acknowledged message is done exactly once afterwards (P1)."""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import _histories
from _killing import Marked

from repertory.cli.records import opened

ROUNDS, AGENTS, EACH = 10, 6, 40
#: a start, and a whole round, on a machine under load
START_S, FINISH_S = 300.0, 600.0

#: opens the database, posts until it is killed, and says what was acknowledged
POSTING = """
import asyncio, sys
import repertory as rep

async def main(folder, start, count):
    async with rep.open(folder, config={"runtime": {"live_cap": 4}}) as system:
        agents = [await system.create_agent(f"agent-{n}", key=f"agent-{n}") for n in range(int(sys.argv[4]))]
        print("ready", flush=True)

        async def post(number):
            text = f"order-{number} please"
            posted = await agents[number % len(agents)].post(text, key=f"order-{number}")
            print("acked", number, posted.run_id, flush=True)

        for number in range(start, start + count):
            await post(number)
        await asyncio.sleep(3600)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""

#: opens the database and waits until the runs that it reads are over
FINISHING = """
import asyncio, json, sys
import repertory as rep

async def main(folder):
    with open(sys.argv[2]) as file:
        runs = json.load(file)
    async with rep.open(folder, config={"runtime": {"live_cap": 4}}) as system:
        store = system._links.store
        for run_id in runs:
            while (await store.ask("run", run_id=run_id))["status"] not in ("completed", "failed", "cancelled"):
                await asyncio.sleep(0.2)
        print(json.dumps([(await store.ask("run", run_id=run_id))["status"] for run_id in runs]))

asyncio.run(main(sys.argv[1]))
"""


def run(scale: float) -> dict[str, Any]:
    """`ROUNDS * scale` rounds of posting and killing on one database, then the account."""
    rounds = max(1, round(ROUNDS * scale))
    with tempfile.TemporaryDirectory() as place:
        database = Path(place) / "db"
        acked: dict[int, str] = {}
        killed = sum(one_round(database, number, acked) for number in range(rounds))
        statuses = finish(database, list(acked.values()))
        assert statuses == ["completed"] * len(acked), f"not all were done: {Counter(statuses)}"
        with opened(database) as records:
            histories = {name: records.messages(name, conversation_id="default", limit=100_000)
                         for name in (agent["name"] for agent in records.index.list_agents())}
    seen = Counter(message.text.split(" ")[0] for history in histories.values() for message in history
                   if message.role == "user" and message.text.startswith("order-"))
    wrong = {number: seen[f"order-{number}"] for number in acked if seen[f"order-{number}"] != 1}
    assert not wrong, f"these were not done exactly once: {wrong}"
    twice = [text for text, count in seen.items() if count > 1]
    assert not twice, f"these were done more than once: {twice}"
    faults = {name: found for name, history in histories.items() if (found := _histories.faults(history))}
    assert not faults, f"histories that no model accepts: {faults}"
    return {"rounds": rounds, "processes_killed": killed, "acknowledged": len(acked), "done": sum(seen.values())}


def one_round(database: Path, number: int, acked: dict[int, str]) -> int:
    """Post until a moment of chance, then kill everything; how many processes that were."""
    chance = random.Random(number)
    program = Marked(["-c", POSTING, str(database), str(number * EACH), str(EACH), str(AGENTS)],
                     stdout=subprocess.PIPE)
    assert program.process.stdout is not None
    until = chance.randrange(1, EACH)
    deadline = time.monotonic() + START_S
    try:
        for line in program.process.stdout:
            match line.split():
                case ["acked", order, run_id]:
                    acked[int(order)] = run_id
                    if int(order) - number * EACH >= until:
                        break
            assert time.monotonic() < deadline, "it did not get ready"
        time.sleep(chance.uniform(0.0, 1.0))
    finally:
        killed = program.kill_everything()
    for line in program.process.stdout:
        match line.split():
            case ["acked", order, run_id]:
                acked[int(order)] = run_id
    return killed


def finish(database: Path, run_ids: list[str]) -> list[str]:
    """How the runs ended, in a program that just lets them end."""
    wanted = database.parent / "runs.json"
    wanted.write_text(json.dumps(run_ids))
    program = Marked(["-c", FINISHING, str(database), str(wanted)], stdout=subprocess.PIPE)
    try:
        out, _ = program.process.communicate(timeout=FINISH_S)
    finally:
        program.kill_everything()
    statuses: list[str] = json.loads(out)
    return statuses
