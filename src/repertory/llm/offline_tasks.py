"""The offline model's rules about texts and other agents: extract, merge, split, summarise, tell and ask."""

from __future__ import annotations

import re
from typing import Any

from repertory.llm.offline_forms import arguments_from
from repertory.llm.offline_memory import is_question, write_fact
from repertory.llm.offline_moves import Call, Calls, Move, Say
from repertory.llm.offline_reading import digest, rank, sentences, stems
from repertory.llm.offline_situation import Situation

#: sentences that an extraction, and a merged answer, give at most
_EXTRACTED = 3
_MERGED = 5
_SUMMARY_CHARS = 1_200
#: facts that a sleep-time agent keeps of one transcript
_KEPT_FACTS = 8

NOTHING_IN_TEXT = "Nothing in the text answers that."
NOTHING_FOUND = "None of the findings answers that."

_DIRECTIVE = re.compile(r"\[\[call (\w+) (\{.*?\})\]\]", re.S)
_EXTRACT = re.compile(
    r"(?:extract|quote|find|list|give|return)\b[^\n:]*?\bsentences?\b[^\n:]*?\banswers?\b(?:\s+(?:this|the)\s+question)?\s*:?\s*"
    r"(?P<question>[^\n]+)",
    re.I,
)
_TEXT_HEADING = re.compile(r"^\s*(?:the\s+)?(?:text|document)\s*:\s*", re.I | re.M)
_REPORT = re.compile(r"report_findings\b[^\n]*\bdocument '(?P<document>[^'\n]+)'")
_MERGE = re.compile(r"\b(?:merge|combine|join)\b[^\n]*\b(?:findings|answers|results|reports)\b", re.I)
_FINDING = re.compile(r"^\s*(?:[-*•]\s*)?\[(?P<document>[^\]\n]+)\]\s*(?P<sentence>.+?)\s*$", re.M)
_ASKED = re.compile(r"\b(?:question|answers?(?: the question)?|about|task)\b\s*:\s*(?P<question>[^\n]+)", re.I)
_SPLIT = re.compile(
    r"^(?:please\s+)?(?:split|divide|break|distribute)\b(?P<how>[^\n:]*)(?:[:\n](?P<what>.*))?", re.I | re.S
)
_SUMMARISER = re.compile(
    r"\b(?:write|give|produce|create|make)\b[^.\n]*\bsummary\b|\b(?:job|task) is to summari[sz]e\b|\bsummari[sz]er\b",
    re.I,
)
_SUMMARY_HEADING = re.compile(r"^(?:Summary so far|What came after it):\s*$", re.M)
_TAGGED = re.compile(
    r"^(?:please\s+)?(?:tell|ask|message|broadcast(?:\s+to)?|send\s+to)\s+(?:all\s+|every\s+)?(?:the\s+)?agents?\s+"
    r"(?:with|tagged|that have|having|matching)\s+(?:the\s+)?(?P<any>any of\s+)?(?:the\s+)?(?:tags?\s+)?"
    r"(?P<tags>[^:\n]+?)(?:\s*:\s*|\s+(?:that|to)\s+)(?P<message>.+)",
    re.I | re.S,
)
_TELL = re.compile(
    r"^(?:please\s+)?(?P<verb>tell|ask|message|inform|send\s+to)\s+(?:the\s+)?agent\s+[\"'`]?(?P<agent>[\w.@-]+?)[\"'`]?"
    r"(?:\s*[:,]\s*|\s+(?:that|to|whether|if)\s+|\s+)(?P<message>.+)",
    re.I | re.S,
)
_USE = re.compile(
    r"^(?:please\s+)?(?:call|use|run|invoke)\s+(?:the\s+)?(?:tool\s+|function\s+)?[\"'`]?(?P<name>\w+)[\"'`]?"
    r"(?:\s+(?:tool|function))?(?:\s*(?:with|on|for|:)\s*(?P<arguments>.+))?",
    re.I | re.S,
)
_FIRST_PERSON = re.compile(r"\b(?:I|I'm|I've|my|we|our)\b", re.I)
_SPOKEN_BY_USER = re.compile(r"^\s*(?:\[[^\]]*\]\s*)?(?:user|human|person)\b[^:\n]*:\s*(?P<text>.+)$", re.I | re.M)


