"""The offline model's rules about memory: remember, replace, forget, and answering from what is known."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from repertory.llm.offline_moves import Call, Move, Say
from repertory.llm.offline_reading import rank, sentences, stems
from repertory.llm.offline_situation import MemoryBlock, Said, Situation

#: a longer fact goes to archival memory, if there is one
_BLOCK_FACT_CHARS = 300
#: findings that are quoted in one answer
_QUOTES = 3

_WRITES = ("core_memory_append", "memory_insert", "memory", "archival_memory_insert")
_EDITS = ("core_memory_replace", "memory_replace", "memory")
_SEARCHES = ("archival_memory_search", "conversation_search", "semantic_search_files")
_SOURCES = {
    "archival_memory_search": "my archival memory",
    "conversation_search": "our earlier conversation",
    "semantic_search_files": "the files",
}

_GREETING = r"(?:(?:hi|hello|hey|thanks|ok|okay|good (?:morning|day|evening))\b[^,.!?\n]{0,20}[,.!]\s+)?"
_POLITE = _GREETING + r"(?:please[,:]?\s+|hey[,:]?\s+|can you\s+|could you\s+|will you\s+|now[,:]?\s+|also[,:]?\s+)*"
_REMEMBER = re.compile(
    r"(?:^|(?<=[.!?])\s+)" + _POLITE + r"(?:remember|memori[sz]e|keep in mind|don'?t forget|make a note|take note|note)"
    r"(?:\s+(?:this|the following))?(?:\s+(?:in|under)\s+(?:the\s+|your\s+)?(?:block\s+)?"
    r"[\"'`]?(?P<label>[\w./-]+)[\"'`]?(?:\s+block)?\s*[:,])?(?:(?P<that>\s*:\s*|\s+that[,:]?\s+)|\s+)(?P<fact>.+)",
    re.I | re.S,
)
_ARCHIVE = re.compile(
    _POLITE + r"(?:archive|(?:store|save|put|keep)(?:\s+this)?\s+in(?:to)?\s+(?:the\s+|your\s+)?"
    r"(?:archive|archival memory|long[- ]term memory))(?:\s+that)?\s*:?\s+(?P<fact>.+)",
    re.I | re.S,
)
_NAME = re.compile(
    r"\b(?i:my name is|my name's|i am called|i'm called|call me)\s+(?P<name>[^\W\d_][\w'’-]*(?:\s+[A-ZÀ-Þ][\w'’-]*)*)"
)
_REPLACE = re.compile(
    _POLITE + r"(?:replace|change|correct|update)\s+(?P<old>.+?)\s+(?:by|with|to|into)\s+(?P<new>.+?)\s*\.?$",
    re.I | re.S,
)
_FORGET = re.compile(
    _POLITE + r"(?:forget|delete|erase|remove)\s+(?:about\s+|that\s+|what you know about\s+)?(?P<what>.+)", re.I | re.S
)
_ABOUT_ME = re.compile(
    r"\bwhat (?:all )?do you (?:know|remember)(?: about (?:me|us|the user))?\s*[?.]?$"
    r"|\bwho am i\b|\bwhat have you learn",
    re.I,
)
_QUESTION = re.compile(
    r"^(?:who|whom|whose|what|what's|when|where|which|why|how|is|are|am|was|were|do|does|did|can|could|will|would|has"
    r"|have|had|should|tell me|do you (?:know|remember)|recall|search|find|look up|remind me)\b",
    re.I,
)


def keep(now: Situation) -> Move | None:
    """'Remember …', 'my name is …', 'archive …'."""
    fact, label, archive = _fact(now.text)
    if not fact:
        return None
    last = now.done[-1] if now.done else None
    if last is not None and last.call.name in _WRITES and not last.failed:
        return Say(f"I will remember that: {fact}")
    if last is None and any(fact in block.value for block in now.blocks):
        return Say(f"I know that already: {fact}")
    call = _write(now, fact, label, archive)
    if call is not None:
        return call
    if last is not None:
        return Say(f"I could not keep that. The memory said: {last.result}")
    return Say(f"I have no tool to keep that with, it stays in this conversation only: {fact}")


def replace(now: Situation) -> Move | None:
    """'Replace X by Y', 'forget X'."""
    change = _REPLACE.match(now.text)
    forget = None if change else _FORGET.match(now.text)
    if change is None and forget is None:
        return None
    last = now.done[-1] if now.done else None
    if last is not None and last.call.name in _EDITS:
        if last.failed:
            return Say(f"I could not change that. The memory said: {last.result}")
        if forget is not None:
            return Say("I have removed that from my memory.")
        assert change is not None
        return Say(f"I have replaced {_bare(change['old'])} by {_bare(change['new'])} in my memory.")
    if forget is not None:
        what = _bare(forget["what"])
        found = _line_about(now, what)
        return _edit(now, *found, "") if found else Say(f"I know nothing about {what}, so there is nothing to forget.")
    assert change is not None
    old, new = _bare(change["old"]), _bare(change["new"])
    spelled = _spelled(now, old)
    return _edit(now, *spelled, new) if spelled else Say(f"My memory does not contain {old!r}.")


def recall(now: Situation) -> Move | None:
    """A question: memory blocks and the visible conversation first, then one search after the other, then quote."""
    if not is_question(now.text):
        return None
    if _ABOUT_ME.search(now.text):
        return Say(_all_known(now))
    searches = [done for done in now.done if done.call.name in _SEARCHES]
    known = _known(now)
    for done in searches:
        if not done.failed:
            known.extend(_hits(done.result, _SOURCES[done.call.name], now.text))
    quoted = _quote(now.text, known)
    if quoted:
        return Say(quoted)
    for name in _SEARCHES:
        if name in now.tools and not now.tried(name):
            return Call(name, {"query": " ".join(dict.fromkeys(_query(now.text)))}, thought="I look it up.")
    return Say("I know nothing about that: it is neither in my memory nor in what I have been told.")


def _all_known(now: Situation) -> str:
    """What its blocks hold, but for what it is itself."""
    lines = [
        f'"{line}" (from memory block {block.label!r})'
        for block in now.blocks
        if block.label != "persona"
        for line in block.value.splitlines()
        if line.strip()
    ]
    return "\n".join(lines) or "My memory blocks hold nothing yet."


def is_question(text: str) -> bool:
    """Whether the text asks something."""
    return text.rstrip(" \"'”’)]").endswith("?") or bool(_QUESTION.match(text))


def write_fact(now: Situation, fact: str) -> Call | None:
    """The call that keeps a fact, with whatever memory tool is offered; None if there is none."""
    return _write(now, fact, None, False)


def _fact(text: str) -> tuple[str, str | None, bool]:
    archive = _ARCHIVE.match(text)
    if archive:
        return archive["fact"].strip(), None, True
    name = _NAME.search(text)
    named = ""
    if name and (name["name"][0].isupper() or "name" in name.group().lower()):
        named = f"The user's name is {name['name'].strip()}."
    told = _REMEMBER.search(text)
    if told and not (text.rstrip().endswith("?") and not told["that"]):
        fact = told["fact"].strip()
        outside = name is not None and not told.start("fact") <= name.start() < told.end("fact")
        return f"{named}\n{fact}" if named and outside else fact, told["label"], False
    if named and not text.rstrip().endswith("?"):
        return named, None, False
    return "", None, False


def _write(now: Situation, fact: str, label: str | None, archive: bool) -> Call | None:
    """The first write that is offered, fits, and was not tried yet."""
    block = _block_for(now, label)
    full = block is not None and block.room is not None and len(fact) + 1 > block.room
    roomy = len(fact) <= _BLOCK_FACT_CHARS or "archival_memory_insert" not in now.tools
    if block is not None and roomy and not full and not archive:
        for name in _WRITES[:3]:
            if name in now.tools and not now.tried(name):
                return Call(name, _write_arguments(name, block.label, fact), thought="I keep that in my memory.")
    if "archival_memory_insert" in now.tools and not now.tried("archival_memory_insert"):
        return Call("archival_memory_insert", {"content": fact}, thought="I keep that in my archive.")
    return None


def _write_arguments(name: str, label: str, fact: str) -> dict[str, Any]:
    if name == "core_memory_append":
        return {"label": label, "content": fact}
    if name == "memory_insert":
        return {"label": label, "new_string": fact, "new_str": fact, "insert_line": -1}
    return {"command": "insert", "path": f"/memories/{label}", "insert_line": -1, "insert_text": fact}


def _block_for(now: Situation, label: str | None) -> MemoryBlock | None:
    writable = [block for block in now.blocks if not block.read_only]
    for wanted in (label, "human"):
        for block in writable:
            if block.label == wanted:
                return block
    if writable:
        return writable[0]
    # A system message that shows no blocks may still belong to an agent that has the usual one.
    return None if now.blocks else MemoryBlock(label=label or "human", value="", read_only=False, room=None)


def _edit(now: Situation, label: str, old: str, new: str) -> Move:
    for name in _EDITS:
        if name in now.tools:
            break
    else:
        return Say("I have no tool to change my memory with.")
    arguments: dict[str, Any] = {"label": label}
    if name == "core_memory_replace":
        arguments |= {"old_content": old, "new_content": new}
    else:
        arguments |= {"old_string": old, "new_string": new, "old_str": old, "new_str": new}
        if name == "memory":
            arguments |= {"command": "str_replace", "path": f"/memories/{label}"}
    return Call(name, arguments, thought="I correct my memory.")


def _line_about(now: Situation, what: str) -> tuple[str, str] | None:
    wanted = stems(what)
    if not wanted:
        return None
    for block in now.blocks:
        for line in block.value.splitlines():
            if not block.read_only and all(word in stems(line) for word in wanted):
                return block.label, line
    return None


def _spelled(now: Situation, old: str) -> tuple[str, str] | None:
    for block in now.blocks:
        at = block.value.lower().find(old.lower())
        if at >= 0 and not block.read_only:
            return block.label, block.value[at : at + len(old)]
    return None


def _bare(text: str) -> str:
    return text.strip().rstrip(".!").strip("\"'“”`").strip()


def _known(now: Situation) -> list[Said]:
    """Lines of memory, and what was said before (what asks something holds no answer)."""
    out: list[Said] = []
    for block in now.blocks:
        for line in block.value.splitlines():
            out.extend(Said(text=part, source=f"memory block {block.label!r}") for part in sentences(line))
    for said in reversed(now.earlier):
        out.extend(Said(text=_told(part), source=said.source) for part in sentences(said.text) if not is_question(part))
    return out


def _told(text: str) -> str:
    told = _REMEMBER.match(text)
    return told["fact"].strip() if told else text


def _quote(question: str, known: list[Said]) -> str:
    best: dict[str, Said] = {}
    for found in rank(question, [said.text for said in known], most=_QUOTES * 2, near_best=0.75):
        best.setdefault(found.text.strip(" .").lower(), known[found.at])
    return "\n".join(f'"{said.text}" (from {said.source})' for said in list(best.values())[:_QUOTES])


def _query(question: str) -> list[str]:
    """The question's own words, without those that carry nothing."""
    return [word for word in re.findall(r"[\w'’-]+", question) if stems(word)] or [question]


def _hits(result: str, source: str, question: str) -> list[Said]:
    """The texts in a search's result, whichever way it is written down."""
    try:
        data: Any = json.loads(result)
    except ValueError:
        try:
            data = ast.literal_eval(result)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            data = result
    texts: list[str] = []
    _collect(data, texts)
    same = stems(question)
    return [
        Said(text=_told(part), source=source)
        for text in texts
        for part in sentences(text)
        if not is_question(part) and stems(part) != same
    ]


def _collect(data: Any, texts: list[str]) -> None:
    match data:
        case str():
            texts.append(data)
        case list() | tuple():
            for part in data:
                _collect(part, texts)
        case dict():
            for key in ("results", "content", "text", "message", "assistant_content"):
                if key in data and not (key == "message" and "results" in data):
                    _collect(data[key], texts)
