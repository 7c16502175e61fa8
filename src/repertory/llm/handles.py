"""Model handles, `provider/model`, and how much a model can read at once.

A handle names the provider first because model names themselves contain slashes (`openai/meta-llama/Llama-3.1-8B`).
The table lists well-known models only; whatever it does not know gets a window that is safe for small local models,
and settings can say better.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from repertory.errors import UnknownModel

#: tokens; small enough for a local model that nobody told us about
DEFAULT_WINDOW = 32_000
OFFLINE_MODEL = "offline/rules"
OFFLINE_WINDOW = 100_000

# Longest prefix wins. Sizes in tokens, as the makers publish them.
_WINDOWS: dict[str, int] = {
    "gpt-3.5-turbo": 16_385,
    "gpt-4": 8_192,
    "gpt-4-turbo": 128_000,
    "gpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-5": 400_000,
    "gpt-oss": 131_072,
    "o1": 200_000,
    "o3": 200_000,
    "o4-mini": 200_000,
    "claude": 200_000,
    "deepseek": 128_000,
    "llama-3": 8_192,
    "llama-3.1": 131_072,
    "llama-3.2": 131_072,
    "llama-3.3": 131_072,
    "mistral": 32_768,
    "mixtral": 32_768,
    "qwen2.5": 32_768,
    "qwen3": 32_768,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelHandle:
    """A handle in its two parts."""

    provider: str
    model: str


def parse_handle(handle: str, providers: Collection[str]) -> ModelHandle:
    """Take `provider/model` apart.

    Args:
        handle: for example `openai/gpt-4o-mini` or `offline/rules`.
        providers: the names that are known here.

    Raises:
        UnknownModel: it has no slash, an empty part, or names another provider; the message lists the known ones.
    """
    provider, slash, model = handle.partition("/")
    known = ", ".join(sorted(providers)) or "none"
    if not slash or not provider or not model:
        raise UnknownModel(
            f"{handle!r} is not a model handle: write `provider/model`, with one of these providers: {known}.",
            handle=handle,
            providers=sorted(providers),
        )
    if provider not in providers:
        raise UnknownModel(
            f"There is no provider {provider!r} (of {handle!r}); the providers here are: {known}.",
            handle=handle,
            providers=sorted(providers),
        )
    return ModelHandle(provider=provider, model=model)


def window_of(model: str, overrides: Mapping[str, int] | None = None) -> int:
    """How many tokens a request and its answer may have together.

    Args:
        model: a handle, or a model's name without its provider.
        overrides: windows from the settings, by handle or by name; they come first.
    """
    name = model.split("/")[-1].lower()
    for key in (model, name):
        if overrides and key in overrides:
            return overrides[key]
    if model.startswith("offline/") or name == "rules":
        return OFFLINE_WINDOW
    found = [prefix for prefix in _WINDOWS if name.startswith(prefix)]
    return _WINDOWS[max(found, key=len)] if found else DEFAULT_WINDOW
