"""What can be asked of an agent's messages and passages, what comes back, and how it is ranked.

All of it is plain values and arithmetic: an index on a disk only finds candidates, and ranking is done here, so that
results do not depend on where a row lay (`memory.reader` joins the newest rows to what the index found).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from repertory.memory.documents import Document, Source, plain
from repertory.memory.ranking import bm25, fused
from repertory.memory.terms import query_terms, terms

#: candidates that an index is asked for: at least so many, and so many times the results wanted
LEAST_CANDIDATES, CANDIDATES_PER_RESULT = 50, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A search in one agent's memory."""

    source: Source
    agent_id: str
    #: words to look for; empty: the newest that pass the filters
    text: str = ""
    limit: int = 10
    #: messages: only of these roles; empty: all but `tool`
    roles: tuple[str, ...] = ()
    #: messages: only of this conversation; None: of all
    conversation_id: str | None = None
    #: passages: only with any (or all) of these tags
    tags: tuple[str, ...] = ()
    match: Literal["any", "all"] = "any"
    #: seconds since 1970, both inclusive
    start_at: float | None = None
    end_at: float | None = None
    #: `lexical`: by words alone; `vector`: by meaning alone; both need nothing but are less than `hybrid`
    mode: Literal["hybrid", "lexical", "vector"] = "hybrid"

    @classmethod
    def of(cls, source: Source, agent_id: str, **wishes: Any) -> Query:
        """A query from plain values, lists for tuples. Raises ValueError, which names an unknown key."""
        unknown = [key for key in wishes if key not in cls.__dataclass_fields__]
        if unknown:
            raise ValueError(f"a search has no {', '.join(unknown)}; it has {', '.join(cls.__dataclass_fields__)}")
        given: dict[str, Any] = {key: value for key, value in wishes.items() if value is not None}
        for key in ("roles", "tags"):
            if key in given:
                given[key] = tuple(map(plain, given[key]))
        if "conversation_id" in given:
            given["conversation_id"] = plain(given["conversation_id"])
        return cls(source=source, agent_id=plain(agent_id), **given)

    @property
    def candidates(self) -> int:
        """How many candidates are enough to choose from."""
        return max(LEAST_CANDIDATES, CANDIDATES_PER_RESULT * self.limit)

    def accepts(self, document: Document) -> bool:
        """Whether a document passes the filters."""
        return (
            document.source == self.source and document.agent_id == self.agent_id and bool(document.text)
            and (self.start_at is None or document.at >= self.start_at)
            and (self.end_at is None or document.at <= self.end_at)
            and (self._accepts_message(document) if self.source == "messages" else self._accepts_passage(document))
        )

    def _accepts_message(self, document: Document) -> bool:
        role = document.role in self.roles if self.roles else document.role != "tool"
        return role and self.conversation_id in (None, document.conversation_id)

    def _accepts_passage(self, document: Document) -> bool:
        having = [tag in document.tags for tag in self.tags]
        return not having or (any(having) if self.match == "any" else all(having))


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A result."""

    document: Document
    #: what it was ranked by; 0.0 when nothing was looked for
    score: float = 0.0
    #: rrf_score, fts_rank and vector_rank (from 1, or None), search_mode; empty when nothing was looked for
    relevance: Mapping[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """As plain data: id, text, at, seq, score, relevance; role, conversation_id or tags."""
        found = self.document
        shown: dict[str, Any] = {"id": found.id, "text": found.text, "at": found.at, "seq": found.seq}
        if found.source == "messages":
            shown |= {"role": found.role, "conversation_id": found.conversation_id, "tool_name": found.tool_name}
        else:
            shown["tags"] = list(found.tags)
        return {**shown, "score": self.score, "relevance": dict(self.relevance)}


def ranked(query: Query, candidates: Iterable[Document], *, total: int, alike: Mapping[str, float]) -> list[Hit]:
    """The best of the candidates, which pass the filters, best first.

    Args:
        query: what is looked for.
        candidates: without repetition.
        total: how many documents they were chosen from.
        alike: how alike to the question the candidates' vectors are, by id; empty: by words alone.
    """
    documents = list(candidates)
    if not query.text.strip():
        return [Hit(document=d) for d in heapq.nlargest(query.limit, documents, key=lambda d: d.place)]
    by_words = _by_words(query, documents, total) if query.mode != "vector" or not alike else {}
    by_meaning = _ranks({d.id: alike[d.id] for d in documents if alike.get(d.id, 0.0) > 0.0}, documents)
    if query.mode == "lexical":
        by_meaning = {}
    scores = fused([by_words, by_meaning])
    found = {d.id: d for d in documents if d.id in scores}
    best = heapq.nlargest(query.limit, found.values(), key=lambda d: (scores[d.id], d.place))
    mode = "hybrid" if by_words and by_meaning else "vector" if by_meaning else "fts"
    return [
        Hit(document=d, score=scores[d.id], relevance={
            "rrf_score": round(scores[d.id], 6), "fts_rank": by_words.get(d.id), "vector_rank": by_meaning.get(d.id),
            "search_mode": mode,
        })
        for d in best
    ]


def _by_words(query: Query, documents: list[Document], total: int) -> dict[str, int]:
    wanted = query_terms(query.text)
    scores = bm25(wanted, [terms(d.text) for d in documents], total=total)
    return _ranks({d.id: score for d, score in zip(documents, scores, strict=True) if score > 0.0}, documents)


def _ranks(scores: Mapping[str, float], documents: list[Document]) -> dict[str, int]:
    """Ranks from 1; of two with the same score the newer one comes first."""
    scored = [d for d in documents if d.id in scores]
    scored.sort(key=lambda d: (scores[d.id], d.place), reverse=True)
    return {d.id: rank for rank, d in enumerate(scored, 1)}
