"""A flame graph over several processes: sampled by py-spy, merged, and drawn as one SVG.

Width is time (samples), a box stands on its caller (Gregg, *The Flame Graph*, CACM 2016). A box shows its full name
when the mouse rests on it; no script is needed.
"""

from __future__ import annotations

import html
import shutil
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: samples a second; a multiple of nothing else that ticks here
RATE = 197
WIDTH, ROW, FONT = 1600, 17, 11
#: a box narrower than so many pixels is left out
NARROW = 2.5


@dataclass(slots=True)
class Box:
    """A function on one path of callers."""

    name: str
    samples: int = 0
    children: dict[str, Box] = field(default_factory=dict)

    def add(self, frames: list[str], count: int) -> None:
        """Count a stack below this box."""
        self.samples += count
        if frames:
            self.children.setdefault(frames[0], Box(frames[0])).add(frames[1:], count)

    def depth(self) -> int:
        """How many rows it takes."""
        return 1 + max((child.depth() for child in self.children.values()), default=0)


def record(pids: Mapping[str, int], seconds: int, folder: Path) -> list[subprocess.Popen[bytes]]:
    """Begin to sample the processes (by name) for so long; wait for what is returned, then `merged`."""
    spy = shutil.which("py-spy") or str(Path(sys.executable).with_name("py-spy"))
    return [
        subprocess.Popen([spy, "record", "--pid", str(pid), "--duration", str(seconds), "--rate", str(RATE), "--format",
                          "raw", "--gil", "--output", str(folder / f"{name}.stacks"), "--nonblocking"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for name, pid in pids.items()
    ]


def merged(folder: Path) -> Box:
    """All stacks below one root, one child a process."""
    root = Box("all processes")
    for path in sorted(folder.glob("*.stacks")):
        for line in path.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            root.add([path.stem, *stack.split(";")], int(count))
    return root


def top(root: Box, process: str, rows: int = 8) -> list[tuple[str, float]]:
    """The functions in which a process itself spends most, with their share of all samples of the process."""
    own: dict[str, int] = {}

    def visit(box: Box) -> None:
        here = box.samples - sum(child.samples for child in box.children.values())
        own[box.name] = own.get(box.name, 0) + here
        for child in box.children.values():
            visit(child)

    box = root.children.get(process)
    if box is None:
        return []
    visit(box)
    ranked = sorted(own.items(), key=lambda item: -item[1])[:rows]
    return [(name, count / box.samples) for name, count in ranked if count]


def draw(root: Box, title: str) -> str:
    """The flame graph as SVG, the root at the bottom."""
    height = (root.depth() + 3) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" '
        f'font-size="{FONT}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fffdf8"/>',
        f'<text x="8" y="{ROW}" font-size="{FONT + 2}">{html.escape(title)}</text>',
    ]
    scale = (WIDTH - 2) / max(root.samples, 1)
    _draw_box(root, 1.0, height - ROW - 2, scale, root.samples, parts)
    parts.append("</svg>")
    return "\n".join(parts)


def _draw_box(box: Box, x: float, y: float, scale: float, total: int, parts: list[str]) -> None:
    width = box.samples * scale
    if width < NARROW:
        return
    share = 100 * box.samples / max(total, 1)
    name = html.escape(box.name)
    shown = html.escape(box.name[: max(0, int(width / (FONT * 0.62)) - 1)])
    label = f'<text x="{x + 3:.1f}" y="{y + ROW - 5}">{shown}</text>' if shown else ""
    parts.append(f'<g><title>{name} ({share:.1f} %)</title>'
                 f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" fill="{_colour(box.name)}" rx="1"/>'
                 f'{label}</g>')
    for child in box.children.values():
        _draw_box(child, x, y - ROW, scale, total, parts)
        x += child.samples * scale


def _colour(name: str) -> str:
    """Ours warm, all else cool; the shade tells neighbours apart."""
    shade = zlib.crc32(name.encode()) % 40
    ours = any(part in name for part in ("repertory/", "actors/", "memory/", "tools/", "groups/"))
    if ours:
        return f"hsl({20 + shade % 25}, 85%, {64 + shade % 12}%)"
    return f"hsl({200 + shade}, 35%, {76 + shade % 10}%)"
