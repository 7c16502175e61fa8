"""In which order results are shown.

By words: BM25 (Robertson and Zaragoza, *The Probabilistic Relevance Framework*, 2009). By words and meaning: reciprocal
rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009), which needs no scores that can be compared.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

#: how fast repeating a term stops to help, and how much long texts are held back: the usual values
_K1, _B = 1.2, 0.75
#: of reciprocal rank fusion: how little the difference between the first ranks counts
_K = 60.0


def bm25(query: Sequence[str], texts: Sequence[Sequence[str]], *, total: int | None = None) -> list[float]:
    """A score for each text, 0.0 for one without any term of the query.

    Args:
        query: the terms looked for, once each.
        texts: the terms of each candidate.
        total: how many texts the candidates were chosen from, so that a rare term counts as rare although most
            candidates have it; None: all of them are here.
    """
    counts = [Counter(text) for text in texts]
    total = max(total or 0, len(texts))
    # the others are left out of the mean, since an index gives only those that have a term
    lengths = [len(text) for text, count in zip(texts, counts, strict=True) if any(term in count for term in query)]
    mean = sum(lengths) / len(lengths) if lengths else 0.0
    weights = {term: _weight(sum(term in count for count in counts), total) for term in query}
    scores = []
    for text, count in zip(texts, counts, strict=True):
        hold = _K1 * (1 - _B + _B * len(text) / mean) if mean else _K1
        scores.append(sum(
            weights[term] * count[term] * (_K1 + 1) / (count[term] + hold) for term in query if count[term]
        ))
    return scores


def fused(rankings: Sequence[Mapping[str, int]]) -> dict[str, float]:
    """A score for each key of the rankings, which give ranks from 1; one that is missing in a ranking gets no share."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for key, rank in ranking.items():
            scores[key] = scores.get(key, 0.0) + 1.0 / (_K + rank)
    return scores


def _weight(having: int, total: int) -> float:
    return math.log(1 + (total - having + 0.5) / (having + 0.5))
