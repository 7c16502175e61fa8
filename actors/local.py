"""References to actors in the same process: the same calls without Ray.

Tests use them, and they are the pattern for the simulator's: a call goes on when its caller stops waiting, an error
travels as a value, and a killed actor answers nobody.
"""

from __future__ import annotations

import asyncio
from typing import Any

from repertory.errors import OutcomeUnknown, RepertoryError


class LocalRef:
    """Reaches an actor that lives in this process. Satisfies `handles.Ref`."""

    def __init__(self, key: str, actor: object) -> None:
        self.key = key
        self._actor: object | None = actor
        self._running: dict[asyncio.Task[Any], None] = {}

    async def call(self, method: str, /, *args: Any, timeout_s: float, **kwargs: Any) -> Any:
        """See `handles.Ref.call`."""
        task = self._begin(method, args, kwargs)
        done, _ = await asyncio.wait((task,), timeout=timeout_s)
        if not done:
            raise OutcomeUnknown(f"{self.key} did not answer {method} within {timeout_s:g} s")
        if task.cancelled():
            raise OutcomeUnknown(f"{self.key} died during {method}")
        error = task.exception()
        if isinstance(error, RepertoryError):
            raise type(error)(error.message, **error.data)
        if error is not None:
            raise RepertoryError(f"{self.key} failed at {method}: {error!r}")
        return task.result()

    def tell(self, method: str, /, *args: Any, **kwargs: Any) -> None:
        """See `handles.Ref.tell`."""
        if self._actor is not None:
            self._begin(method, args, kwargs).add_done_callback(_forget)

    def kill(self) -> None:
        """The actor dies: what it was doing stops where it stands, nobody gets an answer."""
        self._actor = None
        for task in self._running:
            task.cancel()

    @property
    def alive(self) -> bool:
        """Whether it has not been killed."""
        return self._actor is not None

    def _begin(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> asyncio.Task[Any]:
        if self._actor is None:
            raise OutcomeUnknown(f"{self.key} is dead")
        task = asyncio.get_running_loop().create_task(getattr(self._actor, method)(*args, **kwargs))
        self._running[task] = None
        task.add_done_callback(lambda done: self._running.pop(done, None))
        return task


def _forget(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()
