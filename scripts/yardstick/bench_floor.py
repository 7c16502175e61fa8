"""`scripts/bench_floor`: measures the floor, with and without HTTP before it, one message at a time and 20 at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

import aiohttp

from yardstick import cluster, machine, mock_model, options, report, timing
from yardstick.floor import Floor, http_sender
from yardstick.subject import Send, crowd

AGENTS = 20


Seen = dict[str, list[float]]


async def measure(model: mock_model.MockModel, folder: Path, rounds: int, count: int, each: int) -> Seen:
    """All figures, a list with one value a round each."""
    seen: Seen = defaultdict(list)
    for number in range(rounds):
        options.progress("the floor", number, rounds)
        for shared in (False, True):
            floor = Floor.start(model, folder / f"{number}-{shared}", shared=shared)
            address = await floor.serve()
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                for way, send in (("", floor.send), (" http", http_sender(session, address))):
                    await one_way(model, send, f"{floor.name} {{}}{way}", count, each, seen)
            floor.stop()
    return seen


async def one_way(model: mock_model.MockModel, send: Send, key: str, count: int, each: int, seen: Seen) -> None:
    """One round of one floor, by one way to it."""

    async def hello(number: int) -> None:
        await send(0, f"hello number {number}")

    model.set(latency_ms=0)
    await timing.each_ms(hello, 5)
    taken = await timing.each_ms(hello, count)
    for percent in (50, 99):
        seen[key.format(f"p{percent}")].append(timing.percentile(taken, percent))
    for latency in (0, 200):
        model.set(latency_ms=latency)
        found = await crowd(send, AGENTS, each)
        seen[key.format(latency)].append(found.messages_per_s)


def lines(seen: Seen) -> list[report.Line]:
    """The table's lines."""
    made = []
    for key in ("p50", "p99"):
        made.append(report.Line(name=f"one message at a time, {key}, with HTTP", unit="ms",
                                value=timing.spread(seen[f"floor {key} http"])))
        made.append(report.Line(name=f"one message at a time, {key}, without HTTP", unit="ms",
                                value=timing.spread(seen[f"floor {key}"])))
    with_http, without = seen["floor p50 http"], seen["floor p50"]
    share = [a - b for a, b in zip(with_http, without, strict=True)]
    made.append(report.Line(name="the share of HTTP in the p50", unit="ms", value=timing.spread(share),
                            ratio=timing.ratios(share, with_http), note="of the p50 with HTTP"))
    for kind in ("floor", "floor, shared appends"):
        for latency in (0, 200):
            for way in (" http", ""):
                name = f"{AGENTS} agents at once, model {latency} ms{', with HTTP' if way else ''}"
                name += ", appends shared" if kind != "floor" else ""
                made.append(report.Line(name=name, unit="messages/s",
                                        value=timing.spread(seen[f"{kind} {latency}{way}"])))
    return made


def main() -> None:
    """Run it."""
    chosen = options.parser(__doc__ or "").parse_args()
    rounds = chosen.rounds or (1 if chosen.quick else 5)
    facts = machine.facts()
    with mock_model.running() as model, cluster.work_folder(options.ROOT) as folder, cluster.local_ray():
        seen = asyncio.run(measure(model, folder, rounds, count=20 if chosen.quick else 150,
                                   each=2 if chosen.quick else 20))
    made = report.Report(name="floor", title="The floor: the least for one message", facts=facts, rounds=rounds,
                         lines=lines(seen))
    made.notes.append("HTTP (uvicorn) → Ray actor → Ray actor → mock model by the official SDK; one synced LanceDB"
                      " append in a third. `appends shared`: rows that wait at the same time share one append.")
    report.deliver(made, chosen.out, chosen.json)


if __name__ == "__main__":
    main()
