"""The words of a text, as search sees them; the same for what is kept, what is asked, on disk and in memory.

LanceDB's own tokenizers are not used: they exist only where lancedb is loaded, and the newest rows are searched before
it has them. So the terms are made here, kept as a column of their own, and split at blanks only.
"""

from __future__ import annotations

import re
import unicodedata

#: a longer one is cut: nobody asks for it by its end
LONGEST_TERM = 64

_WORD = re.compile(r"[^\W_]+")
#: scripts that are written without blanks: Chinese and Japanese, Thai, Lao, Khmer, Burmese
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")

#: English words that say nothing about what is looked for
_COMMON_WORDS = """
a about an and are as at be been but by can could did do does for from had has have he her his how i if in into is it
its just me my of on or our she so than that the their them then there these they this to was we were what when where
which who why will with would you your
"""
_COMMON = frozenset(_COMMON_WORDS.split())


def terms(text: str) -> list[str]:
    """The terms of `text` in order: without case, accents and English plural endings."""
    found: list[str] = []
    folded = unicodedata.normalize("NFKD", text).casefold()
    plain = unicodedata.normalize("NFC", "".join(c for c in folded if not _is_accent(c)))
    for word in _WORD.findall(plain):
        found.extend(_pieces(word))
    return found


def query_terms(text: str) -> list[str]:
    """What to look for, once each; words like "the" only if there is nothing else."""
    every = list(dict.fromkeys(terms(text)))
    telling = [term for term in every if term not in _COMMON]
    return telling or every


def _is_accent(character: str) -> bool:
    return "\u0300" <= character <= "\u036f"


def _pieces(word: str) -> list[str]:
    """One term; pairs of neighbours where a script has no blanks."""
    if not _UNSPACED.search(word):
        return [_singular(word)[:LONGEST_TERM]]
    pieces: list[str] = []
    at = 0
    for run in _UNSPACED.finditer(word):
        if run.start() > at:
            pieces.append(_singular(word[at:run.start()])[:LONGEST_TERM])
        text = run.group()
        pieces.extend([text] if len(text) == 1 else [text[i:i + 2] for i in range(len(text) - 1)])
        at = run.end()
    if at < len(word):
        pieces.append(_singular(word[at:])[:LONGEST_TERM])
    return pieces


def _singular(word: str) -> str:
    """Without a plural ending (the S-stemmer of Harman, *How effective is suffixing?*, JASIS 1991)."""
    if len(word) < 4 or not word.endswith("s") or word in _COMMON:
        return word
    if word.endswith("ies") and word[-4] not in "ae":
        return word[:-3] + "y"
    if word.endswith("es") and word[-3] not in "aeo":
        return word[:-1]
    return word if word[-2] in "us" else word[:-1]
