"""Tools with which an agent looks into what no longer fits its context: recall and archival memory.

Both ask `ToolContext.search`. For messages the query has `text`, `roles`, `start_at`, `end_at`, `limit`, and a result
`role`, `text`, `at`; for passages `text`, `tags`, `match` ("any" or "all"), `start_at`, `end_at`, `limit`, and a result
`id`, `text`, `tags`, `at`. Moments are seconds since 1970. A result may say `relevance`.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from repertory.tools.builtin.function import builtin
from repertory.tools.builtin.moments import ago, parse, shown
from repertory.tools.tool import ToolContext

#: results that one search may bring, however many the model asks for: they must fit its context
MOST_RESULTS = 50


async def conversation_search(
    context: ToolContext, query: str | None = None, roles: list[Literal["assistant", "user", "tool"]] | None = None,
    limit: int = 5, start_date: str | None = None, end_date: str | None = None,
) -> str:
    """Search prior conversation history by meaning and by words, with optional filters.

    Args:
        query: What to look for. If omitted, the newest messages that pass the filters are returned.
        roles: Only messages of these roles.
        limit: Maximum number of results to return.
        start_date: Only messages from then on, in ISO 8601 format: '2024-01-15' or '2024-01-15T14:30'. A date without
            a time is meant from its first moment.
        end_date: Only messages up to then, in ISO 8601 format. A date without a time includes that whole day.
    """
    start_at = parse(start_date, argument="start_date", timezone=context.timezone)
    end_at = parse(end_date, argument="end_date", timezone=context.timezone, end=True)
    # what tools returned is left out: it repeats what is found elsewhere, this search's own results first of all
    wanted = [role for role in (roles or ["assistant", "user"]) if role != "tool"]
    found: list[dict[str, Any]] = []
    if wanted:
        found = await context.search("messages", text=(query or "").strip(), roles=wanted, start_at=start_at,
                                     end_at=end_at, limit=_within(limit))
    results = [_message(context, hit) for hit in found if hit.get("role") != "tool" and hit.get("text")]
    message = f"Showing {len(results)} results:" if results else "No results found."
    return json.dumps({"message": message, "results": results}, ensure_ascii=False)


async def archival_memory_insert(context: ToolContext, content: str, tags: list[str] | None = None) -> str:
    """Add to archival memory, which is unlimited and searchable: facts, events and notes to find again later.

    Args:
        content: What to keep. Phrase it so that it can be understood, and found, by itself.
        tags: Category tags for finding it again.
    """
    context.insert_passage(content, tuple(dict.fromkeys(tags or ())))
    return "None"


async def archival_memory_search(
    context: ToolContext, query: str, tags: list[str] | None = None,
    tag_match_mode: Literal["any", "all"] = "any", top_k: int = 5, start_datetime: str | None = None,
    end_datetime: str | None = None,
) -> str:
    """Search archival memory by meaning and by words.

    Args:
        query: What to look for.
        tags: Only passages with these tags.
        tag_match_mode: Whether a passage must have 'any' of the tags or 'all' of them.
        top_k: Maximum number of results to return.
        start_datetime: Only passages kept from then on, in ISO 8601 format: '2024-01-15' or '2024-01-15T14:30'.
        end_datetime: Only passages kept up to then, in ISO 8601 format. A date without a time includes that whole day.
    """
    start_at = parse(start_datetime, argument="start_datetime", timezone=context.timezone)
    end_at = parse(end_datetime, argument="end_datetime", timezone=context.timezone, end=True)
    found: list[dict[str, Any]] = []
    if query.strip():
        found = await context.search("passages", text=query.strip(), tags=list(tags or ()), match=tag_match_mode,
                                     start_at=start_at, end_at=end_at, limit=_within(top_k))
    return json.dumps([_passage(context, hit) for hit in found], ensure_ascii=False)


def _within(limit: int) -> int:
    return max(1, min(limit, MOST_RESULTS))


def _message(context: ToolContext, hit: dict[str, Any]) -> dict[str, Any]:
    at = float(hit.get("at", 0.0))
    result = {"timestamp": shown(at, context.timezone), "time_ago": ago(at, context.now), "role": hit["role"]}
    if hit.get("relevance"):
        result["relevance"] = hit["relevance"]
    return {**result, "content": hit["text"]}


def _passage(context: ToolContext, hit: dict[str, Any]) -> dict[str, Any]:
    result = {"id": hit["id"], "timestamp": shown(float(hit.get("at", 0.0)), context.timezone),
              "content": hit["text"], "tags": list(hit.get("tags", ()))}
    if hit.get("relevance"):
        result["relevance"] = hit["relevance"]
    return result


SEARCH_TOOLS = (
    builtin(conversation_search, pure=True),
    builtin(archival_memory_insert, pure=True),
    builtin(archival_memory_search, pure=True),
)
