"""Tools with which an agent edits its own memory blocks (MemGPT paper, section 2.3; SURFACE, section 5.8).

Their docstrings are what the model reads. Each answers with the block's new value, so that the model sees what it has
done although its system message is not compiled anew.
"""

from __future__ import annotations

import re

from repertory.errors import ToolError
from repertory.memory.block import Append, Block, Insert, Rewrite, Substitute
from repertory.tools.builtin.function import builtin
from repertory.tools.builtin.patch import patched
from repertory.tools.tool import ToolContext

#: how the context numbers the lines of a block, and how older prompts did
_LINE_NUMBER = re.compile(r"^\s*(?:\d+→|Line \d+: )", re.MULTILINE)


async def core_memory_append(context: ToolContext, label: str, content: str) -> str:
    """Append to the contents of core memory: adds a line at the end of a memory block.

    Args:
        label: Section of the memory to be edited.
        content: Content to write to the memory. All unicode (including emojis) are supported.
    """
    return await context.edit(label, Append(content=content))


async def core_memory_replace(context: ToolContext, label: str, old_content: str, new_content: str) -> str:
    """Replace the contents of core memory. To delete memories, use an empty string for new_content.

    Args:
        label: Section of the memory to be edited.
        old_content: String to replace. Must be an exact match.
        new_content: Content to write to the memory. All unicode (including emojis) are supported.
    """
    return await context.edit(label, Substitute(old=old_content, new=new_content))


async def memory_replace(context: ToolContext, label: str, old_string: str, new_string: str) -> str:
    """Replace one exact piece of text in a memory block with another.

    Args:
        label: Section of the memory to be edited, identified by its label.
        old_string: The text to replace. It must occur exactly once, including blanks and line breaks; do not include
            line numbers.
        new_string: The text to put there. An empty string deletes the old text.
    """
    _refuse_line_numbers("memory_replace", old_string=old_string, new_string=new_string)
    return await context.edit(label, Substitute(old=old_string, new=new_string, once=True))


async def memory_insert(context: ToolContext, label: str, new_string: str, insert_line: int = -1) -> str:
    """Insert text at a given line of a memory block.

    Args:
        label: Section of the memory to be edited, identified by its label.
        new_string: The text to insert. Do not include line numbers.
        insert_line: The line number after which the text goes: 0 for the beginning, -1 (the default) for the end.
    """
    _refuse_line_numbers("memory_insert", new_string=new_string)
    return await context.edit(label, Insert(text=new_string, line=insert_line))


async def memory_rethink(context: ToolContext, label: str, new_memory: str) -> str:
    """Rewrite a memory block completely: to condense it, to reorganise it, or to resolve what contradicts itself.

    The block is created if there is none with that label. Small changes are better made with memory_replace or
    memory_insert.

    Args:
        label: Section of the memory to be rewritten, identified by its label.
        new_memory: The new contents of the whole block. What it leaves out is gone. Do not include line numbers.
    """
    _refuse_line_numbers("memory_rethink", new_memory=new_memory)
    try:
        known = context.block(label)
    except ToolError:
        context.create_block(Block(label=label))
        known = context.block(label)
    return await context.edit(label, Rewrite(value=new_memory, base_version=known.version))


async def memory_apply_patch(context: ToolContext, label: str, patch: str) -> str:
    """Apply a patch to a memory block: several changes of it in one call.

    Args:
        label: The block to edit, identified by its label.
        patch: Lines that begin with a blank are context and stay, lines with '-' are removed, lines with '+' are
            added. No line numbers. A line '@@' separates one place from the next; the context and removed lines of
            each place must occur exactly once in the block.
    """
    _refuse_line_numbers("memory_apply_patch", patch=re.sub(r"(?m)^[-+ ]", "", patch))
    known = context.block(label)
    return await context.edit(label, Rewrite(value=patched(known, patch), base_version=known.version))


async def memory_finish_edits(context: ToolContext) -> str:
    """Call this when all memory edits are done and nothing is left to integrate."""
    return "None"


def _refuse_line_numbers(tool: str, **texts: str) -> None:
    for name, text in texts.items():
        if _LINE_NUMBER.search(text):
            raise ToolError(
                f"{name} contains a line number prefix, which is not allowed. Do not include line numbers when "
                f"calling {tool}: they are for display only."
            )


MEMORY_TOOLS = (
    builtin(core_memory_append, pure=True),
    builtin(core_memory_replace, pure=True),
    builtin(memory_replace, pure=True),
    builtin(memory_insert, pure=True),
    builtin(memory_rethink, pure=True),
    builtin(memory_apply_patch, pure=True),
    builtin(memory_finish_edits, pure=True, terminal=True),
)
