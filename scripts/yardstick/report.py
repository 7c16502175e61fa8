"""What a benchmark has to say: a table for people, JSON for programs, a plot for a glance."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from yardstick.timing import Spread


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a row's ratio is to reach."""

    limit: float
    side: Literal["at most", "at least"]
    #: what the ratio is taken to, for people: "floor", "LangGraph, messages 1-20"
    of: str

    def held(self, ratio: float) -> bool:
        """Whether `ratio` reaches it."""
        return ratio <= self.limit if self.side == "at most" else ratio >= self.limit

    @property
    def text(self) -> str:
        """As it stands in the table."""
        return f"{'≤' if self.side == 'at most' else '≥'} {self.limit:g} × {self.of}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of the table."""

    name: str
    unit: str
    value: Spread
    #: to what its target names, round by round
    ratio: Spread | None = None
    target: Target | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`held` or `missed`, judged by the middle ratio; empty without a target."""
        if self.target is None or self.ratio is None:
            return ""
        return "held" if self.target.held(self.ratio.middle) else "missed"


@dataclass(kw_only=True, slots=True)
class Report:
    """All lines of one run."""

    name: str
    title: str
    facts: dict[str, Any]
    rounds: int
    lines: list[Line] = field(default_factory=list)
    #: sentences below the table
    notes: list[str] = field(default_factory=list)
    #: names its files
    begun: str = field(default_factory=lambda: time.strftime("%Y%m%d-%H%M%S"))

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        lines = [{**dataclasses.asdict(line), "verdict": line.verdict} for line in self.lines]
        return {"name": self.name, "title": self.title, "rounds": self.rounds, "facts": self.facts, "lines": lines,
                "notes": self.notes}

    def show(self, console: Console) -> None:
        """Print the table."""
        table = Table(title=f"{self.title} (the middle of {self.rounds} rounds, and from lowest to highest)")
        for heading in ("what", "value", "unit", "ratio", "to reach", ""):
            table.add_column(heading, justify="right" if heading in ("value", "ratio") else "left")
        for line in self.lines:
            colour = {"held": "green", "missed": "red"}.get(line.verdict, "default")
            table.add_row(line.name, line.value.text(), line.unit, line.ratio.text() if line.ratio else "",
                          line.target.text if line.target else line.note, f"[{colour}]{line.verdict}[/]")
        console.print(table)
        for note in self.notes:
            console.print(f"- {note}")
        known = self.facts
        console.print(f"{known['processor']}, {known['cores']} cores, {known['memory_gib']} GiB, a sync takes "
                      f"{known['sync_ms']} ms, load before {known['load_before'][0]}", style="dim")

    def keep(self, folder: Path) -> Path:
        """Write JSON, PNG and SVG into `folder`, again whenever there is more; the path of the JSON."""
        folder.mkdir(exist_ok=True)
        path = folder / f"{self.name}-{self.begun}.json"
        path.write_text(json.dumps(self.plain(), indent=1, ensure_ascii=False) + "\n")
        plot(self, path)
        return path


def deliver(report: Report, folder: Path, as_json: bool) -> None:
    """Keep the report in `folder` and print it: as JSON on standard output, else as a table."""
    path = report.keep(folder)
    if as_json:
        print(json.dumps(report.plain(), ensure_ascii=False))
    else:
        report.show(Console(width=140 if not sys.stdout.isatty() else None))
        print(f"kept: {path} (and .png, .svg)")


def plot(report: Report, path: Path) -> None:
    """Two panels beside `path`: times on a log scale, and ratios with what they are to reach."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    timed = [line for line in report.lines if line.unit == "ms"]
    judged = [line for line in report.lines if line.ratio and line.target]
    panels: list[tuple[str, list[Line]]] = [("milliseconds", timed), ("ratio (bar: what is to be reached)", judged)]
    panels = [panel for panel in panels if panel[1]]
    height = 1.2 + 0.34 * max(len(lines) for _, lines in panels)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(9 * len(panels), height), squeeze=False)
    for axis, (label, lines) in zip(axes[0], panels, strict=True):
        for place, line in enumerate(reversed(lines)):
            seen = line.value if lines is timed else line.ratio
            assert seen is not None
            colour = {"held": "#2a7f3f", "missed": "#b3261e"}.get(line.verdict, "#2b5fa3")
            axis.plot([seen.low, seen.high], [place, place], color=colour, linewidth=2, alpha=0.5)
            axis.plot([seen.middle], [place], "o", color=colour)
            if lines is judged and line.target:
                axis.plot([line.target.limit] * 2, [place - 0.35, place + 0.35], color="black", linewidth=2)
        axis.set_yticks(range(len(lines)), [line.name for line in reversed(lines)])
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.grid(axis="x", which="both", alpha=0.2)
    known = report.facts
    figure.suptitle(f"{report.title}\n{known['processor']}, {known['cores']} cores, {known['at']}", fontsize=9)
    figure.tight_layout()
    for kind in ("png", "svg"):
        figure.savefig(path.with_suffix(f".{kind}"), dpi=110)
    pyplot.close(figure)
