"""The documents of a corpus, their parts, and whether a citation is true."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from repertory.errors import ConfigError

#: endings of files that are read as text
TEXT_ENDINGS = (".txt", ".md", ".markdown", ".rst")
#: characters of one part; a longer document is read in several
PART_CHARS = 24_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A document, or a part of a long one."""

    #: unique in its corpus
    name: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation:
    """A sentence and the document that it stands in."""

    document: str
    sentence: str


def from_folder(folder: Path) -> list[Document]:
    """The text files below a folder, by their relative names. Raises ConfigError if there are none."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: give one that holds text or Markdown files")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in TEXT_ENDINGS and path.is_file())
    documents = [Document(name=str(path.relative_to(folder)), text=path.read_text(encoding="utf-8", errors="replace"))
                 for path in paths]
    documents = [document for document in documents if document.text.strip()]
    if not documents:
        raise ConfigError(f"there is no text in {folder}: it needs files that end in {', '.join(TEXT_ENDINGS)}")
    return documents


def from_distributions() -> list[Document]:
    """The long descriptions of the Python distributions that are installed here."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        facts = distribution.metadata.json
        name, summary, text = (str(facts.get(key) or "").strip() for key in ("name", "summary", "description"))
        if name and (summary or text):
            found.setdefault(name, f"{summary}\n\n{text}".strip())
    return [Document(name=name, text=found[name]) for name in sorted(found, key=str.lower)]


def parts(documents: Iterable[Document]) -> list[Document]:
    """The documents, long ones in parts that end at a paragraph where possible."""
    return [part for document in documents for part in _parts(document)]


def whole_name(part_name: str) -> str:
    """The name of the document that a part belongs to."""
    return part_name.partition(" part ")[0]


def fingerprint(documents: Iterable[Document]) -> str:
    """A short name of exactly this corpus."""
    hasher = hashlib.sha256()
    for document in documents:
        hasher.update(f"{document.name}\0{document.text}\0".encode())
    return hasher.hexdigest()[:12]


def is_true(citation: Citation, documents: Iterable[Document]) -> bool:
    """Whether the sentence stands in the document, white space aside."""
    wanted = " ".join(citation.sentence.split())
    return any(whole_name(document.name) == citation.document and wanted in " ".join(document.text.split())
               for document in documents)


def _parts(document: Document) -> list[Document]:
    if len(document.text) <= PART_CHARS:
        return [document]
    texts, rest = [], document.text
    while len(rest) > PART_CHARS:
        cut = rest.rfind("\n\n", PART_CHARS // 2, PART_CHARS)
        cut = PART_CHARS if cut < 0 else cut
        texts.append(rest[:cut])
        rest = rest[cut:]
    texts.append(rest)
    return [Document(name=f"{document.name} part {number} of {len(texts)}", text=text)
            for number, text in enumerate(texts, 1)]
