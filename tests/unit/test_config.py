"""Settings: read from one file, refused by name when malformed."""

from __future__ import annotations

from pathlib import Path

import pytest

from repertory.config import load_config
from repertory.errors import ConfigError


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    config = load_config(tmp_path / "not-there", environ={})
    assert config.runtime.live_cap is None
    assert config.providers == {}


def test_the_file_in_the_database_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "repertory.toml").write_text('[runtime]\nlive_cap = 3\n[providers.local]\nkind = "openai"\n')
    config = load_config(tmp_path, environ={})
    assert config.runtime.live_cap == 3
    assert config.providers["local"].kind == "openai"


def test_a_named_file_comes_before_it_and_the_variable_between_both(tmp_path: Path) -> None:
    for name, cap in (("repertory.toml", 1), ("variable.toml", 2), ("given.toml", 3)):
        (tmp_path / name).write_text(f"runtime = {{live_cap = {cap}}}\n")
    environ = {"REPERTORY_CONFIG": str(tmp_path / "variable.toml")}
    assert load_config(tmp_path, environ=environ).runtime.live_cap == 2
    assert load_config(tmp_path, tmp_path / "given.toml", environ=environ).runtime.live_cap == 3
    assert load_config(tmp_path, {"runtime": {"live_cap": 4}}, environ=environ).runtime.live_cap == 4


@pytest.mark.parametrize(("text", "message"), [
    ("[runtime\n", "not valid TOML"),
    ("[runtime]\nlive_cap = 0\n", r"runtime\.live_cap: .*greater than or equal to 1, not 0"),
    ("[runtime]\nlive_cap = 'many'\n", r"runtime\.live_cap: .*integer.*not 'many'"),
    ("[runtime]\nlive_cup = 3\n", r"no setting 'runtime\.live_cup'"),
    ("[providers.x]\nkind = 'oracle'\n", r"providers\.x\.kind: .*'openai'.*not 'oracle'"),
])
def test_a_malformed_file_is_refused_with_the_setting_and_its_value(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "repertory.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path, environ={})


def test_a_named_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        load_config(tmp_path, tmp_path / "nowhere.toml")


def test_a_key_never_shows_itself(tmp_path: Path) -> None:
    settings = {"providers": {"mine": {"kind": "openai", "key": "sk-secret"}}}
    assert "sk-secret" not in repr(load_config(tmp_path, settings))
    with pytest.raises(ConfigError) as refusal:
        load_config(tmp_path, {"providers": {"mine": {"kind": "openai", "key": ["sk-secret"]}}})
    assert "sk-secret" not in str(refusal.value)


def test_the_embedder_is_chosen_by_name_and_another_is_refused(tmp_path):
    assert load_config(tmp_path, {}, {}).memory.embedder == "none"
    assert load_config(tmp_path, {"memory": {"embedder": "hashed-words"}}, {}).memory.embedder == "hashed-words"
    with pytest.raises(ConfigError, match=r"memory\.embedder"):
        load_config(tmp_path, {"memory": {"embedder": "oracle"}}, {})
