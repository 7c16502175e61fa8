"""Is a database sound? Every row is read and checked, and what is derived from rows is compared with them.

Nothing is changed, and no lock is needed. While a runtime writes the database, what it is just writing is left out.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgpack

from repertory.memory.checkpoint import CHECKPOINT_FILE, pack_index, unpacked
from repertory.memory.damage import DAMAGE_FILE
from repertory.memory.documents import Batch, Document, Key, Source, gather
from repertory.memory.index import JournalIndex
from repertory.memory.journal import Row
from repertory.memory.lock import holder_of
from repertory.memory.offline import PAGE, OfflineStore
from repertory.memory.records import opened

#: agent -> (kind, id) -> a crc of the document
Documents = dict[str, dict[tuple[str, str], int]]
#: told what is being done, how much of it is done and how much there is
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    #: lost: rows that are gone; damaged: a part of the journal that cannot be read; derived: something that can be
    #: made again from the journal; known: a loss that was reported before, nothing new
    kind: Literal["lost", "damaged", "derived", "known"]
    detail: str
    #: the rows concerned, both inclusive; 0: none in particular
    first: int = 0
    last: int = 0


@dataclass(kw_only=True, slots=True)
class Report:
    """What was found."""

    database_id: str
    #: counts
    rows: int = 0
    agents: int = 0
    messages: int = 0
    passages: int = 0
    #: whether a runtime was writing meanwhile
    living: bool = False
    findings: list[Finding] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing new is wrong."""
        return all(finding.kind == "known" for finding in self.findings)

    def found(self, kind: Literal["lost", "damaged", "derived", "known"], detail: str, first: int = 0, last: int = 0
              ) -> None:
        """Add a finding."""
        self.findings.append(Finding(kind=kind, detail=detail, first=first, last=last))


async def check_database(folder: Path, progress: Progress) -> Report:
    """Check the database in `folder`. Imports lancedb. Raises StorageError when there is none."""
    living = holder_of(folder) is not None
    store = await OfflineStore.open(folder)
    try:
        report = Report(database_id=store.database_id, living=living, agents=len(store.index.agents))
        expected = Expected(_watermark(folder))
        await _check_rows(store, report, expected, progress)
        for problem in store.problems:
            report.found("damaged", problem)
        report.messages, report.passages = expected.count("messages"), expected.count("passages")
        if not living:
            progress("comparing projections", 0, 1)
            _check_projections(folder, store, report, expected)
            progress("comparing projections", 1, 1)
        return report
    finally:
        store.close()


class Expected:
    """What the projections should have, by the rows up to their watermark.

    What later rows say may be there or not: a crash between two tables leaves such a state, and the next start
    goes on from it.
    """

    def __init__(self, watermark: int) -> None:
        """`watermark`: of the projections."""
        self._watermark = watermark
        self.documents: Documents = {}
        #: what there is by all rows
        self.all: Documents = {}
        #: what later rows speak of, and agents that are gone by them
        self.open: dict[Key, None] = {}
        self.gone: dict[str, None] = {}

    def take(self, rows: list[Row]) -> None:
        """Take the next rows."""
        _fold(self.documents, gather(row for row in rows if row.seq <= self._watermark))
        _fold(self.all, gather(rows))
        later = gather(row for row in rows if row.seq > self._watermark)
        self.open.update(dict.fromkeys([*later.documents, *later.removed]))
        self.gone.update(later.forgotten)

    def undecided(self, source: Source, agent_id: str, own: str) -> bool:
        """Whether it does not matter if this document is there."""
        return agent_id in self.gone or (source, agent_id, own) in self.open

    def count(self, source: str) -> int:
        """How many documents of a kind there are, by all rows."""
        return sum(kind == source for known in self.all.values() for kind, _ in known)


def _fold(documents: Documents, batch: Batch) -> None:
    for agent_id in batch.forgotten:
        documents.pop(agent_id, None)
    for source, agent_id, own in batch.removed:
        documents.get(agent_id, {}).pop((source, own), None)
    for document in batch.documents.values():
        documents.setdefault(document.agent_id, {})[document.source, document.id] = fingerprint(document)


def fingerprint(document: Document) -> int:
    """A crc of all that a table keeps of a document."""
    values: bytes = msgpack.packb([
        document.seq, document.part, document.conversation_id, document.role, document.tool_name,
        list(document.tags), document.at, document.text, document.data,
    ])
    return zlib.crc32(values)