def directive(now: Situation) -> Move | None:
    """`[[call NAME {json}]]`: calls just that (for tests); several directives make several calls at once."""
    found = [
        (match[1], arguments_from(match[2], {}))
        for match in _DIRECTIVE.finditer(now.text.replace('\\"', '"'))
        if match[1] in now.tools
    ]
    if not found:
        return None
    if now.done:
        return Say("\n".join(f"{done.call.name} returned: {done.result}" for done in now.done))
    return Calls(tuple(Call(name, arguments) for name, arguments in found))


def summarise(now: Situation) -> Move | None:
    """A summariser's system message without tools: the sentences that say most, in their order."""
    if now.tools or not _SUMMARISER.search(now.system[:2_000]):
        return None
    texts = [message.text for message in now.request.messages if message.role in ("user", "assistant")]
    limit = now.request.max_output_tokens
    return Say(
        digest(_SUMMARY_HEADING.sub("", "\n".join(texts)), min(_SUMMARY_CHARS, limit * 4) if limit else _SUMMARY_CHARS)
    )


def merge(now: Situation) -> Move | None:
    """'Merge these findings …' with lines `[document] sentence`: those that answer, best first, with their source."""
    if not _MERGE.search(now.text[:2_000]):
        return None
    findings: dict[str, None] = {}
    for match in _FINDING.finditer(now.text):
        if match["sentence"].strip() != NOTHING_IN_TEXT:
            findings.setdefault(f"[{match['document']}] {match['sentence']}")
    lines = list(findings)
    question = _question_of(now.text)
    if question:
        best = rank(question, [line.split("] ", 1)[1] for line in lines], most=_MERGED, near_best=0.5)
        lines = [lines[found.at] for found in best]
    return Say("\n".join(lines[:_MERGED]) or NOTHING_FOUND)


def extract(now: Situation) -> Move | None:
    """'From the text below, extract the sentences that answer: …': those sentences as they stand, best first.

    Told to report them with `report_findings` for a document, it does.
    """
    asked = _EXTRACT.search(now.text[:4_000])
    if asked is None:
        return None
    # The text stands below the question; a question at the very end has its text above.
    below, above = now.text[asked.end() :], now.text[: asked.start()]
    text = below if below.strip() else above
    text = _TEXT_HEADING.split(text, maxsplit=1)[-1]
    found = [one.text for one in rank(asked["question"], sentences(text), most=_EXTRACTED)]
    report = _REPORT.search(now.text[: asked.end() + 1_000])
    if report is None or "report_findings" not in now.tools:
        return Say("\n".join(found) or NOTHING_IN_TEXT)
    if now.done:
        return Say(now.done[-1].result)
    arguments = {"document": report["document"], "sentences": found}
    return Call("report_findings", arguments, thought="I report what I found.")


def split(now: Situation) -> Move | None:
    """'Split … into N parts: …': numbered parts, in order, as even as they can be."""
    match = _SPLIT.match(now.text)
    if match is None or not (match["what"] or "").strip():
        return None
    lines = [line.strip() for line in match["what"].splitlines() if line.strip()]
    items = lines if len(lines) > 1 else sentences(match["what"])
    items = [re.sub(r"^(?:[-*•]|\d+[.)])\s*", "", item) for item in items]
    number = re.search(r"\b(?:into|among|between|for|to)\s+(\d+)", match["how"])
    count = min(int(number[1]) if number else len(items), len(items))
    if count < 1:
        return None
    size, more = divmod(len(items), count)
    parts, at = [], 0
    for part in range(count):
        end = at + size + (part < more)
        parts.append(f"{part + 1}. {'; '.join(items[at:end])}")
        at = end
    return Say("\n".join(parts))


