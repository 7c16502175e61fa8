"""From texts to vectors. Embedding is never part of a step: the projector does it, and search for its one question.

The embedder here needs no model and no network. It finds texts that share words and parts of words, spelled alike;
it knows nothing of meaning. Others are anything that is called like it.
"""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from repertory.errors import ConfigError
from repertory.memory.terms import terms

#: a word counts this much, one of its three-letter parts this much
_WORD_WEIGHT, _PART_WEIGHT = 1.0, 0.3
#: an odd number near 2^32 divided by the golden ratio: it spreads what a crc leaves close (Knuth, vol. 3, 6.4)
_SPREAD = 2_654_435_761


class Embedder(Protocol):
    """Makes vectors. Two with the same `name` and `size` must agree: vectors of another are made anew."""

    name: str
    #: numbers in a vector
    size: int

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text. Raises ModelError when it cannot now: it is asked again later."""


class HashedWords:
    """Words and their parts, hashed to places of a vector (Weinberger et al., *Feature Hashing*, ICML 2009)."""

    name = "hashed-words-1"

    def __init__(self, size: int = 256) -> None:
        """`size`: numbers in a vector."""
        self.size = size

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """See `Embedder`; never raises."""
        vectors = []
        for text in texts:
            vectors.append(self._vector(text))
            await asyncio.sleep(0)  # whoever shares the event loop need not wait for all of them
        return vectors

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.size
        for feature, weight in _features(text):
            digest = zlib.crc32(feature.encode()) * _SPREAD & 0xFFFF_FFFF
            vector[(digest >> 8) % self.size] += weight if digest & 1 << 31 else -weight
        length = math.sqrt(sum(value * value for value in vector))
        return [value / length for value in vector] if length else vector


def embedder_named(name: str) -> Embedder | None:
    """The embedder of that name in the settings; None for `none`. Raises ConfigError for another."""
    if name == "none":
        return None
    if name == "hashed-words":
        return HashedWords()
    raise ConfigError(f"there is no embedder {name!r}; there are: none, hashed-words")


def _features(text: str) -> Iterator[tuple[str, float]]:
    counts: dict[str, int] = {}
    for term in terms(text):
        counts[term] = counts.get(term, 0) + 1
    for term, count in counts.items():
        weight = 1 + math.log(count)
        yield term, weight * _WORD_WEIGHT
        padded = f"<{term}>"
        for start in range(len(padded) - 2):
            yield padded[start:start + 3], weight * _PART_WEIGHT


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """How alike two vectors point: 1.0 the same way, 0.0 when one is all zeros."""
    lengths = math.sqrt(sum(a * a for a in one)) * math.sqrt(sum(b * b for b in other))
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0