async def _check_rows(store: OfflineStore, report: Report, expected: Expected, progress: Progress) -> None:
    """Read all rows: gaps, the checkpoint, and what the projections should have."""
    known = _known_losses(store.folder)
    kept = _checkpoint(store, report)
    index, last = JournalIndex(), 0
    held: list[Row] = []

    def missing(first: int, end: int) -> None:
        old = any(since <= first and end <= upto for since, upto in known)
        report.found("known" if old else "lost", "these rows are missing", first, end)

    async for record in store.records():
        if record.seq != last + 1:
            missing(last + 1, record.seq - 1)
        last = record.seq
        report.rows += 1
        if held and held[-1].op_id != record.op_id and (len(held) >= PAGE or (kept and held[-1].seq == kept.last_seq)):
            _take(held, index, kept, report, expected)
            held = []
            progress("checking rows", last, store.last_seq)
        held.append(opened(record))
    _take(held, index, kept, report, expected)
    progress("checking rows", last, store.last_seq)
    if store.promised > last:
        missing(last + 1, store.promised)


def _take(rows: list[Row], index: JournalIndex, kept: JournalIndex | None, report: Report, expected: Expected) -> None:
    index.apply(rows)
    expected.take(rows)
    if kept and rows and rows[-1].seq == kept.last_seq and pack_index(index) != pack_index(kept):
        report.found("derived", "the checkpoint says something else than the journal", last=kept.last_seq)


def _checkpoint(store: OfflineStore, report: Report) -> JournalIndex | None:
    path = store.folder / CHECKPOINT_FILE
    if not path.exists():
        return None
    kept = unpacked(path.read_bytes(), database_id=store.database_id)
    if kept is None:
        report.found("derived", "the checkpoint is damaged; it is made again when the database is opened")
        return None
    return kept[0]


def _known_losses(folder: Path) -> list[tuple[int, int]]:
    try:
        entries: list[dict[str, Any]] = json.loads((folder / DAMAGE_FILE).read_bytes())
        return [(entry["first"], entry["last"]) for entry in entries if entry["kind"] in ("lost", "unreadable")]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return []


def _watermark(folder: Path) -> int:
    from repertory.memory.projections import FOLDER, read_state  # imports lancedb

    state = read_state(folder / FOLDER)
    return state.watermark if state else 0


def _check_projections(folder: Path, store: OfflineStore, report: Report, expected: Expected) -> None:
    from repertory.memory.projection_tables import connect, documents_in
    from repertory.memory.projections import FOLDER, read_state

    state = read_state(folder / FOLDER)
    if state is None:
        return  # there are none: the first start makes them
    if state.watermark > store.last_seq:
        report.found("derived", "the projections know of rows that the journal does not have")
        return
    connection = connect(state.folder(folder / FOLDER))
    sources: tuple[Source, ...] = ("messages", "passages")
    for source in sources:
        try:
            table = connection.open_table(source)
            if table.version == 0:
                raise ValueError("its newest version is empty of everything")
            documents = (d for part in table.search().to_batches(PAGE) for d in documents_in(source, part))
            missing, wrong, extra = _compared(source, documents, expected)
        except (ValueError, RuntimeError, OSError) as error:
            report.found("derived", f"the projection {source} cannot be read: {str(error)[:200]}")
            continue
        if missing or wrong or extra:
            report.found("derived", f"of the projection {source} {missing} rows are missing, {wrong} are wrong, "
                                    f"{extra} are too many")


def _compared(source: Source, documents: Iterable[Document], expected: Expected) -> tuple[int, int, int]:
    """How many documents are missing, wrong, too many."""
    wanted = {(agent_id, own): crc for agent_id, known in expected.documents.items()
              for (kind, own), crc in known.items() if kind == source}
    seen: dict[tuple[str, str], None] = {}
    wrong = extra = 0
    for document in documents:
        if expected.undecided(*document.key):
            continue
        key = (document.agent_id, document.id)
        if key not in wanted or key in seen:
            extra += 1
        elif wanted[key] != fingerprint(document):
            wrong += 1
        seen[key] = None
    return sum(key not in seen and not expected.undecided(source, *key) for key in wanted), wrong, extra
