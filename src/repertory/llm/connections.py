"""The HTTP client that a provider's SDK should use.

The SDKs' usual transport walks over all its open connections for each request: after a burst of 256 requests every
later one costs 6 ms of processor time instead of 2 (measured, openai 3.57). The transport over aiohttp, which the
SDKs offer themselves, stays below 2 ms. aiohttp comes with Ray; where the SDK cannot use it, its usual one serves.
"""

from __future__ import annotations

from typing import Any


def http_client(sdk: Any) -> Any | None:
    """The SDK's client over aiohttp, or None: let the SDK make its usual one."""
    make = getattr(sdk, "DefaultAioHttpClient", None)
    if make is None:
        return None
    try:
        return make()
    except RuntimeError:  # this is how the SDKs say that a package for it is missing
        return None
