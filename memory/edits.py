"""What an edit makes of a block's value: pure functions on text.

The same edits work on a private block, inside its agent's step, and on a shared one, at the coordinator. The texts of
the errors are read by models: they are those of the Letta V1 tools (SURFACE, section 5.8), and say what to do next.
"""

from __future__ import annotations

from typing import assert_never

from repertory.errors import BlockError, BlockLimitExceeded, BlockReadOnly
from repertory.memory.block import Append, Block, Edit, Insert, Rewrite, Substitute

READ_ONLY = "Error This block is read-only and cannot be edited."


def apply_edit(block: Block, edit: Edit) -> str:
    """The value that `block` has after `edit`.

    A `Rewrite` is taken as it is: whether somebody else has written since is for the owner of the block to see.

    Raises BlockReadOnly; BlockLimitExceeded; BlockError if the edit does not fit the value.
    """
    if block.read_only:
        raise BlockReadOnly(READ_ONLY, label=block.label)
    match edit:
        case Append():
            value = f"{block.value}\n{edit.content}" if block.value else edit.content
        case Insert():
            value = _insert(block.value, edit)
        case Substitute():
            value = _substitute_once(block, edit) if edit.once else _substitute_all(block, edit)
        case Rewrite():
            value = edit.value
        case _:
            assert_never(edit)
    value = value.replace("\x00", "")
    check_limit(block, value)
    return value


def check_limit(block: Block, value: str) -> None:
    """Refuse a value that is too long for `block`; one that shortens a block that is too long already may pass.

    Raises BlockLimitExceeded.
    """
    if len(value) > block.limit_chars and len(value) >= len(block.value):
        raise BlockLimitExceeded(
            f"Edit failed: memory block '{block.label}' would have {len(value)} characters, and its limit is "
            f"{block.limit_chars}. Nothing was changed. Keep details with archival_memory_insert, or shorten the "
            f"block with memory_rethink, then try again.",
            label=block.label, chars=len(value), limit_chars=block.limit_chars,
        )


def lines_of(value: str) -> list[str]:
    """The lines of a value; an empty value has none."""
    return value.split("\n") if value else []


def _insert(value: str, edit: Insert) -> str:
    lines = lines_of(value)
    at = len(lines) if edit.line == -1 else edit.line
    if not 0 <= at <= len(lines):
        raise BlockError(
            f"Invalid `insert_line` parameter: {edit.line}. It should be within the range of lines of the memory "
            f"block: [0, {len(lines)}], or -1 for the end.",
            line=edit.line, lines=len(lines),
        )
    return "\n".join([*lines[:at], edit.text, *lines[at:]])


def _substitute_all(block: Block, edit: Substitute) -> str:
    if not edit.old:
        return _fill(block, edit)
    if edit.old not in block.value:
        raise BlockError(f"Old content '{edit.old}' not found in memory block '{block.label}'", label=block.label)
    return block.value.replace(edit.old, edit.new)


def _substitute_once(block: Block, edit: Substitute) -> str:
    if not edit.old:
        return _fill(block, edit)
    value, old = block.value, edit.old
    if old not in value:
        # models write blanks where a block has tabs; what matches as it stands is left alone
        value, old = value.expandtabs(), old.expandtabs()
    starts = _occurrences(value, old)
    if not starts:
        raise BlockError(
            f"No replacement was performed, old_string `{edit.old}` did not appear verbatim in memory block with "
            f"label `{block.label}`.",
            label=block.label,
        )
    if len(starts) > 1:
        numbers = [value.count("\n", 0, start) + 1 for start in starts]
        raise BlockError(
            f"No replacement was performed. Multiple occurrences of old_string `{edit.old}` in lines {numbers}. "
            f"Please ensure it is unique.",
            label=block.label, lines=numbers,
        )
    return value.replace(old, edit.new)


def _fill(block: Block, edit: Substitute) -> str:
    """Replacing nothing: only an empty block has it exactly once."""
    if block.value:
        raise BlockError(
            f"No replacement was performed: the text to replace is empty, and memory block '{block.label}' is not. "
            f"Name the text to replace, or add lines with memory_insert.",
            label=block.label,
        )
    return edit.new


def _occurrences(value: str, old: str) -> list[int]:
    starts, at = [], value.find(old)
    while at >= 0:
        starts.append(at)
        at = value.find(old, at + len(old))
    return starts
