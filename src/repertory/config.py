"""The settings of a system: one TOML file, and the only place that reads the environment for them.

A file named `repertory.toml` in the database's folder is read by itself; another one can be named when the system is
opened, or by REPERTORY_CONFIG. Whatever is malformed is refused before anything starts. Keys of providers are better
named (`key_env`) than written down; one that is written down never shows itself again.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from repertory.errors import ConfigError

FILE_NAME = "repertory.toml"
FILE_VARIABLE = "REPERTORY_CONFIG"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RuntimeConfig(_Section):
    """How many processes and agents there may be, and where they run."""

    #: agents that may be live at once; None: from the free memory
    live_cap: int | None = Field(default=None, ge=1)
    #: processes kept warm for the next agents; None: chosen by the runtime
    warm: int | None = Field(default=None, ge=0)
    #: an idle agent is put away after this many seconds even when there is room; None: never
    idle_s: float | None = Field(default=None, gt=0)
    #: the Ray cluster to use; None: a local one
    address: str | None = None


class MemoryConfig(_Section):
    """How memory is searched."""

    #: what makes vectors of texts, for search by likeness beside search by words: `hashed-words` needs no model and
    #: no network, and finds texts that share words and parts of words
    embedder: Literal["none", "hashed-words"] = "none"


class ProviderConfig(_Section):
    """A provider of models; see `llm.settings.ProviderSettings` for the fields."""

    kind: Literal["openai", "anthropic", "offline"]
    key_env: str = ""
    key: SecretStr | None = None
    base_url: str | None = None
    base_url_env: str = ""
    max_concurrent: int = Field(default=256, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    context_windows: dict[str, int] = Field(default_factory=dict)
    prices: dict[str, tuple[float, float]] = Field(default_factory=dict)
    extra_body: dict[str, Any] = Field(default_factory=dict)


class Config(_Section):
    """All settings."""

    runtime: RuntimeConfig = Field(default_factory=RuntimeConfig)
    memory: MemoryConfig = Field(default_factory=MemoryConfig)
    #: by name, the first part of the handles of its models; those that exist anyway can be changed here
    providers: dict[str, ProviderConfig] = Field(default_factory=dict)


def load_config(database: Path, given: Path | str | Mapping[str, Any] | None = None,
                environ: Mapping[str, str] = os.environ) -> Config:
    """The settings for a database.

    Args:
        database: its folder (it need not exist); `repertory.toml` there is read if nothing else is given.
        given: another file, or the settings themselves.
        environ: REPERTORY_CONFIG in it names a file that comes before the one in the folder.

    Raises:
        ConfigError: a file that was named is not there, is no TOML, or a setting is unknown or of the wrong kind; the
            message names the setting, its value and what is wrong.
    """
    if isinstance(given, Mapping):
        return _checked(given, "the settings given")
    named = given or environ.get(FILE_VARIABLE)
    path = Path(named) if named else database / FILE_NAME
    if not named and not path.is_file():
        return Config()
    try:
        return _checked(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except OSError as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {error.strerror}", path=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", path=str(path)) from None


def _checked(values: Mapping[str, Any], source: str) -> Config:
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        problems = "; ".join(_problem(one) for one in error.errors(include_url=False))
        raise ConfigError(f"{source}: {problems}") from None


def _problem(error: Any) -> str:
    where = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"there is no setting {where!r}"
    shown = "" if "key" in error["loc"] else f", not {error['input']!r:.60}"
    return f"{where}: {error['msg'][:1].lower()}{error['msg'][1:]}{shown}"
