"""A small HTTP server under full control: it can refuse, hang, cut a stream in the middle, or drop the connection.

What it says is up to a *dialect* (OpenAI chat completions, Anthropic messages). Without orders it behaves: it answers
`ok: <last user text>`, calls the tools that `[[call NAME {json}]]` names, and fills in a schema when one is asked for.
Orders queue up: each request takes the next one.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

KEY = "sk-test-0123456789abcdef"
DIRECTIVE = re.compile(r"\[\[call (\w+) (\{.*?\})\]\]", re.S)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A well-formed answer. `calls` are (id, name, JSON text)."""

    text: str = ""
    reasoning: str = ""
    signature: str = ""
    calls: tuple[tuple[str, str, str], ...] = ()
    finish: str = ""


@dataclass(frozen=True, kw_only=True)
class Refuse:
    """An error status."""

    status: int
    kind: str = "invalid_request_error"
    code: str | None = None
    message: str = "no"
    retry_after: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The stream breaks off after `pieces` events; `politely`: it ends instead, without its last events."""

    reply: Reply
    pieces: int
    politely: bool = False


@dataclass(frozen=True, kw_only=True)
class FailInStream:
    """An error event after `pieces` events of a stream that had begun with status 200."""

    reply: Reply
    pieces: int
    kind: str
    message: str = "Overloaded"


@dataclass(frozen=True)
class Hang:
    """Nothing ever comes."""


@dataclass(frozen=True)
class Drop:
    """The connection is closed without a word."""


@dataclass(frozen=True)
class Garbage:
    """A proxy's page instead of an answer."""


Order = Reply | Refuse | Cut | FailInStream | Hang | Drop | Garbage


class Dialect(Protocol):
    """How a protocol looks on the wire."""

    path: str

    def key_of(self, headers: dict[str, str]) -> str: ...
    def plan(self, body: dict[str, Any]) -> Reply: ...
    def whole(self, reply: Reply, body: dict[str, Any]) -> dict[str, Any]: ...
    def events(self, reply: Reply, body: dict[str, Any]) -> list[bytes]: ...
    def error(self, refuse: Refuse) -> dict[str, Any]: ...
    def error_event(self, kind: str, message: str) -> bytes: ...


@dataclass(kw_only=True)
class Seen:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)


class WireServer:
    """One server on a free port of this machine; use it as `async with`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._orders: deque[Order] = deque()
        self._closing = asyncio.Event()
        self._connections: dict[asyncio.Task[None], None] = {}
        self.seen: list[Seen] = []
        #: set whenever a request has arrived
        self.arrived = asyncio.Event()

    def order(self, *orders: Order) -> None:
        """What to do with the next requests."""
        self._orders.extend(orders)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The bodies of all requests."""
        return [seen.body for seen in self.seen]

    async def __aenter__(self) -> WireServer:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[asyncio.create_task(self._serve(reader, writer))] = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        seen = Seen(path=head[0].split(" ")[1], headers=headers, body=json.loads(raw) if raw else {})
        self.seen.append(seen)
        self.arrived.set()
        order = self._orders.popleft() if self._orders else self._dialect.plan(seen.body)
        key = self._dialect.key_of(headers)
        if seen.path != self._dialect.path:
            order = Refuse(status=404, kind="not_found_error", message=f"no such path {seen.path}")
        elif key != KEY:
            order = Refuse(status=401, kind="authentication_error", message=f"Incorrect API key provided: {key}.")
        return await self._carry_out(order, seen.body, writer)

    async def _carry_out(self, order: Order, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        match order:
            case Hang():
                await self._closing.wait()
                return False
            case Drop():
                return False
            case Garbage():
                _send(writer, 200, b"<html>Bad gateway</html>", "text/html")
            case Refuse():
                extra = f"retry-after: {order.retry_after}\r\n" if order.retry_after else ""
                _send(writer, order.status, json.dumps(self._dialect.error(order)).encode(), extra=extra)
            case Reply() if not body.get("stream"):
                _send(writer, 200, json.dumps(self._dialect.whole(order, body)).encode())
            case Reply():
                _send_events(writer, self._dialect.events(order, body), end=True)
            case Cut() if not body.get("stream"):
                text = json.dumps(self._dialect.whole(order.reply, body)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
                writer.write(f"content-length: {len(text)}\r\n\r\n".encode() + text[: len(text) // 2])
                await writer.drain()
                return False
            case Cut():
                _send_events(writer, self._dialect.events(order.reply, body)[: order.pieces], end=order.politely)
                await writer.drain()
                return order.politely
            case FailInStream():
                events = self._dialect.events(order.reply, body)[: order.pieces]
                _send_events(writer, [*events, self._dialect.error_event(order.kind, order.message)], end=True)
        await writer.drain()
        return True


def _send(
    writer: asyncio.StreamWriter, status: int, body: bytes, kind: str = "application/json", *, extra: str = ""
) -> None:
    head = f"HTTP/1.1 {status} Status\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    writer.write(head.encode() + body)


def _send_events(writer: asyncio.StreamWriter, events: Iterable[bytes], *, end: bool) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for event in events:
        writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
    if end:
        writer.write(b"0\r\n\r\n")


def fragments(text: str, size: int = 7) -> list[str]:
    """A text in pieces, as a model would stream it."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def sample_of(schema: dict[str, Any]) -> Any:
    """A value that satisfies a simple schema."""
    match schema.get("type"):
        case "object":
            return {name: sample_of(part) for name, part in (schema.get("properties") or {}).items()}
        case "array":
            return [sample_of(schema.get("items") or {})]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case _:
            return "yes"
