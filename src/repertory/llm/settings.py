"""How providers are reached and how hard they may be driven: plain data, safe to log and to send between processes.

A key is named by the environment variable that holds it, and is read by the gateway's own process when a provider is
first used. One that was written into a configuration file travels as a `SecretStr`, which does not show itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import SecretStr

from repertory.config import ProviderConfig

ProviderKind = Literal["openai", "anthropic", "offline"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderSettings:
    """One provider. Its name is the first part of the handles of its models."""

    kind: ProviderKind
    #: environment variables that hold the key and the address
    key_env: str = ""
    base_url_env: str = ""
    #: instead of the variables
    key: SecretStr | None = None
    base_url: str | None = None
    #: answers that may be under way at once
    max_concurrent: int = 256
    #: None: as many as the provider lets through
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    #: tokens, by model name
    context_windows: Mapping[str, int] = field(default_factory=dict)
    #: US dollars for a million tokens in and out, by model name
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    #: put into every request body as it is, for example {"reasoning_effort": "low"}
    extra_body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """When to try again, when to wait, and when to give up. All times in seconds."""

    #: tries of one request when the provider is away, too slow or limits its rate
    attempts: int = 6
    #: tries when the answer is empty
    attempts_invalid: int = 3
    #: the first back-off; it doubles from try to try, up to `backoff_most_s`
    backoff_s: float = 0.5
    backoff_most_s: float = 30.0
    #: one try may take this long
    attempt_s: float = 300.0
    #: failures in a row after which a provider is left alone for `open_s`, then twice that, up to `open_most_s`
    failures_to_open: int = 10
    open_s: float = 5.0
    open_most_s: float = 60.0
    #: how long a request waits for a provider that is left alone before it gives up
    wait_open_s: float = 60.0
    #: deltas of a finished answer are kept this long for slow readers
    keep_deltas_s: float = 60.0


def default_providers() -> dict[str, ProviderSettings]:
    """The providers that exist without any configuration."""
    return {
        "openai": ProviderSettings(kind="openai", key_env="OPENAI_API_KEY", base_url_env="OPENAI_BASE_URL"),
        "anthropic": ProviderSettings(kind="anthropic", key_env="ANTHROPIC_API_KEY", base_url_env="ANTHROPIC_BASE_URL"),
        "offline": ProviderSettings(kind="offline"),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class GatewaySettings:
    """All that a gateway needs to know."""

    providers: Mapping[str, ProviderSettings] = field(default_factory=default_providers)
    patience: Patience = field(default_factory=Patience)


def gateway_settings(providers: Mapping[str, ProviderConfig]) -> GatewaySettings:
    """The settings that a configuration file describes; what it leaves out of a known provider stays as it is."""
    merged = default_providers()
    for name, config in providers.items():
        known = merged.get(name)
        base = known if known is not None and known.kind == config.kind else ProviderSettings(kind=config.kind)
        given = {field: getattr(config, field) for field in config.model_fields_set}
        merged[name] = dataclasses.replace(base, **given)
    return GatewaySettings(providers=merged)
