"""A gateway on every node of a cluster, so that agents find one beside them.

The first one runs on the node that has the database, keeps the budgets of all keys, and is the only one to know which
nodes there are: it gives each other node a gateway, also one that joins later. A node that leaves takes its own along.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from repertory.actors.shell import Launch, RayRef, Recipe, launch, named, nodes
from repertory.errors import RepertoryError

_log = logging.getLogger(__name__)

#: seconds between two looks for nodes that have none
LOOK_S = 5.0


class Gateways:
    """Gives every other node of the cluster a gateway."""

    def __init__(self, first: RayRef, recipe: Recipe, like: Launch) -> None:
        """`first`: the gateway of this node; `recipe` makes the others, each launched `like` this on its node."""
        self._first = first
        self._recipe = recipe
        self._like = like
        #: nodes that have one; Ray starts it again when its process dies
        self._seen_to = {like.node_id}

    def watch(self) -> None:
        """Look now, and again and again."""
        asyncio.get_running_loop().call_later(LOOK_S, self.watch)
        try:
            self.look()
        except RepertoryError as error:
            _log.warning("nodes without a gateway cannot be looked for now: %s", error)

    def look(self) -> None:
        """Start a gateway wherever there is none. Raises OutcomeUnknown when Ray does not say where that is."""
        without = set(nodes()) - self._seen_to
        there = {ref.key for ref in named(self._like.namespace)} if without else set()
        for node_id in sorted(without):
            name = self._first.on(node_id).key
            if name not in there:
                launch(self._recipe, replace(self._like, name=name, node_id=node_id, restarts=True))
            self._seen_to.add(node_id)
