"""Opening providers from their settings. The SDKs are imported here, when one is first used, and nowhere else.

Importing both costs two seconds and 150 MB (measured), which no agent's process pays; `import repertory` works
without either.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import assert_never

from repertory.errors import MissingExtra, MissingKey
from repertory.llm.gateway import ProviderFactory
from repertory.llm.protocol import Provider
from repertory.llm.settings import GatewaySettings, ProviderSettings

#: what a local server gets when no key is set: the SDKs insist on one, the servers ignore it
_NO_KEY = "none"


def provider_factories(settings: GatewaySettings, environ: Mapping[str, str]) -> dict[str, ProviderFactory]:
    """A function for each provider that opens it.

    Args:
        settings: which providers there are.
        environ: where keys and addresses are looked up, when a provider is first used.
    """
    return {name: partial(open_provider, name, one, environ) for name, one in settings.providers.items()}


async def open_provider(name: str, settings: ProviderSettings, environ: Mapping[str, str]) -> Provider:
    """Open one provider. Raises MissingKey or MissingExtra."""
    match settings.kind:
        case "offline":
            from repertory.llm.offline import OfflineModel

            return OfflineModel()
        case "openai":
            from repertory.llm.openai import OpenAIProvider

            key, address = _access(name, settings, environ)  # before the import, which takes seconds
            return OpenAIProvider(await _sdk("openai"), name, settings, key, address)
        case "anthropic":
            from repertory.llm.anthropic import AnthropicProvider

            key, address = _access(name, settings, environ)
            return AnthropicProvider(await _sdk("anthropic"), name, settings, key, address)
        case _:
            assert_never(settings.kind)


def _access(name: str, settings: ProviderSettings, environ: Mapping[str, str]) -> tuple[str, str | None]:
    """The key and the address. Whoever names an address of their own need not have a key."""
    address = settings.base_url or environ.get(settings.base_url_env) or None
    key = settings.key.get_secret_value() if settings.key is not None else environ.get(settings.key_env, "")
    if not key and address is None:
        raise MissingKey(
            f"The provider {name!r} needs an API key: set the environment variable {settings.key_env}"
            f" (or, for a local server without keys, its address in {settings.base_url_env})."
            " The model `offline/rules` needs neither.",
            provider=name,
            key_env=settings.key_env,
        )
    return key or _NO_KEY, address


async def _sdk(package: str) -> ModuleType:
    try:
        # In a thread, so that the answers of other providers go on meanwhile.
        return await asyncio.to_thread(importlib.import_module, package)
    except ImportError as error:
        raise MissingExtra(f"This needs the package {package!r}: pip install {package}", package=package) from error
