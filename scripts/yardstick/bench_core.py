"""`scripts/bench_core`: measures Repertory in the same run as the floor (and, with --peer, LangGraph), in turns."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from yardstick import cluster, core, machine, mock_model, options, peer, report, verdicts
from yardstick.duel import AGENTS, LONG, Amount, Duel
from yardstick.errands import Errands
from yardstick.growth import Growth

PARTS = ("duel", "errands", "growth")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one call is to do."""

    model: mock_model.MockModel
    folder: Path
    python: Path | None
    rounds: int
    quick: bool

    @property
    def scale(self) -> float:
        """1, or the part of it that a quick run does."""
        return 0.1 if self.quick else 1.0


async def duel(run: Run) -> list[report.Line]:
    """Message for message against the floor and LangGraph."""
    amount = Amount(long=40, each=3, each_slow=3) if run.quick else Amount(long=LONG)
    async with contextlib.AsyncExitStack() as stack:
        subject = await stack.enter_async_context(core.running(run.model, run.folder / "duel", live_cap=60))
        rival = await stack.enter_async_context(peer.running(run.python, run.model, run.folder)) if run.python else None
        await subject.people(AGENTS)
        seen = Duel(run.model, run.folder, amount)
        for number in range(run.rounds):
            options.progress("message for message", number, run.rounds)
            await seen.round(number, subject, rival)
    return verdicts.duel_lines(seen.seen, amount.long)


async def errands(run: Run) -> list[report.Line]:
    """Everything else that a system is asked for."""
    async with core.running(run.model, run.folder / "errands", live_cap=120) as subject:
        seen = Errands(subject, run.model)
        for number in range(run.rounds):
            options.progress("everything else", number, run.rounds)
            await seen.round(number, run.scale)
            await seen.memory(5)
    return verdicts.errand_lines(seen.seen)


async def growth(run: Run) -> list[report.Line]:
    """A small and a large system side by side."""
    few, many = (20, 200) if run.quick else (100, 10_000)
    async with (core.running(run.model, run.folder / "small") as small,
                core.running(run.model, run.folder / "large") as large):
        seen = Growth(small, large, run.model)
        await seen.fill(few, many)
        for number in range(run.rounds):
            options.progress("small and large", number, run.rounds)
            await seen.round(5 if run.quick else 30)
    return verdicts.growth_lines(seen.seen, few, many)


async def measure(run: Run, parts: list[str], made: report.Report, out: Path) -> None:
    """The lines of the chosen parts; what one part has shown is kept before the next begins."""
    work = {"duel": duel, "errands": errands, "growth": growth}
    for part in parts:
        made.lines += await work[part](run)
        made.keep(out)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = options.parser(__doc__ or "")
    parser.add_argument("--peer", action="store_true", help="measure LangGraph too")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part (may be given again)")
    return parser.parse_args()


def main() -> None:
    """Run it."""
    chosen = arguments()
    rounds = chosen.rounds or (1 if chosen.quick else 5)
    python = peer.environment(options.ROOT) if chosen.peer else None
    facts = machine.facts()
    if python is not None:
        facts["versions"] |= peer.versions(python)
    made = report.Report(name="core", title="Repertory, against the floor and what one would use instead", facts=facts,
                         rounds=rounds)
    made.notes.append("No HTTP anywhere; `scripts/bench_floor` says what HTTP adds to the floor.")
    with mock_model.running() as model, cluster.work_folder(options.ROOT) as folder, cluster.local_ray():
        run = Run(model=model, folder=folder, python=python, rounds=rounds, quick=chosen.quick)
        asyncio.run(measure(run, chosen.only or list(PARTS), made, chosen.out))
    report.deliver(made, chosen.out, chosen.json)


if __name__ == "__main__":
    main()
