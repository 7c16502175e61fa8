"""Moments in time as models write and read them: ISO dates in the agent's own time zone."""

from __future__ import annotations

from datetime import UTC, datetime, time, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from repertory.errors import ToolError


def zone(name: str) -> tzinfo:
    """The time zone with that IANA name; UTC if this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def parse(text: str | None, *, argument: str, timezone: str, end: bool = False) -> float | None:
    """Seconds since 1970 of an ISO 8601 date or time; None for none.

    Without an offset it is the agent's local time; a bare date is that day's begin, or its last moment if `end`.
    Raises ToolError, which names the argument.
    """
    if not text or not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ToolError(
            f"Invalid {argument} format: {text}. Use ISO 8601 format, for example '2024-01-15' or '2024-01-15T14:30'."
        ) from None
    if end and len(text.strip()) <= len("2024-01-15"):
        moment = datetime.combine(moment.date(), time.max)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone(timezone))
    return moment.timestamp()


def shown(at: float, timezone: str) -> str:
    """The moment in ISO 8601, to the second, in that time zone."""
    return datetime.fromtimestamp(at, zone(timezone)).isoformat(timespec="seconds")


def ago(at: float, now: float) -> str:
    """How long ago it was, in its largest unit."""
    seconds = max(0, int(now - at))
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= length:
            return f"{seconds // length}{unit} ago"
    return f"{seconds}s ago"
