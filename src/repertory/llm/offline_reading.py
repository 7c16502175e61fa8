"""Reading without a language model: sentences, word stems, and which sentences speak about a question.

A sentence counts by the words that it shares with the question, each weighted by how rare it is in the text (inverse
document frequency; Robertson and Spärck Jones 1976), after light stemming. Sentences are quoted as they stand; only
line breaks inside of one become spaces.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

#: a sentence must cover this share of the question's weight to count at all
LEAST_COVERAGE = 0.34
#: and this share of the best sentence's score, to be quoted beside it
_NEAR_BEST = 0.6
#: what a sentence gains that holds the kind of thing that the question asks for (a number, a name)
_KIND_BONUS = 0.3
#: characters from which on a line is taken for one that an editor has wrapped
_WRAPPED_CHARS = 60

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]?[A-Z0-9À-Þ])")
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|No|vs|etc|cf|Fig|Sec|e\.g|i\.e)|\b[A-Z])\.$")
_STARTS_ITEM = re.compile(r"\s*(?:[-*+•#>|]|\d+[.)]\s)")
_ITEM_MARK = re.compile(r"^\s*(?:[-*+•]|#{1,6}|\d+[.)])\s+")
_FENCE = re.compile(r"\s*(?:```|~~~)")
_HAS_NUMBER = re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|hundred|thousand|million)\b", re.I)
_HAS_NAME = re.compile(r"(?<=\s)[A-ZÀ-Þ]\w+")

_STOP = frozenset(
    re.findall(
        r"\S+",
        """
        a about all also am an and any are as at be because been being but by can could did do does done for from had
        has have he her here him his how i if in into is it its just know let me mine my no not of on or our ours
        please shall she should so some tell than that the their them then there these they this those to too up us
        user user's very was we were what what's when when's where where's which who who's whom whose why will with
        would you your yours said say says i'm i've it's there's how's
        """,
    )
)
_SAME: dict[str, str] = {
    "called": "name",
    "call": "name",
    "named": "name",
    "colour": "color",
    "favourite": "favorite",
    "reside": "live",
    "residence": "live",
    "birthday": "born",
    "birth": "born",
    "job": "work",
    "occupation": "work",
    "profession": "work",
    "wrote": "write",
    "written": "write",
    "built": "build",
    "made": "make",
    "began": "begin",
    "found": "find",
    "children": "child",
    "people": "person",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A sentence that speaks about the question."""

    text: str
    #: where it stands among the candidates, from 0
    at: int
    score: float


def sentences(text: str) -> list[str]:
    """The sentences, list items, headings and lines of code of a text, in order, each on one line without its mark."""
    out: list[str] = []
    for passage in _passages(text):
        mark = _ITEM_MARK.match(passage)
        start = mark.end() if mark else 0
        for match in _END.finditer(passage):
            piece = passage[start : match.start()]
            if _ABBREVIATION.search(piece):
                continue
            # closing quotes and brackets belong to the sentence before them
            closed = match.group().rstrip()
            out.append(" ".join((piece + closed).split()))
            start = match.end()
        out.append(" ".join(passage[start:].split()))
    return [sentence for sentence in out if sentence]


def stems(text: str) -> list[str]:
    """The words that carry meaning, each in its stem, in order."""
    return [_stem(word) for word in _words(text) if word not in _STOP]


def rank(question: str, candidates: Sequence[str], *, most: int, near_best: float = _NEAR_BEST) -> list[Found]:
    """The candidates that speak about the question, best first.

    Args:
        question: what is asked.
        candidates: sentences, or short passages.
        most: how many to return at most.
        near_best: leave out what scores below this share of the best one.

    Returns:
        Equal ones stand in the order of the candidates; empty if none covers enough of the question.
    """
    asked = list(dict.fromkeys(stems(question)))
    if not asked or not candidates:
        return []
    bags = [Counter(stems(candidate)) for candidate in candidates]
    spread = Counter(word for bag in bags for word in bag)
    weight = {word: math.log(1 + len(bags) / (spread[word] or 0.5)) for word in asked}
    whole = sum(weight.values())
    found = []
    for at, (candidate, bag) in enumerate(zip(candidates, bags, strict=True)):
        covered = sum(weight[word] for word in asked if word in bag) / whole
        if covered >= LEAST_COVERAGE:
            bonus = _KIND_BONUS if _holds_what_is_asked(question, candidate) else 0.0
            # Of two that cover the same, the shorter one is nearer to the point.
            found.append(Found(text=candidate, at=at, score=covered + bonus - 0.002 * sum(bag.values())))
    found.sort(key=lambda one: (-one.score, one.at))
    return [one for one in found[:most] if one.score >= near_best * found[0].score]


def digest(text: str, most_chars: int) -> str:
    """The sentences that say most about the whole text, in their order, together at most `most_chars` long."""
    parts = list(dict.fromkeys(sentences(text)))
    bags = [stems(part) for part in parts]
    common = Counter(word for bag in bags for word in dict.fromkeys(bag))

    def importance(at: int) -> float:
        if not bags[at]:
            return 0.0
        return sum(math.log(1 + common[word]) for word in bags[at]) / math.sqrt(len(bags[at]))

    chosen: list[int] = []
    left = most_chars
    for at in sorted(range(len(parts)), key=lambda one: (-importance(one), one)):
        if len(parts[at]) + 1 <= left:
            chosen.append(at)
            left -= len(parts[at]) + 1
    return " ".join(parts[at] for at in sorted(chosen)) or text[:most_chars]


def _holds_what_is_asked(question: str, sentence: str) -> bool:
    low = question.lower()
    if re.search(r"\bwhen\b|\bhow (?:many|much|old|long|far|tall|high|big|large|fast|often)\b|\bwhat year\b", low):
        return bool(_HAS_NUMBER.search(sentence))
    if re.search(r"\bwho\b|\bwhose\b|\bwhere\b|\bwhich (?:city|country|person|company)\b", low):
        return bool(_HAS_NAME.search(sentence))
    return False


def _passages(text: str) -> list[str]:
    """Lines that belong together: a wrapped line goes on in the next one, an item or a heading stands alone."""
    out: list[str] = []
    goes_on = in_code = False
    for line in text.splitlines():
        if _FENCE.match(line):
            in_code = not in_code
        if not line.strip() or _FENCE.match(line):
            goes_on = False
            continue
        if in_code:
            out.append(line)
            continue
        wrapped = goes_on and not _STARTS_ITEM.match(line)
        if wrapped and (line.lstrip()[0].islower() or len(out[-1].rsplit("\n", 1)[-1]) >= _WRAPPED_CHARS):
            out[-1] += "\n" + line
        else:
            out.append(line)
        goes_on = not line.lstrip().startswith("#")
    return out


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


def _stem(word: str) -> str:
    """A light stemmer: plural, -ing, -ed, -ly and a last e go; enough to bring the forms of a word together."""
    word = word.removesuffix("'s")
    word = _SAME.get(word, word)
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for suffix, least in (("ing", 6), ("edly", 7), ("ed", 5), ("ly", 5), ("es", 5), ("s", 4)):
        if word.endswith(suffix) and len(word) >= least and not word.endswith("ss"):
            word = word[: -len(suffix)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return _SAME.get(word, word.removesuffix("e") if len(word) > 3 else word)
