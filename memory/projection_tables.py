"""The tables that search stands on: their columns, their indices, and documents as their rows.

Importing this imports lancedb (57 MB): only the store and the readers do. A vector has a table of its own, so that
words can be searched while vectors are still being made. What was measured on lancedb 0.40 (300,000 rows of 1,000
agents): full text 4 ms and exact vectors 13 ms on two busy cores, as every search is narrowed to its agent first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lancedb
import msgpack
import pyarrow as pa
from lancedb.index import FTS, BTree

from repertory.memory.documents import Document, SnapshotMark, findable_text
from repertory.memory.terms import terms
from repertory.messages import Message, unpack

_PLACE = [
    pa.field("id", pa.string()), pa.field("agent_id", pa.string()), pa.field("conversation_id", pa.string()),
    pa.field("seq", pa.int64()), pa.field("part", pa.int32()), pa.field("role", pa.string()),
    pa.field("tags", pa.list_(pa.string())), pa.field("at", pa.float64()), pa.field("findable", pa.bool_()),
]
DOCUMENTS = pa.schema([
    *_PLACE, pa.field("tool_name", pa.string()), pa.field("terms", pa.string()), pa.field("data", pa.binary()),
])
SNAPSHOTS = pa.schema([
    pa.field("agent_id", pa.string()), pa.field("seq", pa.int64()), pa.field("upto", pa.int64()),
    pa.field("at", pa.float64()),
])
VECTORS = "vectors"
#: without what only search by words needs
SHOWN = [name for name in DOCUMENTS.names if name not in ("terms", "findable")]

#: our own terms, split at blanks only, see `memory.terms`
_WORDS = FTS(base_tokenizer="whitespace", stem=False, remove_stop_words=False, lower_case=False, ascii_folding=False,
             max_token_length=None, with_position=False)


def vector_schema(size: int) -> pa.Schema:
    """Columns of the table of vectors with `size` numbers each."""
    return pa.schema([*_PLACE, pa.field("source", pa.string()), pa.field("vector", pa.list_(pa.float32(), size))])


def connect(folder: Path) -> Any:
    """A connection to the tables in `folder`."""
    return lancedb.connect(str(folder))


def present(folder: Path) -> list[str]:
    """The names of the tables in `folder`, readable or not."""
    return sorted(path.name.removesuffix(".lance") for path in folder.glob("*.lance"))


def create_tables(folder: Path, connection: Any, vector_size: int | None) -> None:
    """Make the tables that are missing, with their indices."""
    there = present(folder)
    wanted = {"messages": DOCUMENTS, "passages": DOCUMENTS, "snapshots": SNAPSHOTS}
    if vector_size is not None:
        wanted[VECTORS] = vector_schema(vector_size)
    for name, schema in wanted.items():
        if name not in there:
            table = connection.create_table(name, schema=schema)
            for column in ("agent_id", "id"):
                if column in schema.names:
                    table.create_index(column, config=BTree())
            if "terms" in schema.names:
                table.create_index("terms", config=_WORDS)


def document_rows(documents: Sequence[Document]) -> pa.Table:
    """Documents as rows of `messages` or `passages`."""
    columns = _places(documents)
    columns["tool_name"] = [d.tool_name for d in documents]
    columns["terms"] = [" ".join(terms(d.text)) for d in documents]
    columns["data"] = [msgpack.packb(d.data if d.source == "messages" else d.text) for d in documents]
    return pa.table(columns, schema=DOCUMENTS)


def vector_rows(documents: Sequence[Document], vectors: Sequence[Sequence[float]], size: int) -> pa.Table:
    """Documents as rows of `vectors`."""
    columns = _places(documents)
    columns["source"] = [d.source for d in documents]
    columns["vector"] = list(vectors)
    return pa.table(columns, schema=vector_schema(size))


def snapshot_rows(marks: Sequence[SnapshotMark]) -> pa.Table:
    """Snapshots as rows."""
    return pa.table({name: [getattr(mark, name) for mark in marks] for name in SNAPSHOTS.names}, schema=SNAPSHOTS)


def documents_in(source: Any, rows: pa.Table) -> list[Document]:
    """The inverse of `document_rows`, from the columns SHOWN."""
    return [_document(source, row) for row in rows.to_pylist()]


def _document(source: Any, row: dict[str, Any]) -> Document:
    data = msgpack.unpackb(row["data"], strict_map_key=False)
    message = source == "messages"
    return Document(
        source=source, id=row["id"], agent_id=row["agent_id"], conversation_id=row["conversation_id"], seq=row["seq"],
        part=row["part"], role=row["role"], tool_name=row["tool_name"], tags=tuple(row["tags"]), at=row["at"],
        text=findable_text(unpack(Message, data)) if message else data, data=data if message else {},
    )


def _places(documents: Iterable[Document]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {field.name: [] for field in _PLACE}
    for document in documents:
        for name, column in columns.items():
            column.append(bool(document.text) if name == "findable" else getattr(document, name))
    return columns
