"""Made the sample of format 1: python tests/samples/make_format_1.py."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

from repertory.ids import IdSource
from repertory.maintenance import backup
from repertory.memory.database import Database
from repertory.memory.journal import UNFENCED, Commit, NewRow
from repertory.memory.offline import OfflineStore
from repertory.memory.tuning import Tuning

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from diary import Diary, assistant, user  # noqa: E402  # found through the line above


async def make(folder: Path) -> None:
    """Some rows that are moved to a table, and some that stay in the tail."""
    clock = iter(range(1_700_000_000, 1_800_000_000))

    async def write(folder: Path, name: str) -> None:
        still = Tuning(move_rows=1_000, move_after_s=1_000.0, idle_s=1_000.0)
        database = await Database.open(folder, ids=IdSource(1), now=lambda: float(next(clock)), tuning=still)
        diary = Diary(database.store, name)
        ann = await diary.agent(f"ann-{name}")
        await diary.said(ann, user("m1", "My dog is called Rex.", at=10.0), assistant("m2", "Héllo, 犬!", at=11.5))
        await diary.kept(ann, "p1", "Rex likes cheese", tags=("dog", "food"), at=12.0)
        await database.store.commit(Commit(op_id=f"{name}/message", author="client:1", epoch=UNFENCED, rows=(
            NewRow(stream=f"inbox:{ann}", kind="message", data={
                "run_id": f"run-{name}", "message_id": "m3", "text": "hello", "deadline_at": None, "max_steps": 7}),)))
        await diary.snapshot(ann, database.store.last_seq)
        await database.close()

    with tempfile.TemporaryDirectory() as scratch:
        await write(Path(scratch) / "db", "first")
        await backup(Path(scratch) / "db", folder)  # puts all rows into a table
    await write(folder, "second")


async def main() -> None:
    folder = HERE / "format_1"
    shutil.rmtree(folder, ignore_errors=True)
    await make(folder)
    for name in ("lock", "checkpoint"):
        (folder / name).unlink(missing_ok=True)
    store = await OfflineStore.open(folder)
    rows = [[row.seq, row.stream, row.kind, row.author, row.epoch, row.op_id, row.data]
            for row in await store.since(0)]
    store.close()
    (HERE / "format_1.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


asyncio.run(main())
