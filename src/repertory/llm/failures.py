"""What went wrong at a provider, said in Repertory's own errors: the one place that knows the SDKs' exceptions.

Both official SDKs come from one generator, so their exceptions are told apart by what they carry (a status code, a
body, headers) and by class name; neither SDK is imported here. Keys are taken out of every text, and the original
exception is not chained: it holds the request with its headers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

from repertory.errors import (
    ContextTooLong,
    ModelError,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    RateLimited,
    RepertoryError,
)

#: characters of a provider's own words that are passed on
_EXCERPT_CHARS = 400

# Shapes of keys, for those that a server echoes in part ("Incorrect API key provided: sk-ab***yz").
_KEY_SHAPES = re.compile(r"(?i)\b(?:sk|pk|rk)-[\w*.\-]{4,}|\bbearer\s+[\w*.\-]+|\bx-api-key[\"':\s=]+[\w*.\-]+")

_TOO_LONG = re.compile(
    r"context[_ ]length|context window|maximum context|prompt is too long|too many tokens|input is too long"
    r"|exceeds? the (?:model'?s )?(?:maximum|available) context|reduce the length of the (?:messages|prompt)",
    re.I,
)
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_error")
#: error types inside a stream, where the HTTP status was 200 long ago
_BUSY = ("overloaded_error", "api_error", "server_error", "internal_server_error", "timeout_error")


def translate(error: Exception, provider: str, secrets: Iterable[str] = ()) -> RepertoryError:
    """The error to raise instead of an SDK's, an HTTP client's or a socket's.

    Args:
        error: what was caught.
        provider: the provider's name, for the message.
        secrets: strings that must not appear in it.

    Returns:
        A ModelError; or `error` itself if it is one of ours already.
    """
    if isinstance(error, RepertoryError):
        return error
    name = type(error).__name__
    # The transport over aiohttp reports a connection that was closed on it as a time-out.
    closed = any("Disconnected" in cause for cause in _causes(error))
    if not closed and (isinstance(error, asyncio.TimeoutError) or "Timeout" in name):
        return ModelTimeout(f"{provider} did not answer in time.")
    said = scrub(_words(error), secrets)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _from_status(status, error, provider, said)
    if hasattr(error, "body") and not closed:
        return _from_body(error, provider, said)
    return ModelUnavailable(f"The connection to {provider} failed ({name}): {said}")


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without keys, shortened."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[key]")
    return _KEY_SHAPES.sub("[key]", text)[:_EXCERPT_CHARS]


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What a Retry-After header asks for, in seconds; None: nothing that is understood."""
    for header, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[header]) * unit_s)
        except (KeyError, ValueError):
            continue
    return None


def _from_status(status: int, error: Exception, provider: str, said: str) -> ModelError:
    kinds = _kinds(error)
    if status < 400:
        return _from_body(error, provider, said)
    if any(kind in _NO_CREDIT for kind in kinds) or status == 402:
        return ModelRefused(f"{provider} refused the request, there is no credit left: {said}", status=status)
    wait_s = retry_after_s(getattr(getattr(error, "response", None), "headers", {}))
    if status == 429:
        return RateLimited(f"{provider} limits the rate of requests: {said}", retry_after_s=wait_s, status=status)
    if status in (408, 409, 425) or status >= 500:
        return ModelUnavailable(
            f"{provider} answered with status {status}: {said}", retry_after_s=wait_s, status=status
        )
    if status in (400, 413, 422) and (_TOO_LONG.search(said) or "context_length_exceeded" in kinds):
        return ContextTooLong(f"The request is too long for the model of {provider}: {said}", status=status)
    if status in (401, 403):
        return ModelRefused(f"{provider} refused the API key (status {status}): {said}", status=status)
    return ModelRefused(f"{provider} refused the request (status {status}): {said}", status=status)


def _from_body(error: Exception, provider: str, said: str) -> ModelError:
    """An error in the midst of a stream, or a connection that broke."""
    kinds = _kinds(error)
    if any(kind in ("rate_limit_error", "rate_limit_exceeded") for kind in kinds):
        return RateLimited(f"{provider} limits the rate of requests: {said}", retry_after_s=None)
    if "context_length_exceeded" in kinds or _TOO_LONG.search(said):
        return ContextTooLong(f"The request is too long for the model of {provider}: {said}")
    if any(kind in _NO_CREDIT for kind in kinds):
        return ModelRefused(f"{provider} refused the request, there is no credit left: {said}")
    if any(kind not in _BUSY and kind.endswith("_error") for kind in kinds):
        return ModelRefused(f"{provider} refused the request: {said}")
    return ModelUnavailable(f"{provider} broke off: {said}")


def _causes(error: BaseException) -> list[str]:
    names: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(names) < 16:
        names.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return names


def _kinds(error: Exception) -> tuple[str, ...]:
    body: Any = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    if not isinstance(body, dict):
        return ()
    return tuple(str(body[key]) for key in ("type", "code") if body.get(key))


def _words(error: Exception) -> str:
    body: Any = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return str(error) or type(error).__name__
