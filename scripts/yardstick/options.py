"""The options that all benchmarks share."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent.parent


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with --json, --quick, --rounds and --out."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help="print JSON instead of a table")
    made.add_argument("--quick", action="store_true", help="a tenth of the work: shows that it runs, not how fast")
    made.add_argument("--rounds", type=int, default=0, metavar="N", help="how often everything is measured, in turns")
    made.add_argument("--out", type=Path, default=ROOT / "bench-results", help="folder for JSON, PNG and SVG")
    return made


def progress(what: str, number: int, rounds: int) -> None:
    """Say on stderr which round of `rounds` begins, counted from 0."""
    Console(stderr=True).print(f"{what}: round {number + 1} of {rounds}", style="dim")
