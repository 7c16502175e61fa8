"""`scripts/bench_peer`: measures LangGraph, what one would use instead, with the same mock model."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

from yardstick import cluster, machine, mock_model, options, peer, report, timing

THREADS = 20
#: how long one thread gets: its first 20 and its last 20 messages are compared
LONG = 150
EDGE = 20


Seen = dict[str, list[float]]


async def measure(model: mock_model.MockModel, python: Path, folder: Path, rounds: int, quick: bool) -> Seen:
    """All figures, a list with one value a round each."""
    seen: Seen = defaultdict(list)
    long, each = (40, 2) if quick else (LONG, 10)
    for number in range(rounds):
        options.progress("the floor and LangGraph", number, rounds)
        place = folder / str(number)
        place.mkdir()
        model.set(latency_ms=0)
        async with peer.running(python, model, place) as subject:
            taken = await subject.sequence(0, EDGE)
            seen["disk short"].append(subject.disk_bytes() / EDGE)
            taken += await subject.sequence(0, long - EDGE)
            seen["disk long"].append(subject.disk_bytes() / long)
            seen["p50 early"].append(timing.percentile(taken[:EDGE], 50))
            seen["p99 early"].append(timing.percentile(taken[:EDGE], 99))
            seen["p50 late"].append(timing.percentile(taken[-EDGE:], 50))
            for turn, latency in enumerate((0, 200)):
                model.set(latency_ms=latency)
                found = await subject.at_once(THREADS, each, first=100 + turn * THREADS)
                seen[f"crowd {latency}"].append(found.messages_per_s)
    return seen


def lines(seen: Seen, long: int) -> list[report.Line]:
    """The table's lines."""
    kibi = {key: [value / 1024 for value in seen[key]] for key in ("disk short", "disk long")}
    rows = [
        ("one message at a time, p50, messages 1-20", "ms", seen["p50 early"]),
        ("one message at a time, p99, messages 1-20", "ms", seen["p99 early"]),
        (f"one message at a time, p50, messages {long - EDGE + 1}-{long}", "ms", seen["p50 late"]),
        (f"{THREADS} threads at once, model 0 ms", "messages/s", seen["crowd 0"]),
        (f"{THREADS} threads at once, model 200 ms", "messages/s", seen["crowd 200"]),
        ("disk a message, after 20", "KiB", kibi["disk short"]),
        (f"disk a message, after {long}", "KiB", kibi["disk long"]),
    ]
    return [report.Line(name=name, unit=unit, value=timing.spread(values)) for name, unit, values in rows]


def main() -> None:
    """Run it."""
    chosen = options.parser(__doc__ or "").parse_args()
    rounds = chosen.rounds or (1 if chosen.quick else 5)
    python = peer.environment(options.ROOT)
    facts = machine.facts()
    facts["versions"] |= peer.versions(python)
    with mock_model.running() as model, cluster.work_folder(options.ROOT) as folder:
        seen = asyncio.run(measure(model, python, folder, rounds, chosen.quick))
    made = report.Report(name="peer", title="The peer: LangGraph with its SQLite checkpointer", facts=facts,
                         rounds=rounds, lines=lines(seen, 40 if chosen.quick else LONG))
    made.notes.append('create_agent, AsyncSqliteSaver, durability="sync"; times are taken inside its process.')
    report.deliver(made, chosen.out, chosen.json)


if __name__ == "__main__":
    main()