def message_agents(now: Situation) -> Move | None:
    """'Tell agent A …', 'ask agent A …', 'tell the agents tagged T: …'."""
    done = next((one for one in reversed(now.done) if one.call.name.startswith("send_message_to_agent")), None)
    tagged = _TAGGED.match(now.text)
    told = None if tagged else _TELL.match(now.text)
    if tagged is None and told is None:
        return None
    if done is not None:
        heading = "That failed" if done.failed else "The answer was" if "async" not in done.call.name else "Sent"
        return Say(f"{heading}: {done.result}")
    if tagged is not None:
        return _broadcast(now, tagged)
    assert told is not None
    wait, post = "send_message_to_agent_and_wait_for_reply", "send_message_to_agent_async"
    order = (wait, post) if told["verb"].lower() == "ask" else (post, wait)
    for name in order:
        if name in now.tools:
            arguments = {"other_agent_id": told["agent"], "message": told["message"].strip()}
            return Call(name, arguments, thought="I pass that on.")
    return Say("I have no tool to write to other agents with.")


def use_tool(now: Situation) -> Move | None:
    """'Use the tool NAME with a=1, b="x"' (or with a JSON object, or with the one text that it needs)."""
    match = _USE.match(now.text)
    if match is None or match["name"] not in now.tools:
        return None
    if now.done:
        last = now.done[-1]
        return Say(f"{last.call.name} {'failed' if last.failed else 'returned'}: {last.result}")
    schema = now.tools[match["name"]].parameters
    return Call(match["name"], arguments_from((match["arguments"] or "").strip(), schema), thought="I use that tool.")


def tend_memory(now: Situation) -> Move | None:
    """A sleep-time agent: keep what people said about themselves in the transcript, then finish."""
    if "memory_finish_edits" not in now.tools:
        return None
    if now.tried("memory_finish_edits"):
        return Say("I have tended the memory.")
    if not now.done:
        known = [stems(line) for block in now.blocks for line in block.value.splitlines()]
        calls = []
        for fact in _facts(now.text):
            call = write_fact(now, fact) if stems(fact) not in known else None
            if call is not None:
                calls.append(call)
        if calls:
            return Calls(tuple(calls[:_KEPT_FACTS]))
    return Call("memory_finish_edits", {}, thought="Nothing is left to do.", again=False)


def _broadcast(now: Situation, tagged: re.Match[str]) -> Move:
    name = "send_message_to_agents_matching_tags"
    if name not in now.tools:
        return Say("I have no tool to write to agents by their tags.")
    tags = [tag.strip(" \"'`") for tag in re.split(r",|\band\b|\bor\b", tagged["tags"]) if tag.strip(" \"'`")]
    some = bool(tagged["any"]) or bool(re.search(r"\bor\b", tagged["tags"]))
    arguments: dict[str, Any] = {"message": tagged["message"].strip()}
    arguments |= {"match_all": [] if some else tags, "match_some": tags if some else []}
    arguments |= {"match_any": arguments["match_some"]}
    return Call(name, arguments, thought="I pass that on to all of them.")


def _question_of(text: str) -> str:
    asked = _ASKED.search(text)
    if asked:
        return asked["question"].strip()
    return next((line for line in text.splitlines() if line.rstrip().endswith("?") and "[" not in line), "")


def _facts(transcript: str) -> list[str]:
    spoken = [match["text"] for match in _SPOKEN_BY_USER.finditer(transcript)]
    out: dict[str, None] = {}
    for sentence in sentences("\n".join(spoken)):
        if _FIRST_PERSON.search(sentence) and not is_question(sentence) and stems(sentence):
            out.setdefault(sentence)
    return list(out)
