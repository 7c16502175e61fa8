"""Recall and archival memory as everybody reads them: what an index has, and the newest rows, as one.

An index on a disk lags behind the journal by a second or two. Its watermark says how far it has come; the agent's rows
above it are read from the store and joined in, so that whoever has written reads what was written. Without an index,
or while it cannot be read, all of the agent's rows are taken from the store: slower, and the same answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from repertory.errors import ModelError, NotFound
from repertory.memory.documents import Batch, Document, Source, gather, plain
from repertory.memory.embeddings import Embedder, cosine
from repertory.memory.journal import Loaded, Row, Store
from repertory.memory.rows import agent_stream, snapshot_stream
from repertory.memory.search import Hit, Query, ranked
from repertory.memory.terms import query_terms

#: seconds that a search waits for the vector of its question; then it goes by words alone
EMBED_S = 3.0
#: of the newest rows, which have no vectors yet, so many get theirs together with the question
EMBEDDED_AT_ONCE = 64
#: rows that one read of the store brings
PAGE = 1_000

_log = logging.getLogger("repertory.reader")


class IndexUnavailable(Exception):
    """The index cannot be read now: the journal answers in its place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What an index found for a query."""

    documents: tuple[Document, ...] = ()
    #: how many documents pass the query's filters
    total: int = 0
    #: how alike to the question the documents' vectors are, by id, from -1 to 1
    alike: Mapping[str, float] = field(default_factory=dict)
    #: whether the index has vectors at all; if not, the newest documents must not be ahead of the others by theirs
    has_vectors: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A page of a list."""

    source: Source
    agent_id: str
    #: None: of all conversations
    conversation_id: str | None = None
    #: only those behind this place, and only those before that one (see `Document.place`)
    after: tuple[int, int] | None = None
    before: tuple[int, int] | None = None
    limit: int = 100
    newest_first: bool = False

    def accepts(self, document: Document) -> bool:
        """Whether a document of this agent belongs to the list."""
        return (
            document.source == self.source and self.conversation_id in (None, document.conversation_id)
            and (self.after is None or document.place > self.after)
            and (self.before is None or document.place < self.before)
        )


class SearchIndex(Protocol):
    """What finds documents among many. Each call may raise IndexUnavailable."""

    async def watermark(self) -> int:
        """All rows up to this seq are in it, now and later."""

    async def find(self, query: Query, wanted: list[str], vector: list[float] | None) -> Found:
        """Candidates: the best by terms, and the best by vector if there is one; the newest without terms."""

    async def page(self, window: Window) -> list[Document]:
        """At most `window.limit` documents, from the end of the list that is asked for."""

    async def place(self, source: Source, agent_id: str, document_id: str) -> tuple[int, int] | None:
        """Where a document stands; None if it is not here."""

    async def snapshot_before(self, agent_id: str, seq: int) -> int:
        """The seq of the newest snapshot that holds no row behind `seq`; 0 if there is none."""


class NoIndex:
    """An index that has nothing. Satisfies `SearchIndex`."""

    async def watermark(self) -> int:
        """See `SearchIndex.watermark`."""
        return 0

    async def find(self, query: Query, wanted: list[str], vector: list[float] | None) -> Found:
        """See `SearchIndex.find`."""
        return Found()

    async def page(self, window: Window) -> list[Document]:
        """See `SearchIndex.page`."""
        return []

    async def place(self, source: Source, agent_id: str, document_id: str) -> tuple[int, int] | None:
        """See `SearchIndex.place`."""
        return None

    async def snapshot_before(self, agent_id: str, seq: int) -> int:
        """See `SearchIndex.snapshot_before`."""
        return 0


