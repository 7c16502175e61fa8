"""What the journal's rows say to the searchable memory: messages, passages, and which of them are gone.

`gather` is the only place that knows it; the tables on disk and the search in memory both stand on it. It can be
repeated: the newest row about an id decides, so taking rows twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from repertory.memory.journal import Row
from repertory.messages import DEFAULT_CONVERSATION, Message, unpack

Source = Literal["messages", "passages"]
#: what makes a document one: its kind, its agent's id, its own id (one message may go to several agents)
Key = tuple[Source, str, str]

#: tools whose results are memory that was found: neither they nor the calls are found again
SEARCH_TOOLS = ("conversation_search", "archival_memory_search")
#: the tool by which an agent speaks; what it says is text like any other
_SPEAKING = "send_message"


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A message or a passage, as it is searched and listed."""

    source: Source
    id: str
    agent_id: str
    #: of the journal row that brought it, and its place among that row's others
    seq: int
    part: int
    #: what is searched and shown; empty if there is nothing to find in it
    text: str
    #: seconds since 1970
    at: float
    conversation_id: str = ""
    role: str = ""
    tool_name: str = ""
    tags: tuple[str, ...] = ()
    #: a message as it was packed, for listing; nothing for a passage
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What tells it from all others."""
        return self.source, self.agent_id, self.id

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands in time."""
        return self.seq, self.part


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotMark:
    """That the journal has a snapshot of an agent at `seq`, which holds all its rows up to `upto`."""

    agent_id: str
    seq: int
    upto: int
    at: float


@dataclass(kw_only=True, slots=True)
class Batch:
    """What a run of rows comes to."""

    #: the newest row that was looked at
    last: int = 0
    documents: dict[Key, Document] = field(default_factory=dict)
    #: passages that were deleted
    removed: dict[Key, None] = field(default_factory=dict)
    #: agents that were deleted
    forgotten: dict[str, None] = field(default_factory=dict)
    snapshots: list[SnapshotMark] = field(default_factory=list)

    def of(self, source: Source) -> list[Document]:
        """The messages or the passages, oldest first."""
        return sorted((d for d in self.documents.values() if d.source == source), key=lambda d: d.place)

    def put(self, document: Document) -> None:
        """A message or a passage is there, or has changed."""
        self.documents[document.key] = document
        self.removed.pop(document.key, None)

    def remove(self, key: Key) -> None:
        """A passage was deleted."""
        self.documents.pop(key, None)
        self.removed[key] = None

    def forget(self, agent_id: str) -> None:
        """An agent was deleted, with all that it remembered."""
        self.documents = {key: d for key, d in self.documents.items() if d.agent_id != agent_id}
        self.snapshots = [mark for mark in self.snapshots if mark.agent_id != agent_id]
        self.forgotten[agent_id] = None


def gather(rows: Iterable[Row]) -> Batch:
    """What `rows` (in the order of their seqs, any streams) come to."""
    batch = Batch()
    for row in rows:
        batch.last = row.seq
        stream, _, name = row.stream.partition(":")
        if stream == "agent":
            _take(batch, row, name)
        elif stream == "snapshot":
            batch.snapshots.append(SnapshotMark(agent_id=name, seq=row.seq, upto=row.data["upto"], at=row.at))
        elif row.kind == "agent_deleted":
            batch.forget(row.data["id"])
    return batch


def _take(batch: Batch, row: Row, agent_id: str) -> None:
    data = row.data
    conversation_id = data.get("conversation_id") or data.get("conversation") or DEFAULT_CONVERSATION
    for part, packed in enumerate(data.get("messages", ())):
        message = unpack(Message, packed)
        batch.put(Document(
            source="messages", id=plain(message.id), agent_id=agent_id, seq=row.seq, part=part,
            text=findable_text(message), at=message.at or row.at, conversation_id=plain(conversation_id),
            role=message.role, tool_name=message.tool_name or "", data=packed,
        ))
    for part, passage in enumerate(data.get("passages", ())):
        batch.put(Document(
            source="passages", id=plain(passage["id"]), agent_id=agent_id, seq=row.seq, part=part, text=passage["text"],
            at=passage.get("at") or row.at, tags=tuple(map(plain, passage.get("tags", ()))),
        ))
    for gone in data.get("deleted_passages", ()):
        batch.remove(("passages", agent_id, plain(gone["id"] if isinstance(gone, dict) else gone)))


def findable_text(message: Message) -> str:
    """What of a message can be found: what was said, and nothing of a search and its results."""
    called = [call.name for call in message.tool_calls]
    if message.tool_name in SEARCH_TOOLS or any(name in SEARCH_TOOLS for name in called):
        return ""
    said = [str(call.arguments.get("message", "")) for call in message.tool_calls if call.name == _SPEAKING]
    return "\n".join(part for part in (message.text, *said) if part)


def plain(name: str) -> str:
    """A tag or an id as it is kept and asked for: without NULs, which no filter can carry."""
    return name.replace("\0", "")
