"""What an agent reaches: the store, models, shared blocks, search, other agents, tools. One value, handed to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from repertory.llm.protocol import ModelAnswer, ModelRequest
from repertory.memory.agent_types import AgentType
from repertory.memory.block import Edit
from repertory.memory.journal import Store
from repertory.memory.versions import BlockVersion
from repertory.tools.registry import ToolRegistry
from repertory.tools.tool import Tool


class Models(Protocol):
    """The gateway to language models; see `actors.models`."""

    async def answer(self, request: ModelRequest, *, stream: bool = False) -> ModelAnswer:
        """Ask a model. Raises ModelError or ConfigError."""

    async def deltas(self, request_id: str, *, after: int = 0, wait_s: float = 10.0) -> list[dict[str, Any]]:
        """Pieces of an answer that is being streamed."""

    async def cancel(self, request_id: str) -> bool:
        """Stop asking."""

    async def context_window(self, handle: str) -> int:
        """Tokens of a request and its answer together."""


class SharedBlocks(Protocol):
    """The coordinator of shared blocks; see `actors.blocks`."""

    async def edit(self, block_id: str, edit: Edit, *, op_id: str, by: str) -> BlockVersion:
        """Change a block."""

    async def read_since(self, known: dict[str, int]) -> dict[str, BlockVersion | None]:
        """Which of them have changed."""


class Search(Protocol):
    """Recall and archival memory; see `actors.reader`."""

    async def search(self, agent_id: str, what: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Messages or passages of this agent that fit."""


class Sandbox(Protocol):
    """Where custom tools run; see `actors.sandbox`. Without one, each call is an error (P8)."""

    async def run(self, tool: Tool, arguments: Mapping[str, Any], *, op_id: str, timeout_s: float) -> str:
        """What the tool returned, as text. Raises ToolError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """Everything outside of an agent that it may call."""

    store: Store
    models: Models
    blocks: SharedBlocks
    search: Search
    tools: ToolRegistry
    #: by name
    types: Mapping[str, AgentType]
    sandbox: Sandbox
    #: seconds since 1970
    now: Callable[[], float]
    #: op_ids that were never used before
    new_op: Callable[[], str]
