"""Opening a system: the front door."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from repertory.api.facade import Blocking, blocking
from repertory.api.links import Links
from repertory.api.system import System
from repertory.config import load_config
from repertory.ids import IdSource
from repertory.memory.agent_types import AgentType, with_types
from repertory.memory.database import prepare
from repertory.messages import Sender
from repertory.tools.registry import ToolRegistry

DEFAULT_FOLDER = "db"
#: who speaks when nobody says who
DEFAULT_USER = "user"

Settings = str | PathLike[str] | Mapping[str, Any]


class Opening:
    """What `open` gives: use it with `async with`, or await it and close the system yourself."""

    def __init__(self, folder: Path, config: Settings | None, user: str, agent_types: Iterable[AgentType]) -> None:
        self._folder = folder
        self._config = config
        self._user = user
        self._more_types = tuple(agent_types)
        self._system: System | None = None

    def __await__(self) -> Generator[Any, None, System]:
        return self._open().__await__()

    async def __aenter__(self) -> System:
        self._system = await self._open()
        return self._system

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        if self._system is not None:
            await self._system.close()

    async def _open(self) -> System:
        given = Path(self._config) if isinstance(self._config, PathLike) else self._config
        config = load_config(self._folder, given)
        prepare(self._folder)
        from repertory.runtime import Runtime  # imports Ray, which takes a second: only who opens a system waits for it

        runtime = await Runtime.open(self._folder, config, agent_types=self._more_types)
        links = Links(
            store=runtime.store, directory=runtime.directory, agents=runtime.agents, blocks=runtime.blocks,
            models=runtime.models, reader=runtime.reader, tools=ToolRegistry.with_builtins(),
            types=with_types(self._more_types), ids=IdSource(), now=time.time,
            me=Sender(kind="person", id=self._user),
        )
        return System(links, closing=runtime.close, started=runtime.started)


def open(path: str | PathLike[str] = DEFAULT_FOLDER, *, config: Settings | None = None, user: str = DEFAULT_USER,
         agent_types: Iterable[AgentType] = ()) -> Opening:
    """Open the system that lives in a folder: start it, or join the one that runs there.

    ::

        async with rep.open("./db") as system:
            ada = await system.create_agent("ada")
            print(await ada.send("Hello"))

    Args:
        path: the database's folder; it is made if it is not there.
        config: a TOML file, or the settings themselves, for the instance that is started; see `repertory.config`.
        user: the name of the person that speaks, where no `sender` is given.
        agent_types: types of agents beside the built-in ones, for the instance that is started.

    Raises (when it is entered or awaited):
        ConfigError: a malformed setting.
        StorageError: the path is a file, or the database is locked, damaged, or on a full disk.
    """
    return Opening(Path(path), config, user, agent_types)


def open_sync(path: str | PathLike[str] = DEFAULT_FOLDER, *, config: Settings | None = None, user: str = DEFAULT_USER,
              agent_types: Iterable[AgentType] = ()) -> Blocking:
    """The same without `await`, also in a notebook: `with rep.open_sync("./db") as system: …`.

    Every object that it leads to has plain methods in place of coroutines. See `open`.
    """
    async def opened() -> System:
        return await open(path, config=config, user=user, agent_types=agent_types)

    return blocking(opened)
