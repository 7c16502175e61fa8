"""Map-reduce over documents: a supervisor splits, workers read and report, the supervisor asks, merges and answers.

Each message has an idempotency key that follows from the job (which documents, which question), so that a job that
was interrupted anywhere is simply carried out again: what was done answers at once, the rest is done. The group
reaches its agents by the small protocols below, and whatever satisfies them can take part.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from repertory.groups.documents import Citation, Document, fingerprint, is_true, whole_name
from repertory.tools.builtin.findings import NOTHING

#: characters of findings that one request for a merge holds; more are merged in rounds
MERGE_CHARS = 12_000
#: documents that one worker has before it at a time: its next one is there when it is done with one
AHEAD = 2

_LINE = re.compile(r"^\s*(?:[-*•]\s*)?\[(?P<document>[^\]\n]+)\]\s*(?P<sentence>.+?)\s*$", re.M)
_PART = re.compile(r"^\s*(?P<number>\d+)[.)]\s*(?P<items>.+)$", re.M)


class Said(Protocol):
    """An answer."""

    @property
    def text(self) -> str:
        """What was said."""


class Member(Protocol):
    """An agent of the group."""

    @property
    def name(self) -> str:
        """Its name."""

    async def send(self, text: str, *, key: str) -> Said:
        """Send a message once (by its key) and wait for the answer."""


class Board(Protocol):
    """The shared block of findings."""

    async def text(self) -> str:
        """What stands there."""

    async def append(self, text: str, *, key: str) -> object:
        """Add a line once (by its key)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A question over a corpus."""

    question: str
    documents: tuple[Document, ...]

    @property
    def id(self) -> str:
        """Names the job: the same documents and the same question are the same job."""
        asked = hashlib.sha256(self.question.encode()).hexdigest()[:8]
        return f"{fingerprint(self.documents)}/{asked}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What came of a job."""

    answer: str
    #: only those that really stand in their documents, best first
    citations: tuple[Citation, ...]
    documents: int
    #: documents that are reported on the board
    done: int


#: (what has been done: split, read, asked, merged; of how many)
OnProgress = Callable[[str, int, int], None]


