"""Messages, passages, snapshots and vectors in LanceDB: derived from the journal, and thrown away when in doubt.

What has been taken is said by a small file beside the tables, written after them. Taking rows twice changes nothing
(the newest row about an id decides), so a crash between two tables costs a repetition, no more. LanceDB never fsyncs,
and for what can be made again neither do we: only when they are closed. So tables that were open when the machine
went down are not believed. Each rebuild is a new folder, a *generation*: a reader never meets half of two.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from repertory.memory.disk import sync_folder
from repertory.memory.documents import Batch, Document, Key
from repertory.memory.filters import among, equals
from repertory.memory.projection_tables import (
    DOCUMENTS,
    SNAPSHOTS,
    VECTORS,
    connect,
    create_tables,
    document_rows,
    snapshot_rows,
    vector_rows,
    vector_schema,
)

#: where the projections lie in a database's folder
FOLDER = "projections"
STATE_FILE = "projections.json"
#: of the tables' columns and of how terms are made; another one is thrown away
LAYOUT = 1

#: appends since the last optimisation that call for the next one, if they brought half as many rows as it wrote …
OPTIMISE_APPENDS = 32
#: … and in any case: it rewrites the whole table
MOST_APPENDS = 128
#: an old version stays readable for so long, for readers in the middle of a query
KEEP = timedelta(seconds=60)
#: bytes of the disk that projections leave alone: the journal, which they can be made from, comes first
RESERVE_BYTES = 256 << 20
#: ids in one filter
_IDS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectionState:
    """What the file says."""

    layout: int = LAYOUT
    #: the journal that this was made from
    database_id: str = ""
    generation: int = 1
    #: all rows up to this seq are in the tables; and in the vectors
    watermark: int = 0
    vectors_watermark: int = 0
    #: who made the vectors; empty: there are none
    embedder: str = ""
    #: of the machine's run in which this was written, and whether all was synced and closed
    boot: str = ""
    closed: bool = False

    def folder(self, root: Path) -> Path:
        """Where this generation's tables are."""
        return root / f"{self.generation:06d}"


def read_state(root: Path) -> ProjectionState | None:
    """What the file in `root` says; None when it is not there or says nothing that we understand."""
    try:
        values = json.loads((root / STATE_FILE).read_bytes())
        return ProjectionState(**values)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _write_state(root: Path, state: ProjectionState, *, sync: bool = False) -> None:
    fresh = root / f"{STATE_FILE}.new"
    with fresh.open("w", encoding="utf-8") as file:
        json.dump(asdict(state), file)
        if sync:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(root / STATE_FILE)
    if sync:
        sync_folder(root)


