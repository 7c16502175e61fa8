"""The tools that come with Repertory."""

from __future__ import annotations

from repertory.tools.builtin.findings import FINDINGS_TOOLS
from repertory.tools.builtin.memory import MEMORY_TOOLS
from repertory.tools.builtin.messaging import MESSAGING_TOOLS
from repertory.tools.builtin.search import SEARCH_TOOLS
from repertory.tools.tool import Tool

BUILTIN_TOOLS: tuple[Tool, ...] = (*MESSAGING_TOOLS, *SEARCH_TOOLS, *MEMORY_TOOLS, *FINDINGS_TOOLS)

__all__ = ["BUILTIN_TOOLS"]
