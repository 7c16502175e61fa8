"""Pooled processes on Ray: how the directory starts and ends them."""

from __future__ import annotations

from dataclasses import replace

from repertory.actors.handles import Ref
from repertory.actors.shell import Launch, RayRef, Recipe, launch, named
from repertory.errors import RepertoryError
from repertory.ids import IdSource

PREFIX = "process-"
#: seconds a new process may take to answer (a machine under load)
SPAWN_S = 120.0


class RaySpawner:
    """Starts processes as Ray actors that outlive the directory. Satisfies `pool.Spawner`."""

    def __init__(self, recipe: Recipe, like: Launch, ids: IdSource) -> None:
        """`recipe` makes the `AgentProcess`; each is launched `like` this, under a name of its own."""
        self._recipe = recipe
        self._like = like
        self._ids = ids

    async def spawn(self) -> Ref:
        """See `pool.Spawner.spawn`."""
        name = self._ids.new("turn").replace("turn-", PREFIX)
        ref = launch(self._recipe, replace(self._like, name=name, spread=True))
        try:
            await ref.call("status", timeout_s=SPAWN_S)
        except RepertoryError:
            ref.kill()
            raise
        return ref

    async def kill(self, ref: Ref) -> None:
        """See `pool.Spawner.kill`."""
        if isinstance(ref, RayRef):
            ref.kill()

    async def existing(self) -> list[Ref]:
        """See `pool.Spawner.existing`."""
        return [ref for ref in named(self._like.namespace) if ref.key.startswith(PREFIX)]
