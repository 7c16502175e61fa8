"""Each kind of damage to the newest table and to the tail: nothing is lost in silence, no database begins anew (P1)."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _journal_audit import audit, whole_journal

from repertory.errors import DatabaseDamaged
from repertory.ids import IdSource
from repertory.memory.database import Database
from repertory.memory.journal import CLAIM, Commit, NewRow
from repertory.memory.tuning import Tuning

#: databases that are damaged, for each kind of damage
EACH = 12
#: small files, so that a few hundred commits pass through all that happens to them
TUNING = Tuning(move_rows=16, move_after_s=0.01, tail_bytes=16_000, segment_bytes=150_000, compact_appends=6,
                idle_s=0.02, keep_s=0.05, checkpoint_rows=150)

Damage = Callable[[Path, random.Random], bool]


def newest(folder: Path, pattern: str) -> Path | None:
    """The file that was written last."""
    found = sorted(folder.glob(pattern), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return found[-1] if found else None


def last_table(folder: Path) -> Path:
    return sorted(folder.glob("journal_*.lance"))[-1]


def manifest(folder: Path) -> Path | None:
    found = sorted((last_table(folder) / "_versions").glob("*.manifest"))
    return found[0] if found else None


def cut(path: Path | None, rng: random.Random) -> bool:
    if path is None or not path.stat().st_size:
        return False
    path.write_bytes(path.read_bytes()[:rng.randrange(path.stat().st_size)])
    return True


def zero(path: Path | None) -> bool:
    if path is None:
        return False
    path.write_bytes(bytes(path.stat().st_size))
    return True


def flip(path: Path | None, rng: random.Random) -> bool:
    if path is None or not path.stat().st_size:
        return False
    raw = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 8])):
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)
    return True


def remove(path: Path | None) -> bool:
    if path is None:
        return False
    path.unlink()
    return True


def any_data_file(folder: Path, rng: random.Random) -> Path | None:
    found = sorted((last_table(folder) / "data").glob("*.lance"))
    return rng.choice(found) if found else None


def all_manifests(folder: Path, rng: random.Random) -> bool:
    for path in (last_table(folder) / "_versions").glob("*.manifest"):
        zero(path)
    return True


DAMAGES: dict[str, Damage] = {
    "manifest cut": lambda folder, rng: cut(manifest(folder), rng),
    "manifest zeroed": lambda folder, rng: zero(manifest(folder)),
    "manifest flipped": lambda folder, rng: flip(manifest(folder), rng),
    "manifest deleted": lambda folder, rng: remove(manifest(folder)),
    "every manifest zeroed": all_manifests,
    "newest data file cut": lambda folder, rng: cut(newest(last_table(folder) / "data", "*.lance"), rng),
    "newest data file zeroed": lambda folder, rng: zero(newest(last_table(folder) / "data", "*.lance")),
    "newest data file flipped": lambda folder, rng: flip(newest(last_table(folder) / "data", "*.lance"), rng),
    "newest data file deleted": lambda folder, rng: remove(newest(last_table(folder) / "data", "*.lance")),
    "any data file flipped": lambda folder, rng: flip(any_data_file(folder, rng), rng),
    "any data file deleted": lambda folder, rng: remove(any_data_file(folder, rng)),
    "tail cut": lambda folder, rng: cut(newest(folder, "journal.tail.*"), rng),
    "tail zeroed": lambda folder, rng: zero(newest(folder, "journal.tail.*")),
    "tail flipped": lambda folder, rng: flip(newest(folder, "journal.tail.*"), rng),
    "tail deleted": lambda folder, rng: remove(newest(folder, "journal.tail.*")),
    "table deleted": lambda folder, rng: shutil.rmtree(last_table(folder)) is None,
    "checkpoint flipped": lambda folder, rng: flip(folder / "checkpoint", rng),
    "identity zeroed": lambda folder, rng: zero(folder / "database.json"),
    "identity deleted": lambda folder, rng: remove(folder / "database.json"),
}


async def opened(folder: Path) -> Database:
    return await Database.open(folder, ids=IdSource(), now=time.time, tuning=TUNING)


async def make(folder: Path, rng: random.Random) -> dict[str, tuple[int, int]]:
    """A database that was used, and closed at some moment; what it acknowledged."""
    database = await opened(folder)
    acknowledged: dict[str, tuple[int, int]] = {}

    async def commit(op_id: str, author: str, epoch: int, *rows: NewRow) -> int:
        numbered = tuple(NewRow(stream=row.stream, kind=row.kind, data={**row.data, "of": len(rows), "index": index})
                         for index, row in enumerate(rows))
        done = await database.store.commit(Commit(op_id=op_id, author=author, epoch=epoch, rows=numbered))
        acknowledged[op_id] = (done.first, done.last)
        return done.epoch

    await commit("create", "directory", CLAIM, NewRow(stream="author:directory", kind="activated"),
                 NewRow(stream="registry", kind="agent_created", data={"id": "a", "name": "A", "spec": {}}))
    epoch = await commit("claim", "agent:a", CLAIM, NewRow(stream="agent:a", kind="activated"))
    total = rng.choice([20, 200, 400])
    for number in range(0, total, 4):
        await asyncio.gather(*(
            commit(f"op{number}/{index}", "agent:a", epoch,
                   *[NewRow(stream="agent:a", kind="edited", data={"fill": rng.randbytes(rng.choice([20, 400]))})
                     for _ in range(rng.choice([1, 1, 3]))]) for index in range(4)))
    await asyncio.sleep(rng.choice([0.0, 0.02, 0.3]))
    await database.close()
    return acknowledged


async def outcome(folder: Path, acknowledged: dict[str, tuple[int, int]]) -> str:
    """Open the damaged database and see that it owns up to what is missing."""
    try:
        database = await opened(folder)
    except DatabaseDamaged:
        return "refused"
    try:
        store = database.store
        rows = await whole_journal(store)  # LanceDB notices some damage only when a row is read
        lost = [(d.first, d.last) for d in store.damage if d.kind in ("lost", "unreadable", "torn")]
        result = audit(rows, acknowledged, lost)
        before = store.last_seq
        if result["reported_lost"] == 0:
            claim = NewRow(stream="author:auditor", kind="activated", data={"of": 1, "index": 0})
            done = await store.commit(Commit(op_id=f"after {before}", author="auditor", epoch=CLAIM, rows=(claim,)))
            assert done.first == before + 1
        return "loss reported" if result["reported_lost"] else "whole"
    finally:
        await database.close()


async def check(name: str, damage: Damage, rng: random.Random) -> str:
    root = Path(tempfile.mkdtemp(prefix="repertory-damage-"))
    try:
        folder = root / "db"
        acknowledged = await make(folder, rng)
        if not damage(folder, rng):
            return "nothing to damage"
        first = await outcome(folder, acknowledged)
        if first == "whole":  # what was repaired stays so
            again = await outcome(folder, acknowledged)
            assert again == "whole", f"{name}: whole at first, then {again}"
        return first
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run(scale: float) -> dict[str, Any]:
    times = max(1, round(EACH * scale))
    outcomes: dict[str, dict[str, int]] = {}
    for name, damage in DAMAGES.items():
        for turn in range(times):
            result = asyncio.run(check(name, damage, random.Random(f"{name}/{turn}")))
            outcomes.setdefault(name, {}).setdefault(result, 0)
            outcomes[name][result] += 1
    for name in ("manifest cut", "manifest zeroed", "manifest deleted", "checkpoint flipped"):
        assert "loss reported" not in outcomes[name], f"{name} must cost nothing: {outcomes[name]}"
        assert "refused" not in outcomes[name], f"{name} must be repaired: {outcomes[name]}"
    assert all(set(outcomes[name]) == {"refused"} for name in ("identity zeroed", "identity deleted")), outcomes
    return outcomes
