"""Three-way merge of two new versions of a text, line by line.

Each side is a list of hunks against the common base (difflib). Hunks that touch different lines are all applied, also
when the lines are neighbours; the same hunk on both sides is applied once; lines that both sides put at the same place
are all kept, the current ones first. Hunks that overlap in any other way are a conflict, which a person or a model
has to settle. (Khanna, Kunal, Pierce: A Formal Investigation of Diff3, 2007; unlike there, neighbours do not
conflict, since the lines of a memory block are facts of their own.)
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass

from repertory.memory.edits import lines_of

#: pairs of equal lines that difflib may look at; a text beyond that (ten thousand empty lines) is one hunk.
#: About a second's work.
MAX_PAIRS = 4_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Hunk:
    """Lines `start` up to `end` (excluded) of the base become `lines`."""

    start: int
    end: int
    lines: tuple[str, ...]

    @property
    def inserts(self) -> bool:
        """Whether it only adds lines."""
        return self.start == self.end


def merge(base: str, current: str, proposed: str) -> str | None:
    """What comes of `base` when both the changes to `current` and those to `proposed` are made; None: they conflict."""
    base_lines = lines_of(base)
    hunks = _interleaved(_hunks(base_lines, lines_of(current)), _hunks(base_lines, lines_of(proposed)))
    if hunks is None:
        return None
    merged: list[str] = []
    at = 0
    for hunk in hunks:
        merged += base_lines[at : hunk.start]
        merged += hunk.lines
        at = hunk.end
    return "\n".join(merged + base_lines[at:])


def unified_diff(old: str, new: str, *, old_name: str, new_name: str) -> str:
    """What changed from `old` to `new`, in the form of `diff -u`; empty if nothing did."""
    return "\n".join(difflib.unified_diff(lines_of(old), lines_of(new), old_name, new_name, lineterm=""))


def _hunks(base: list[str], other: list[str]) -> list[Hunk]:
    head = _common_prefix(base, other)
    tail = _common_prefix(base[head:][::-1], other[head:][::-1])
    old, new = base[head : len(base) - tail], other[head : len(other) - tail]
    if not old and not new:
        return []
    if _pairs(old, new) > MAX_PAIRS:
        return [Hunk(start=head, end=head + len(old), lines=tuple(new))]
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [
        Hunk(start=head + i1, end=head + i2, lines=tuple(new[j1:j2]))
        for tag, i1, i2, j1, j2 in matcher.get_opcodes()
        if tag != "equal"
    ]


def _interleaved(current: list[Hunk], proposed: list[Hunk]) -> list[Hunk] | None:
    """The hunks of both sides in the order of the base; None if two of them overlap."""
    merged: list[Hunk] = []
    reached = 0
    mine, theirs = list(reversed(current)), list(reversed(proposed))
    while mine or theirs:
        if mine and theirs and (both := _together(mine[-1], theirs[-1])) is not None:
            hunk = both
            mine.pop()
            theirs.pop()
        elif not theirs or (mine and _before(mine[-1], theirs[-1])):
            hunk = mine.pop()
        else:
            hunk = theirs.pop()
        if hunk.start < reached:
            return None
        merged.append(hunk)
        reached = hunk.end
    return merged


def _together(mine: Hunk, theirs: Hunk) -> Hunk | None:
    """One hunk for two that agree: the same change, or lines added at the same place (their equal ends only once)."""
    if mine == theirs:
        return mine
    if not (mine.inserts and theirs.inserts and mine.start == theirs.start):
        return None
    head = _common_prefix(mine.lines, theirs.lines)
    tail = _common_prefix(mine.lines[head:][::-1], theirs.lines[head:][::-1])
    added = theirs.lines[head : len(theirs.lines) - tail]
    split = len(mine.lines) - tail
    return Hunk(start=mine.start, end=mine.end, lines=(*mine.lines[:split], *added, *mine.lines[split:]))


def _before(mine: Hunk, theirs: Hunk) -> bool:
    return (mine.start, mine.end) <= (theirs.start, theirs.end)


def _common_prefix(one: list[str] | tuple[str, ...], other: list[str] | tuple[str, ...]) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length


def _pairs(old: list[str], new: list[str]) -> int:
    counts = Counter(new)
    return sum(counts[line] for line in old)
