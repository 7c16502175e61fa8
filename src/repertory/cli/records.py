"""A database read without a runtime, for the commands that only look."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from repertory.cli.output import complaints
from repertory.errors import BlockNotFound
from repertory.memory.documents import Document
from repertory.memory.index import JournalIndex
from repertory.memory.offline import OfflineStore
from repertory.memory.reader import MemoryReader
from repertory.memory.rows import block_stream
from repertory.memory.versions import BlockVersion, from_row
from repertory.messages import Message, unpack

_T = TypeVar("_T")
#: rows of one read
_PAGE = 1_000


class Records:
    """What lies in a database at one moment."""

    def __init__(self, runner: asyncio.Runner, store: OfflineStore) -> None:
        self._runner = runner
        self._store = store

    @property
    def index(self) -> JournalIndex:
        """What is known of agents, blocks, runs without reading further."""
        return self._store.index

    def messages(self, name: str, *, conversation_id: str | None, limit: int) -> list[Message]:
        """The newest messages of an agent (by name or id), oldest first. Raises AgentNotFound."""
        agent_id = self.index.find_agent(name)
        found: list[Document] = self._run(MemoryReader(self._store).page(
            "messages", agent_id, conversation_id=conversation_id, limit=limit, newest_first=True))
        return [unpack(Message, document.data) for document in reversed(found)]

    def blocks(self) -> list[BlockVersion]:
        """The newest version of each shared block."""
        return [self._versions(entry["id"], after=entry["seq"] - 1)[-1] for entry in self.index.list_blocks()]

    def versions(self, label_or_id: str) -> list[BlockVersion]:
        """All versions of the shared blocks with that label or id. Raises BlockNotFound, which says which there are."""
        known = self.index.list_blocks()
        ids = [entry["id"] for entry in known if label_or_id in (entry["label"], entry["id"])]
        if not ids:
            labels = ", ".join(sorted({entry["label"] for entry in known})) or "none"
            raise BlockNotFound(f"there is no shared block {label_or_id!r}; there are: {labels}")
        return [version for block_id in ids for version in self._versions(block_id)]

    def _versions(self, block_id: str, after: int = 0) -> list[BlockVersion]:
        versions: list[BlockVersion] = []
        while page := self._run(self._store.read(block_stream(block_id), after=after, limit=_PAGE)):
            versions += [from_row(row) for row in page if row.kind == "version"]
            after = page[-1].seq
        return versions

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._runner.run(work)


@contextmanager
def opened(database: Path) -> Iterator[Records]:
    """The records of a database. What cannot be read is named on stderr.

    Raises StorageError when there is none, DatabaseDamaged when it cannot be understood.
    """
    with asyncio.Runner() as runner:
        store = runner.run(OfflineStore.open(database))
        for problem in store.problems:
            complaints.print(f"[yellow]damaged:[/] {problem}", highlight=False, soft_wrap=True)
        try:
            yield Records(runner, store)
        finally:
            store.close()
