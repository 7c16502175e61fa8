"""A unified patch without line numbers, as models write it, applied to a memory block."""

from __future__ import annotations

from repertory.errors import ToolError
from repertory.memory.block import Block
from repertory.memory.edits import lines_of


def patched(block: Block, patch: str) -> str:
    """The block's value after all hunks of `patch`, in order.

    Raises ToolError if a hunk's old lines do not occur exactly once, or a line has no mark.
    """
    lines = lines_of(block.value)
    hunks = _hunks(patch)
    if not hunks:
        raise ToolError("The patch changes nothing: mark lines to remove with '-' and lines to add with '+'.")
    for number, (old, new) in enumerate(hunks, 1):
        at = _place(lines, old, number, block.label)
        lines[at : at + len(old)] = new
    return "\n".join(lines)


def _hunks(patch: str) -> list[tuple[list[str], list[str]]]:
    hunks: list[tuple[list[str], list[str]]] = []
    old, new = list[str](), list[str]()
    for line in [*patch.strip("\n").split("\n"), "@@"]:
        if line.startswith(("--- ", "+++ ", "***")):
            continue
        if line.startswith("@@"):
            if old != new:
                hunks.append((old, new))
            old, new = [], []
            continue
        mark, text = line[:1], line[1:]
        if mark not in ("", " ", "-", "+"):
            raise ToolError(
                f"The patch has a line without a mark: {line!r}. Begin each line with ' ' (stays), '-' (is removed) "
                f"or '+' (is added)."
            )
        if mark != "+":
            old.append(text)
        if mark != "-":
            new.append(text)
    return hunks


def _place(lines: list[str], old: list[str], number: int, label: str) -> int:
    if not old:
        # nothing but new lines: they go to the end
        return len(lines)
    places = [at for at in range(len(lines) - len(old) + 1) if lines[at : at + len(old)] == old]
    if len(places) != 1:
        found = "do not occur" if not places else f"occur {len(places)} times"
        raise ToolError(
            f"Hunk {number} of the patch does not fit: its context and removed lines {found} in memory block "
            f"'{label}', and must occur exactly once. Nothing was changed. They are:\n" + "\n".join(old)
        )
    return places[0]
