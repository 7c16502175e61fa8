"""Play seeds of the simulator; print the first broken promise with its seed, the last events, and a shorter plan.

    scripts/simulate --seeds 0:1000 --jobs 2      a thousand worlds
    scripts/simulate --plan 577 --trace           one seed, with everything that happened
    scripts/simulate --plan 577/s3.7/f/           one seed, with only steps 3 and 7 and no faults
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from rich.console import Console
from simulator.plan import plan_from, plan_of
from simulator.play import SHOWN_EVENTS, Played, play, play_all
from simulator.shrink import Shrinker

progress = Console(stderr=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:100", help="A:B, from A up to and without B (default 0:100)")
    parser.add_argument("--plan", help="one seed, or the short plan that a violation was shrunk to")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--trace", action="store_true", help="with --plan: print all that happened")
    parser.add_argument("--no-shrink", action="store_true", help="do not look for a shorter plan")
    options = parser.parse_args()
    if options.plan:
        played = play(plan_from(options.plan), whole=options.trace)
        if options.trace:
            print("\n".join(played.events))
        return report(played) if played.violation else calm([played])
    start, end = map(int, options.seeds.split(":"))
    return play_range(range(start, end), options.jobs, shrink=not options.no_shrink)


def play_range(seeds: range, jobs: int, *, shrink: bool) -> int:
    """Play seeds until one breaks a promise."""
    done: list[Played] = []
    began = time.monotonic()
    with progress.status("") as status:
        for played in play_all(seeds, jobs=jobs):
            done.append(played)
            status.update(f"{len(done)} of {len(seeds)} seeds, {time.monotonic() - began:.0f} s")
            if played.violation:
                faults(done)
                report(played)
                if shrink:
                    shorten(played)
                return 1
    return calm(done)


def shorten(played: Played) -> None:
    """Say which part of the plan suffices."""
    whole = plan_of(played.seed)
    shrinker = Shrinker(whole, played)
    with progress.status("looking for a shorter plan"):
        small = shrinker.shrink()
    print(f"\nA shorter plan breaks it too ({len(small.steps)} of {len(whole.steps)} steps, "
          f"{len(small.faults)} of {len(whole.faults)} faults):\n"
          f"  scripts/simulate --trace --plan {small.text(whole)}\n")
    for step in small.steps:
        print(f"  step {step.number} at {step.at:.3f} s: person {step.person}: {step.verb} (agent {step.agent})")
    for fault in small.faults:
        print(f"  fault {fault.number} at {fault.at:.3f} s: {fault.kind} {fault.target} {fault.pick}")
    report(shrinker.played)


def report(played: Played) -> int:
    """Print a violation and how it came about."""
    print("\n".join(played.events[-SHOWN_EVENTS:]))
    print(f"\nseed {played.seed} breaks {played.violation}")
    return 1


def calm(done: list[Played]) -> int:
    """Print that all went well."""
    faults(done)
    print(f"{len(done)} seeds without a violation: {sum(p.commits for p in done)} commits, "
          f"{sum(p.requests for p in done)} requests to models")
    return 0


def faults(done: list[Played]) -> None:
    """Print how often each kind of fault was injected."""
    counts: Counter[str] = Counter()
    for played in done:
        counts.update(played.faults)
    for kind, count in counts.most_common():
        print(f"{count:9}  {kind}")


if __name__ == "__main__":
    sys.exit(main())
