"""The reader: searches and lists what agents remember, in a process of its own.

It only reads, and holds nothing that it could lose: it can be started again at any time, and there may be several.
All answers are plain data, so that who asks needs neither lancedb nor the reader's types.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from repertory.actors.handles import Ref, repeated
from repertory.memory.documents import Document, Source
from repertory.memory.embeddings import Embedder
from repertory.memory.journal import Loaded, Row, Store
from repertory.memory.reader import MemoryReader, SearchIndex
from repertory.memory.search import Query

#: seconds for one search, and until it is given up (the reader may be starting)
SEARCH_S, SEARCH_GIVE_UP_S = 20.0, 60.0


class ReaderActor:
    """Answers for one database."""

    def __init__(self, store: Store, index: SearchIndex | None = None, *, embedder: Embedder | None = None) -> None:
        """Without an `index` everything is read from the store (see `open_index`)."""
        self._reader = MemoryReader(store, index, embedder=embedder)

    async def search(self, agent_id: str, what: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Search an agent's messages or passages.

        Args:
            agent_id: whose.
            what: `messages` or `passages`.
            query: text, limit, start_at, end_at, mode; roles, conversation_id; tags, match: see `search.Query`.

        Returns:
            The results, best first, see `search.Hit.shown`.

        Raises:
            ValueError: a key that is unknown.
        """
        found = await self._reader.search(Query.of(_source(what), agent_id, **query))
        return [hit.shown() for hit in found]

    async def messages(self, agent_id: str, window: dict[str, Any]) -> list[dict[str, Any]]:
        """An agent's messages: as they were packed, with conversation_id and seq.

        `window`: conversation_id, after and before (ids), limit, newest_first. Raises NotFound for an unknown id.
        """
        found = await self._reader.page("messages", agent_id, **window)
        return [{**d.data, "at": d.at, "conversation_id": d.conversation_id, "seq": d.seq} for d in found]

    async def passages(self, agent_id: str, window: dict[str, Any]) -> list[dict[str, Any]]:
        """An agent's passages: id, text, tags, at, seq. `window` as in `messages`. Raises NotFound."""
        return [_passage(d) for d in await self._reader.page("passages", agent_id, **window)]

    async def history(self, agent_id: str, after: int = 0, limit: int = 100) -> tuple[Row, ...]:
        """What happened to an agent: the rows of its stream with seq > `after`, oldest first."""
        return await self._reader.history(agent_id, after=after, limit=limit)

    async def as_of(self, agent_id: str, seq: int) -> Loaded:
        """The agent as it was once its row `seq` was written. Raises AgentNotFound."""
        return await self._reader.as_of(agent_id, seq)


class ReaderHandle:
    """A reader that is reached by a reference. All that it does can be repeated, and is until there is an answer."""

    def __init__(self, ref: Ref, *, deadline_s: float = SEARCH_GIVE_UP_S) -> None:
        """`ref` leads to a reader, also to the one that replaces it; `deadline_s`: seconds to try."""
        self._ref = ref
        self._deadline_s = deadline_s

    async def search(self, agent_id: str, what: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        """See `ReaderActor.search`. Raises OutcomeUnknown when the reader stays away."""
        return cast("list[dict[str, Any]]", await self._ask("search", agent_id, what, query))

    async def messages(self, agent_id: str, **window: Any) -> list[dict[str, Any]]:
        """See `ReaderActor.messages`."""
        return cast("list[dict[str, Any]]", await self._ask("messages", agent_id, window))

    async def passages(self, agent_id: str, **window: Any) -> list[dict[str, Any]]:
        """See `ReaderActor.passages`."""
        return cast("list[dict[str, Any]]", await self._ask("passages", agent_id, window))

    async def history(self, agent_id: str, after: int = 0, limit: int = 100) -> tuple[Row, ...]:
        """See `ReaderActor.history`."""
        return cast("tuple[Row, ...]", await self._ask("history", agent_id, after, limit))

    async def as_of(self, agent_id: str, seq: int) -> Loaded:
        """See `ReaderActor.as_of`."""
        return cast(Loaded, await self._ask("as_of", agent_id, seq))

    async def _ask(self, method: str, *args: Any) -> Any:
        return await repeated(lambda left_s: self._ref.call(method, *args, timeout_s=left_s),
                              deadline_s=self._deadline_s, try_s=SEARCH_S)


def open_index(database: Path, embedder: Embedder | None) -> SearchIndex:
    """The index that lies in a database's folder. Imports lancedb."""
    from repertory.memory.lanceindex import LanceIndex  # 57 MB: only where something is read from the disk

    if embedder is None:
        return LanceIndex(database)
    return LanceIndex(database, embedder=embedder.name, vector_size=embedder.size)


def _source(what: str) -> Source:
    if what not in ("messages", "passages"):
        raise ValueError(f"{what!r} cannot be searched, only messages and passages")
    return cast(Source, what)


def _passage(document: Document) -> dict[str, Any]:
    return {"id": document.id, "text": document.text, "tags": list(document.tags), "at": document.at,
            "seq": document.seq}