class MemoryReader:
    """Reads one database's messages and passages."""

    def __init__(self, store: Store, index: SearchIndex | None = None, *, embedder: Embedder | None = None) -> None:
        """Without an `index` everything comes from the store; without an `embedder` search goes by words alone."""
        self._store = store
        self._index: SearchIndex = index or NoIndex()
        self._embedder = embedder

    async def search(self, query: Query) -> list[Hit]:
        """The best results, best first; see `Query`."""
        try:
            return await self._search(query, self._index)
        except IndexUnavailable as error:
            _log.warning("the search index cannot be read, the journal is searched: %s", error)
            return await self._search(query, NoIndex())

    async def page(self, source: Source, agent_id: str, *, conversation_id: str | None = None,
                   after: str | None = None, before: str | None = None, limit: int = 100, newest_first: bool = False,
                   ) -> list[Document]:
        """Messages or passages in the order of time, or from the newest on.

        `after` and `before` are ids that themselves are left out. Raises NotFound for one that the agent does not have.
        """
        async def listed(index: SearchIndex) -> list[Document]:
            newest = await self._newest(agent_id, await index.watermark())
            spare = len(newest.documents) + len(newest.removed)  # so many of the index's may be outdated
            window = Window(
                source=source, agent_id=agent_id, limit=limit + spare,
                conversation_id=None if conversation_id is None else plain(conversation_id),
                newest_first=newest_first, after=await _place(index, newest, source, agent_id, after),
                before=await _place(index, newest, source, agent_id, before),
            )
            known = [d for d in await index.page(window) if not _outdated(d, newest)]
            known += [d for d in newest.of(source) if window.accepts(d)]
            return sorted(known, key=lambda d: d.place, reverse=newest_first)[:limit]

        try:
            return await listed(self._index)
        except IndexUnavailable as error:
            _log.warning("the index cannot be read, the journal is listed: %s", error)
            return await listed(NoIndex())

    async def history(self, agent_id: str, *, after: int = 0, limit: int = 100) -> tuple[Row, ...]:
        """What happened to an agent: the rows of its stream with seq > `after`, oldest first."""
        return await self._store.read(agent_stream(agent_id), after=after, limit=limit)

    async def as_of(self, agent_id: str, seq: int) -> Loaded:
        """The agent as it was once its row `seq` was written: for a look back, an undo or a fork.

        Raises AgentNotFound.
        """
        loaded = await self._store.load(agent_id)
        snapshot = await self._snapshot(agent_id, seq)
        rows = await self._rows(agent_stream(agent_id), snapshot.data["upto"] if snapshot else 0, upto=seq)
        return Loaded(spec=loaded.spec, snapshot=snapshot, events=tuple(rows), inbox=(), inbox_head=0)

    async def _search(self, query: Query, index: SearchIndex) -> list[Hit]:
        newest = await self._newest(query.agent_id, await index.watermark())
        fresh = [d for d in newest.of(query.source) if query.accepts(d)]
        question, vectors = await self._vectors(query, fresh)
        found = await index.find(query, query_terms(query.text), question)
        alike = dict(found.alike)
        if question is not None and found.has_vectors:
            alike.update((key, cosine(question, vector)) for key, vector in vectors.items())
        known = [d for d in found.documents if not _outdated(d, newest)]
        return ranked(query, [*known, *fresh], total=found.total + len(fresh), alike=alike)

    async def _vectors(self, query: Query, fresh: list[Document]) -> tuple[list[float] | None, dict[str, list[float]]]:
        """The question's vector, and those of the newest documents; None if there is none (in time)."""
        if self._embedder is None or query.mode == "lexical" or not query.text.strip():
            return None, {}
        new = fresh[-EMBEDDED_AT_ONCE:]
        try:
            async with asyncio.timeout(EMBED_S):
                question, *others = await self._embedder([query.text, *(d.text for d in new)])
        except (ModelError, TimeoutError) as error:
            _log.warning("the question has no vector, the search goes by words alone: %s", error or "too late")
            return None, {}
        return question, {d.id: vector for d, vector in zip(new, others, strict=True)}

    async def _newest(self, agent_id: str, watermark: int) -> Batch:
        return gather(await self._rows(agent_stream(agent_id), watermark))

    async def _rows(self, stream: str, after: int, *, upto: int | None = None) -> list[Row]:
        rows: list[Row] = []
        while True:
            page = await self._store.read(stream, after=after, limit=PAGE)
            rows += [row for row in page if upto is None or row.seq <= upto]
            if len(page) < PAGE or (upto is not None and page[-1].seq >= upto):
                return rows
            after = page[-1].seq

    async def _snapshot(self, agent_id: str, seq: int) -> Row | None:
        stream = snapshot_stream(agent_id)
        try:
            watermark = await self._index.watermark()
            best = await self._index.snapshot_before(agent_id, seq)
        except IndexUnavailable:
            watermark = best = 0
        newest = [row for row in await self._rows(stream, watermark) if row.data["upto"] <= seq]
        if newest:
            return newest[-1]
        rows = await self._store.read(stream, after=best - 1, limit=1) if best else ()
        return rows[0] if rows else None


def _outdated(document: Document, newest: Batch) -> bool:
    """Whether newer rows say something else of a document that the index has."""
    return document.key in newest.documents or document.key in newest.removed


async def _place(index: SearchIndex, newest: Batch, source: Source, agent_id: str, document_id: str | None,
                 ) -> tuple[int, int] | None:
    if document_id is None:
        return None
    document_id = plain(document_id)
    document = newest.documents.get((source, agent_id, document_id))
    place = document.place if document else await index.place(source, agent_id, document_id)
    if place is None:
        raise NotFound(f"the agent has no {source.removesuffix('s')} {document_id!r}", id=document_id)
    return place
