"""Reads a whole journal through its store and checks what must always hold."""

from __future__ import annotations

from typing import Any

from repertory.memory.durable import DurableStore
from repertory.memory.journal import Row


async def whole_journal(store: DurableStore) -> list[Row]:
    rows: list[Row] = []
    while more := await store.since(rows[-1].seq if rows else 0, limit=2_000):
        rows += more
    return rows


def audit(rows: list[Row], acknowledged: dict[str, tuple[int, int]], lost: list[tuple[int, int]]) -> dict[str, Any]:
    """Every acknowledged commit is there once, or its seqs are reported as lost; no half commits; no gaps."""
    expected, gaps = 1, []
    for row in rows:
        if row.seq != expected:
            assert row.seq > expected, f"seq {row.seq} comes after {expected - 1}"
            gaps.append((expected, row.seq - 1))
        expected = row.seq + 1
    for first, last in gaps:
        assert all(any(a <= seq <= b for a, b in lost) for seq in range(first, last + 1)), f"{first}-{last} unreported"
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.op_id, []).append(row)
    for op_id, mine in found.items():
        seqs = [row.seq for row in mine]
        whole = [row.data["index"] for row in mine] == list(range(mine[0].data["of"]))
        reported = any(a <= seqs[-1] + 1 and b >= seqs[0] - 1 for a, b in lost)
        assert whole or reported, f"{op_id} is there in part, or twice: {seqs}"
    missing = 0
    for op_id, (first, last) in acknowledged.items():
        rows_here = found.get(op_id)
        if rows_here is None or len(rows_here) != last - first + 1:
            gone = set(range(first, last + 1)) - {row.seq for row in rows_here or []}
            assert all(any(a <= seq <= b for a, b in lost) for seq in gone), f"{op_id} ({first}-{last}) lost in silence"
            missing += 1
        else:
            assert (rows_here[0].seq, rows_here[-1].seq) == (first, last), f"{op_id} moved"
    return {"rows": len(rows), "commits": len(found), "acknowledged": len(acknowledged), "reported_lost": missing}
