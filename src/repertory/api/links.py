"""What the objects of the Python face hold on to: handles of the system that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from repertory.actors.blocks import CoordinatorHandle
from repertory.actors.callers import AgentCaller
from repertory.actors.handles import DirectoryHandle
from repertory.actors.models import ModelsHandle
from repertory.actors.reader import ReaderHandle
from repertory.ids import IdSource
from repertory.memory.agent_types import AgentType
from repertory.memory.journal import Store
from repertory.messages import Sender
from repertory.tools.registry import ToolRegistry

#: seconds until an agent must have said what it is asked about itself (it may have to be activated)
READ_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """Handles of one running system."""

    store: Store
    directory: DirectoryHandle
    agents: AgentCaller
    blocks: CoordinatorHandle
    models: ModelsHandle
    reader: ReaderHandle
    #: the built-in tools, and the types of agents by name
    tools: ToolRegistry
    types: Mapping[str, AgentType]
    ids: IdSource
    #: seconds since 1970
    now: Callable[[], float]
    #: who speaks when nobody else is named
    me: Sender

    @property
    def author(self) -> str:
        """The name under which this client writes inboxes."""
        return f"client:{self.me.id}"

    def op(self, scope: str, key: str | None) -> str:
        """The op_id of one request: from the caller's idempotency key, or a new one.

        A key counts within its `scope` (what is done, and to whom), so the same one may be used for another thing.
        """
        return f"{self.author}/{self.ids.new('turn')}" if key is None else f"{self.author}/{scope}/{key}"
