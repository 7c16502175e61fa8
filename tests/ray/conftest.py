"""One real local Ray cluster for the session, and in it one instance on a database of its own."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import repertory as rep
from repertory.config import Config, RuntimeConfig
from repertory.runtime import Runtime

#: live agents of the session's instance
LIVE_CAP = 4


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here share the event loop of the session, as they share the cluster."""
    for item in items:
        if item.path.parent == Path(__file__).parent and inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of the session's instance."""
    return tmp_path_factory.mktemp("database")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def runtime(database: Path) -> AsyncIterator[Runtime]:
    """The session's instance; a key in the environment must stay out of its agents' processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXAMPLE_API_KEY", "sesame")
        running = await Runtime.open(database, Config(runtime=RuntimeConfig(live_cap=LIVE_CAP, warm=1)))
    yield running
    await running.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(runtime: Runtime, database: Path) -> AsyncIterator[rep.System]:
    """The session's instance, as users see it."""
    async with rep.open(database) as opened:
        yield opened