def this_boot() -> str:
    """What tells this run of the machine from the one before; empty where nothing does."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(slots=True)
class _Growth:
    """How much a table has grown since it was optimised."""

    appends: int = 0
    rows: int = 0
    optimised_rows: int = 0

    def wants_optimisation(self) -> bool:
        return self.appends >= (OPTIMISE_APPENDS if self.rows * 2 >= self.optimised_rows else MOST_APPENDS)


class Projections:
    """The tables, for their only writer. Every method works on the disk: call it in a thread, one at a time."""

    def __init__(self, root: Path, *, database_id: str, embedder: str = "", vector_size: int = 0) -> None:
        """`root`: the folder `projections` of the database.

        `embedder` names what vectors are made by, `vector_size` says of how many numbers; empty and 0: there are none.
        """
        self._root = root
        self._database_id = database_id
        self._embedder = f"{embedder}/{vector_size}" if embedder else ""
        self._vector_size = vector_size
        self._tables: dict[str, Any] = {}
        self._growth: dict[str, _Growth] = {}
        self.state = ProjectionState()

    def open(self, last_seq: int) -> bool:
        """Take what is there, or begin anew where it cannot be believed. `last_seq`: the journal's end.

        Returns whether what was there could be used. Raises OSError when the disk takes nothing.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        state = read_state(self._root)
        if state is None or not self._usable(state, last_seq):
            self.rebuild()
            return False
        self.state = replace(state, boot=this_boot(), closed=False)
        if state.embedder != self._embedder:
            self.state = replace(self.state, embedder=self._embedder, vectors_watermark=0)
            shutil.rmtree(self._folder / f"{VECTORS}.lance", ignore_errors=True)
        _write_state(self._root, self.state, sync=True)
        try:
            self._open_tables()
        except (RuntimeError, ValueError):
            self.rebuild()
            return False
        return True

    def rebuild(self) -> None:
        """Begin anew: empty tables, which take the whole journal again."""
        known = [int(path.name) for path in self._root.iterdir() if path.is_dir() and path.name.isdigit()]
        self.state = ProjectionState(
            database_id=self._database_id, generation=max(known, default=0) + 1, embedder=self._embedder,
            boot=this_boot(),
        )
        self._folder.mkdir(parents=True)
        _write_state(self._root, self.state, sync=True)
        for number in known:
            shutil.rmtree(self._root / f"{number:06d}", ignore_errors=True)
        self._open_tables()

    def apply(self, batch: Batch) -> None:
        """Take what the next rows of the journal come to.

        Raises RuntimeError or OSError, ENOSPC when there is no room for it; then take it again.
        """
        self._make_sure_of_room()
        for name in ("messages", "passages", "snapshots"):
            self._forget(name, batch)
        for source in ("messages", "passages"):
            documents = batch.of(source)
            self._delete(source, [d.key for d in documents] + [key for key in batch.removed if key[0] == source])
            if documents:
                self._append(source, document_rows(documents))
        if batch.snapshots:
            self._tables["snapshots"].delete(among("seq", [mark.seq for mark in batch.snapshots]))
            self._append("snapshots", snapshot_rows(batch.snapshots))
        self.state = replace(self.state, watermark=batch.last)
        _write_state(self._root, self.state)

    def apply_vectors(self, batch: Batch, documents: Sequence[Document], vectors: Sequence[Sequence[float]]) -> None:
        """Take the vectors of a batch's documents; `documents` are those that have one. As `apply`."""
        self._make_sure_of_room()
        self._forget(VECTORS, batch)
        self._delete(VECTORS, [*batch.documents, *batch.removed])
        if documents:
            self._append(VECTORS, vector_rows(documents, vectors, self._vector_size))
        self.state = replace(self.state, vectors_watermark=batch.last)
        _write_state(self._root, self.state)

    def optimise(self) -> bool:
        """Rewrite one table that has grown enough. Returns whether there was one. Raises as `apply`."""
        for name, growth in self._growth.items():
            if growth.wants_optimisation():
                self._make_sure_of_room()
                table = self._tables[name]
                table.optimize(cleanup_older_than=KEEP)
                self._growth[name] = _Growth(optimised_rows=table.count_rows())
                return True
        return False

    def close(self) -> None:
        """Sync everything and say so."""
        if not self._tables:
            return
        for folder, _, names in os.walk(self._folder):
            for name in names:
                fd = os.open(os.path.join(folder, name), os.O_RDONLY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
            sync_folder(Path(folder))
        self.state = replace(self.state, closed=True)
        _write_state(self._root, self.state, sync=True)
        self._tables.clear()

    @property
    def _folder(self) -> Path:
        return self.state.folder(self._root)

    def _usable(self, state: ProjectionState, last_seq: int) -> bool:
        return (
            state.layout == LAYOUT and state.database_id == self._database_id
            and max(state.watermark, state.vectors_watermark) <= last_seq
            and (state.closed or (state.boot == this_boot() != ""))
        )

    def _open_tables(self) -> None:
        """Raises RuntimeError or ValueError when a table cannot be read (a zeroed manifest opens as version 0)."""
        connection = connect(self._folder)
        create_tables(self._folder, connection, self._vector_size if self._embedder else None)
        schemas = {"messages": DOCUMENTS, "passages": DOCUMENTS, "snapshots": SNAPSHOTS}
        if self._embedder:
            schemas[VECTORS] = vector_schema(self._vector_size)
        for name, schema in schemas.items():
            table = connection.open_table(name)
            if table.version == 0 or table.schema != schema:
                raise ValueError(f"the table {name} is damaged or of another kind")
            rows = table.count_rows()
            self._tables[name] = table
            self._growth[name] = _Growth(optimised_rows=rows)

    def _make_sure_of_room(self) -> None:
        if shutil.disk_usage(self._root).free < RESERVE_BYTES:
            raise OSError(errno.ENOSPC, "the disk is nearly full: the rest of it is kept for the journal")

    def _append(self, name: str, rows: Any) -> None:
        self._tables[name].add(rows)
        growth = self._growth[name]
        growth.appends, growth.rows = growth.appends + 1, growth.rows + rows.num_rows

    def _forget(self, name: str, batch: Batch) -> None:
        if batch.forgotten:
            self._tables[name].delete(among("agent_id", batch.forgotten))

    def _delete(self, name: str, keys: Sequence[Key]) -> None:
        """Delete those of the keys that are there, which seldom are any: the look is cheaper than the deletion."""
        table = self._tables[name]
        for start in range(0, len(keys), _IDS_AT_ONCE):
            some = keys[start:start + _IDS_AT_ONCE]
            columns = ["source", "agent_id", "id"] if name == VECTORS else ["agent_id", "id"]
            rows = table.search().where(among("id", [key[2] for key in some])).select(columns).to_arrow().to_pylist()
            there = {(row.get("source", name), row["agent_id"], row["id"]): None for row in rows}
            for source, agent_id, own in [key for key in some if key in there]:
                where = f"{equals('agent_id', agent_id)} AND {equals('id', own)}"
                table.delete(f"{where} AND {equals('source', source)}" if name == VECTORS else where)
