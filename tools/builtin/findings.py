"""The tool with which a reader reports what it found in a document: into its own archive, and for all to see.

A map-reduce group shares one block, `findings`. Each document is reported once: a second report of it changes
nothing, so that a reader that is interrupted and reads again does no harm.
"""

from __future__ import annotations

from repertory.memory.block import Append
from repertory.tools.builtin.function import builtin
from repertory.tools.tool import ToolContext

#: the label of the shared block
FINDINGS = "findings"
#: what stands behind a document in which nothing was found
NOTHING = "—"


async def report_findings(context: ToolContext, document: str, sentences: list[str]) -> str:
    """Reports what you found in a document: archives it, and adds it to the findings that all readers share.

    Args:
        document: The name of the document, exactly as it was given to you.
        sentences: The sentences that you found, word for word, best first; an empty list if there are none.
    """
    marks = [line for line in context.block(FINDINGS).value.split("\n") if line.startswith(f"[{document}] ")]
    if marks:
        return f"{document} was reported before."
    kept = [" ".join(sentence.split()) for sentence in sentences if sentence.strip()]
    lines = [f"[{document}] {sentence}" for sentence in kept] or [f"[{document}] {NOTHING}"]
    await context.edit(FINDINGS, Append(content="\n".join(lines)))
    for sentence in kept:
        context.insert_passage(f"[{document}] {sentence}", ("findings",))
    return f"{document} is reported, with {len(kept)} sentences."


FINDINGS_TOOLS = (builtin(report_findings, pure=False),)
