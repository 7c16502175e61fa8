"""20,000 seeds of the simulator without a violation, and all ten mutations of the product found (P1-P7)."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from rich.console import Console
from simulator.mutations import MUTATIONS
from simulator.play import play_all, play_seed

SEEDS = 20_000
#: seeds within which each mutation must be found
WITHIN = 1_000

progress = Console(stderr=True)


def run(scale: float) -> dict[str, Any]:
    seeds = max(1, round(SEEDS * scale))
    found = {name: first_to_find(name) for name in MUTATIONS}
    assert None not in found.values(), f"not found within {WITHIN} seeds: {found}"
    return {"mutations found by seed": found, **played(seeds)}


def played(seeds: int) -> dict[str, Any]:
    """Play seeds; raises when a promise was broken, and names each seed that breaks one."""
    faults: Counter[str] = Counter()
    broken: list[str] = []
    commits = requests = 0
    for number, one in enumerate(play_all(range(seeds), jobs=os.cpu_count() or 1), 1):
        faults.update(one.faults)
        commits, requests = commits + one.commits, requests + one.requests
        if one.violation:
            broken.append(f"seed {one.seed} breaks {one.violation}")
            progress.print(broken[-1])
        if number % 500 == 0:
            progress.print(f"simulate: {number} of {seeds} seeds")
    assert not broken, "\n".join(broken)
    return {"seeds": seeds, "violations": 0, "commits": commits, "requests to models": requests,
            "faults": dict(faults.most_common())}


def first_to_find(mutation: str) -> int | None:
    """The first seed that notices the mutation."""
    with MUTATIONS[mutation]():
        return next((seed for seed in range(WITHIN) if play_seed(seed).violation), None)
