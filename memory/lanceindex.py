"""The projections as a search index, for one reading process. Importing this imports lancedb.

Tables stay open, and each question looks at their newest version. A version that was cleaned away under a slow query,
and tables that were made anew, show themselves as an error: then everything is opened afresh, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from repertory.memory.documents import Document, Source
from repertory.memory.filters import among, equals, has_all, has_any
from repertory.memory.projection_tables import SHOWN, VECTORS, connect, documents_in, present
from repertory.memory.projections import FOLDER, ProjectionState, read_state
from repertory.memory.reader import Found, IndexUnavailable, Window
from repertory.memory.search import Query

_T = TypeVar("_T")

#: queries that run at once
_THREADS = 4


class LanceIndex:
    """Reads the projections of one database. Satisfies `reader.SearchIndex`."""

    def __init__(self, database: Path, *, embedder: str = "", vector_size: int = 0) -> None:
        """`database`: its folder; `embedder` and `vector_size`: of the vectors that questions come with."""
        self._root = database / FOLDER
        self._embedder = f"{embedder}/{vector_size}" if embedder else ""
        self._threads = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="search")
        self._opened: tuple[int, dict[str, Any]] | None = None

    async def watermark(self) -> int:
        """See `SearchIndex.watermark`."""
        state = read_state(self._root)
        if state is None:
            raise IndexUnavailable(f"{self._root} has no projections yet")
        return state.watermark

    async def find(self, query: Query, wanted: list[str], vector: list[float] | None) -> Found:
        """See `SearchIndex.find`."""
        def work(tables: dict[str, Any], state: ProjectionState) -> Found:
            table, where = tables[query.source], _condition(query)
            total = table.count_rows(where)
            if not query.text.strip():
                return Found(documents=tuple(_newest(table, query.source, where, query.limit)), total=total)
            fits = state.embedder == self._embedder and VECTORS in tables
            found: dict[str, Document] = {}
            if query.mode != "vector" or vector is None or not fits:
                found = {d.id: d for d in _with_words(table, query, where, wanted)}
            if vector is None or not fits:
                return Found(documents=tuple(found.values()), total=total, has_vectors=fits)
            alike = _alike(tables[VECTORS], query, where, vector)
            missing = [key for key in alike if key not in found]
            if missing:
                here = f"{equals('agent_id', query.agent_id)} AND {among('id', missing)}"
                found.update((d.id, d) for d in _rows(table, query.source, here))
            return Found(documents=tuple(found.values()), total=total, alike=alike)

        return await self._reading(work)

    async def page(self, window: Window) -> list[Document]:
        """See `SearchIndex.page`."""
        where = equals("agent_id", window.agent_id)
        if window.conversation_id is not None:
            where += f" AND {equals('conversation_id', window.conversation_id)}"
        for place, sign in ((window.after, ">"), (window.before, "<")):
            if place is not None:
                where += f" AND (seq {sign} {place[0]:d} OR (seq = {place[0]:d} AND part {sign} {place[1]:d}))"
        return await self._reading(lambda tables, state: _newest(
            tables[window.source], window.source, where, window.limit, newest_first=window.newest_first))

    async def place(self, source: Source, agent_id: str, document_id: str) -> tuple[int, int] | None:
        """See `SearchIndex.place`."""
        where = f"{equals('agent_id', agent_id)} AND {equals('id', document_id)}"

        def work(tables: dict[str, Any], state: ProjectionState) -> tuple[int, int] | None:
            rows = tables[source].search().where(where).select(["seq", "part"]).to_arrow().to_pylist()
            return (rows[0]["seq"], rows[0]["part"]) if rows else None

        return await self._reading(work)

    async def snapshot_before(self, agent_id: str, seq: int) -> int:
        """See `SearchIndex.snapshot_before`."""
        where = f"{equals('agent_id', agent_id)} AND upto <= {seq:d}"

        def work(tables: dict[str, Any], state: ProjectionState) -> int:
            found = tables["snapshots"].search().where(where).select(["seq"]).to_arrow().column("seq").to_pylist()
            return max(found, default=0)

        return await self._reading(work)

    def close(self) -> None:
        """Wait for the queries that run."""
        self._threads.shutdown(wait=True)

    async def _reading(self, work: Callable[[dict[str, Any], ProjectionState], _T]) -> _T:
        def guarded() -> _T:
            try:
                return self._work(work)
            except Exception:  # whatever lancedb raises: a version was cleaned, or a table made anew
                self._opened = None
            try:
                return self._work(work)
            except Exception as error:
                self._opened = None
                raise IndexUnavailable(f"{type(error).__name__}: {error}"[:300]) from error

        return await asyncio.get_running_loop().run_in_executor(self._threads, guarded)

    def _work(self, work: Callable[[dict[str, Any], ProjectionState], _T]) -> _T:
        state = read_state(self._root)
        if state is None:
            raise FileNotFoundError(f"{self._root} has no projections yet")
        opened = self._opened
        if opened is None or opened[0] != state.generation:
            folder = state.folder(self._root)
            connection = connect(folder)
            tables = {name: connection.open_table(name) for name in present(folder)}
            opened = self._opened = state.generation, tables
        else:
            for table in opened[1].values():
                table.checkout_latest()
        if not all(table.version for table in opened[1].values()):
            raise ValueError("a table's newest version is unreadable")
        return work(opened[1], state)


def _condition(query: Query) -> str:
    """The query's filters, as `Query.accepts` has them."""
    parts = [equals("agent_id", query.agent_id), "findable"]
    if query.start_at is not None:
        parts.append(f"at >= {float(query.start_at)!r}")
    if query.end_at is not None:
        parts.append(f"at <= {float(query.end_at)!r}")
    if query.source == "messages":
        parts.append(among("role", query.roles) if query.roles else "role != 'tool'")
        if query.conversation_id is not None:
            parts.append(equals("conversation_id", query.conversation_id))
    elif query.tags:
        parts.append((has_any if query.match == "any" else has_all)("tags", query.tags))
    return " AND ".join(parts)


def _with_words(table: Any, query: Query, where: str, wanted: list[str]) -> list[Document]:
    if not wanted:
        return []
    question = table.search(" ".join(wanted), query_type="fts", fts_columns="terms").where(where, prefilter=True)
    return documents_in(query.source, question.select([*SHOWN, "_score"]).limit(query.candidates).to_arrow())


def _alike(table: Any, query: Query, where: str, vector: list[float]) -> dict[str, float]:
    """The nearest vectors, found exactly: an agent's few are compared one by one."""
    nearest = table.search(vector, vector_column_name="vector").distance_type("cosine")
    nearest = nearest.where(f"{where} AND {equals('source', query.source)}", prefilter=True)
    rows = nearest.select(["id", "_distance"]).limit(query.candidates).to_arrow().to_pylist()
    return {row["id"]: 1.0 - row["_distance"] for row in rows if row["_distance"] is not None}


def _newest(table: Any, source: Source, where: str, limit: int, *, newest_first: bool = True) -> list[Document]:
    order = [{"column_name": column, "ascending": not newest_first} for column in ("seq", "part")]
    return documents_in(source, table.search().where(where).select(SHOWN).order_by(order).limit(limit).to_arrow())


def _rows(table: Any, source: Source, where: str) -> list[Document]:
    return documents_in(source, table.search().where(where).select(SHOWN).to_arrow())
