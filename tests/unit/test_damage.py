"""Killed, damaged and grown databases: a little of each of `scripts/acceptance/store_*.py` and `journal_growth.py`."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

_ACCEPTANCE = str(Path(__file__).resolve().parents[2] / "scripts" / "acceptance")
if _ACCEPTANCE not in sys.path:
    sys.path.insert(0, _ACCEPTANCE)

import journal_growth  # noqa: E402 (its folder is no package)
import store_damage  # noqa: E402
import store_kills  # noqa: E402

REPAIRED = ["manifest cut", "manifest zeroed", "manifest deleted", "checkpoint flipped"]
OWNED_UP_TO = ["every manifest zeroed", "newest data file flipped", "any data file deleted", "tail cut", "tail flipped",
               "table deleted"]


@pytest.mark.parametrize("damage", REPAIRED)
async def test_this_damage_costs_nothing(damage: str) -> None:
    assert await store_damage.check(damage, store_damage.DAMAGES[damage], random.Random(1)) == "whole"


@pytest.mark.parametrize("damage", OWNED_UP_TO)
async def test_this_damage_loses_nothing_in_silence(damage: str) -> None:
    await store_damage.check(damage, store_damage.DAMAGES[damage], random.Random(2))


@pytest.mark.parametrize("damage", ["identity zeroed", "identity deleted"])
async def test_a_database_without_identity_is_refused(damage: str) -> None:
    assert await store_damage.check(damage, store_damage.DAMAGES[damage], random.Random(3)) == "refused"


def test_what_was_acknowledged_survives_a_kill_at_any_moment() -> None:
    result = store_kills.run(0.0)
    assert result["acknowledged"] > 0


def test_a_growing_journal_is_measured() -> None:
    result = journal_growth.run(0.01)
    assert result["commits"]["large"] > result["commits"]["small"]
    assert result["live_mb"] > 0
