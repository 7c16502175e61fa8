"""Processes that run a durable store under load until they are killed, and say what was acknowledged.

Each acknowledgement is one line of a file, written with one system call: `op_id first last`. What was not written
there may be in the journal or not; what was written must be. Importing takes longer than all the rest, so this process
only imports; for each line `folder run acknowledgements` on stdin it forks one that works, and answers with its pid.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

from repertory.ids import IdSource
from repertory.memory import lancetables  # noqa: F401 (so that it is imported once)
from repertory.memory.database import Database
from repertory.memory.journal import CLAIM, Commit, NewRow
from repertory.memory.tuning import Tuning

WORKERS = 8


def tuning(rng: random.Random) -> Tuning:
    """Everything that the store does seldom happens within a second, in another mixture each time."""
    return Tuning(
        move_rows=rng.choice([1, 8, 64]), move_after_s=rng.choice([0.0, 0.02, 0.1]),
        tail_bytes=rng.choice([2_000, 20_000]), segment_bytes=rng.choice([50_000, 300_000]),
        compact_appends=rng.choice([3, 10]), idle_s=0.05, keep_s=rng.choice([0.0, 0.2]),
        checkpoint_rows=rng.choice([40, 300]), cache_bytes=rng.choice([0, 100_000]))


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def rows_of(worker: int, op_id: str, rng: random.Random) -> tuple[NewRow, ...]:
    count = rng.choice([1, 1, 2, 3])
    fill = "x" * rng.choice([10, 200, 2_000])
    data = [{"of": count, "index": index, "fill": fill, "run_id": f"run-{op_id}-{index}", "conversation_id": "default"}
            for index in range(count)]
    return tuple(NewRow(stream=f"agent:{worker}", kind="edited", data=one) if index == 0 else
                 NewRow(stream=f"inbox:{(worker + index) % WORKERS}", kind="message", data=one)
                 for index, one in enumerate(data))


async def create(database: Database) -> None:
    for worker in range(WORKERS):
        name = f"create/{worker}"
        if not await database.store.lookup(name):
            claim = NewRow(stream="author:directory", kind="activated", data={"of": 2, "index": 0})
            agent = NewRow(stream="registry", kind="agent_created",
                           data={"id": str(worker), "name": f"agent {worker}", "spec": {}, "of": 2, "index": 1})
            done = await database.store.commit(
                Commit(op_id=name, author="directory", epoch=CLAIM, rows=(claim, agent)))
            say(name, done.first, done.last)


async def work(database: Database, worker: int, run: str, rng: random.Random) -> None:
    author, name = f"agent:{worker}", f"{run}/claim/{worker}"
    done = await database.store.commit(Commit(op_id=name, author=author, epoch=CLAIM, rows=(
        NewRow(stream=author, kind="activated", data={"of": 1, "index": 0}),)))
    say(name, done.first, done.last)
    epoch, number = done.epoch, 0
    while True:
        name = f"{run}/{worker}/{number}"
        done = await database.store.commit(
            Commit(op_id=name, author=author, epoch=epoch, rows=rows_of(worker, name, rng)))
        say(name, done.first, done.last)
        number += 1
        if rng.random() < 0.05:
            await database.store.load(str(worker))
        if rng.random() < 0.02:
            await asyncio.sleep(0.15)  # the store has time for what it does when nobody asks


async def main(folder: Path, run: str) -> None:
    rng = random.Random(run)
    say("opening")
    database = await Database.open(folder, ids=IdSource(), now=time.time, tuning=tuning(rng))
    say("open")
    await create(database)
    await asyncio.gather(*(work(database, worker, run, random.Random(f"{run}/{worker}")) for worker in range(WORKERS)))


def serve() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them here
    for line in sys.stdin:
        folder, run, said = line.split()
        pid = os.fork()
        if not pid:
            os.dup2(os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 1)
            asyncio.run(main(Path(folder), run))
        say(pid)


if __name__ == "__main__":
    serve()
