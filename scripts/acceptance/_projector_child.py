"""Processes that write messages and passages and project them, until they are killed.

Importing takes longest, so this process only imports; for each line `folder run` on stdin it forks one that works, and
answers with its pid. One that works says `open` on stdout once it does.
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
from repertory.memory import (
    lancetables,  # noqa: F401 (so that it is imported once)
    projections,
    projector,
)
from repertory.memory.database import Database
from repertory.memory.embeddings import HashedWords

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from diary import Diary, assistant, user  # found through the line above

WORDS = [f"word{number}" for number in range(50)]


def hurry(rng: random.Random) -> None:
    """Everything that the projector does seldom happens within a second."""
    projector.LOOK_S, projector.WAIT_S, projector.BREATH_S = 0.005, 0.02, 0.0
    projector.ENOUGH_ROWS, projector.BATCH_ROWS = rng.choice([1, 8]), rng.choice([3, 40])
    projections.OPTIMISE_APPENDS = rng.choice([2, 6])


async def work(folder: Path, run: str) -> None:
    rng = random.Random(run)
    hurry(rng)
    embedder = HashedWords(16)
    database = await Database.open(folder, ids=IdSource(), now=time.time)
    store = database.store
    tables = projections.Projections(folder / projections.FOLDER, database_id=store.database_id,
                                     embedder=embedder.name, vector_size=embedder.size)
    projector.Projector(tables, store, embedder=embedder).start()
    diary = Diary(store, run)
    os.write(1, b"open\n")
    mine = [await diary.agent(f"{run}-{number}") for number in range(2)]
    passages: list[tuple[str, str]] = []
    for count in range(1_000_000):
        agent_id = rng.choice(mine)
        text = " ".join(rng.choices(WORDS, k=8))
        match rng.randrange(12):
            case 0 if passages:
                await diary.dropped(*passages.pop(rng.randrange(len(passages))))
            case 1 | 2 | 3:
                passages.append((agent_id, f"p-{run}-{count}"))
                await diary.kept(*passages[-1], text, tags=(rng.choice(WORDS),))
            case 4:
                await diary.said(agent_id, user(f"m-{run}-{rng.randrange(count + 1)}", text))
            case 5:
                await diary.snapshot(agent_id, store.last_seq)
            case 6 if rng.random() < 0.05:
                await diary.forget(agent_id)
                mine.remove(agent_id)
                passages = [one for one in passages if one[0] != agent_id]
                mine.append(await diary.agent(f"{run}-again-{count}"))
            case _:
                await diary.said(agent_id, user(f"m-{run}-{count}", text), assistant(f"a-{run}-{count}", text))
        await asyncio.sleep(rng.choice([0.0, 0.002]))


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        folder, run = line.split()
        pid = os.fork()
        if not pid:
            asyncio.run(work(Path(folder), run))
            os._exit(0)
        os.write(1, f"{pid}\n".encode())


if __name__ == "__main__":
    main()