class MapReduce:
    """Carries out jobs with a supervisor and workers who share a board."""

    def __init__(self, supervisor: Member, workers: Sequence[Member], board: Board, *, tag: str = "worker",
                 on_progress: OnProgress = lambda what, done, total: None) -> None:
        """`tag`: by which the supervisor can reach all workers at once."""
        self._supervisor, self._workers, self._board = supervisor, tuple(workers), board
        self._tag, self._on_progress = tag, on_progress

    async def run(self, job: Job) -> Result:
        """Carry out a job, or what is left of it."""
        shares = await self._split(job)
        await self._read(job, shares)
        told = await self._ask_all(job)
        answer = of_wholes(await self._merge(job, await self._board.text(), told))
        cited = tuple(citation for citation in cited_in(answer) if is_true(citation, job.documents))
        done = {whole_name(name) for name in reported(await self._board.text())}
        return Result(answer=answer, citations=cited, done=len(done),
                      documents=len({whole_name(document.name) for document in job.documents}))

    async def _split(self, job: Job) -> dict[str, list[Document]]:
        """The supervisor's division of the documents; what it leaves out is shared out evenly."""
        names = "\n".join(document.name for document in job.documents)
        said = await self._supervisor.send(
            f"Split these {len(job.documents)} documents into {len(self._workers)} parts of about the same size, one "
            f"for each worker, as numbered lines with the names separated by '; ':\n{names}", key=f"{job.id}/split")
        shares = divided(said.text, job.documents, [worker.name for worker in self._workers])
        self._on_progress("split", len(job.documents), len(job.documents))
        return shares

    async def _read(self, job: Job, shares: Mapping[str, Sequence[Document]]) -> None:
        total = len(job.documents)
        done = 0

        async def read_one(worker: Member, place: asyncio.Semaphore, document: Document) -> None:
            nonlocal done
            async with place:
                await self._report(job, worker, document)
            done += 1
            self._on_progress("read", done, total)

        async with asyncio.TaskGroup() as group:
            for worker in self._workers:
                place = asyncio.Semaphore(AHEAD)
                for document in shares.get(worker.name, ()):
                    group.create_task(read_one(worker, place, document))

    async def _report(self, job: Job, worker: Member, document: Document) -> None:
        """Have a document read, and see to it that it is on the board whatever the model made of the task."""
        key = f"{job.id}/{document.name}"
        await worker.send(
            f"From the text below, extract the sentences that answer: {job.question}\n"
            f"Report them, word for word, by calling report_findings once for the document '{document.name}' (with an "
            f"empty list if there are none), then confirm.\n\nText:\n{document.text}", key=key)
        if document.name not in reported(await self._board.text()):
            await self._board.append(f"[{document.name}] {NOTHING}", key=f"{key}/unreported")

    async def _ask_all(self, job: Job) -> str:
        """What the workers say when the supervisor asks them all by their tag."""
        said = await self._supervisor.send(
            f"Ask the agents tagged {self._tag}: {job.question}", key=f"{job.id}/ask")
        self._on_progress("asked", len(self._workers), len(self._workers))
        return said.text

    async def _merge(self, job: Job, board: str, told: str) -> str:
        """The supervisor's answer from the findings, in rounds if they are many."""
        lines = [line for line in board.split("\n") if _LINE.match(line) and not line.endswith(f"] {NOTHING}")]
        level = 0
        while True:
            batches = _batches(lines)
            merged = [await self._merge_once(job, batch, told, f"{job.id}/merge/{level}/{number}")
                      for number, batch in enumerate(batches)]
            self._on_progress("merged", len(batches), len(batches))
            if len(batches) <= 1:
                return merged[0]
            shorter = [line for text in merged for line in text.split("\n") if _LINE.match(line)]
            if len(shorter) >= len(lines):
                return "\n".join(shorter)
            lines, level = shorter, level + 1

    async def _merge_once(self, job: Job, lines: Sequence[str], told: str, key: str) -> str:
        findings = "\n".join(lines) or "(none)"
        said = await self._supervisor.send(
            "Merge these findings of the workers into an answer. Quote the sentences that answer the question, best "
            "first, one a line, each with its document in front as [document] sentence.\n"
            f"Question: {job.question}\nFindings:\n{findings}", key=key)
        return said.text


def divided(text: str, documents: Sequence[Document], workers: Sequence[str]) -> dict[str, list[Document]]:
    """The shares that a supervisor's numbered lines give to the workers, in order; the rest is shared out evenly."""
    by_name = {document.name: document for document in documents}
    shares: dict[str, list[Document]] = {worker: [] for worker in workers}
    for match in _PART.finditer(text):
        number = int(match["number"]) - 1
        if 0 <= number < len(workers):
            for name in match["items"].split(";"):
                if (document := by_name.pop(name.strip(), None)) is not None:
                    shares[workers[number]].append(document)
    for document in by_name.values():
        min(shares.values(), key=len).append(document)
    return shares


def reported(board: str) -> list[str]:
    """The documents that stand on a board, in order, each once."""
    return list(dict.fromkeys(match["document"] for match in _LINE.finditer(board)))


def cited_in(answer: str) -> list[Citation]:
    """The citations of an answer: its lines of the form `[document] sentence`, each once."""
    found = (Citation(document=whole_name(match["document"]), sentence=match["sentence"])
             for match in _LINE.finditer(answer))
    return list(dict.fromkeys(found))


def of_wholes(answer: str) -> str:
    """The answer with documents in the place of their parts, and no line twice."""
    lines: dict[str, str] = {}
    for line in answer.split("\n"):
        match = _LINE.match(line)
        shown = f"[{whole_name(match['document'])}] {match['sentence']}" if match else line
        lines.setdefault(shown.rstrip(". "), shown)
    return "\n".join(lines.values())


def _batches(lines: Sequence[str]) -> list[list[str]]:
    batches: list[list[str]] = [[]]
    size = 0
    for line in lines:
        if size + len(line) > MERGE_CHARS and batches[-1]:
            batches.append([])
            size = 0
        batches[-1].append(line)
        size += len(line) + 1
    return batches


