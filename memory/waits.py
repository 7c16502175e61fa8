"""Who waits for whom, so that a circle of agents that wait for each other is refused before it exists (P6).

A node is a conversation of an agent, since turns are serial in a conversation and not in an agent. The graph lives
beside the journal's index, so that the check and the write are one: no two looks between which a circle could close.
"""

from __future__ import annotations

from collections import deque

#: (agent id, conversation id)
Node = tuple[str, str]


class WaitGraph:
    """Edges from a waiting conversation to those that it waits for, each named by the question's op_id."""

    def __init__(self) -> None:
        self._edges: dict[Node, dict[str, Node]] = {}

    def add(self, waiting: Node, op_id: str, target: Node) -> None:
        """`waiting` has asked `target`, and its turn rests until the answer."""
        self._edges.setdefault(waiting, {})[op_id] = target

    def answered(self, waiting: Node, op_id: str) -> None:
        """The answer is there (or will not come)."""
        edges = self._edges.get(waiting)
        if edges is not None:
            edges.pop(op_id, None)
            if not edges:
                del self._edges[waiting]

    def clear(self, waiting: Node) -> None:
        """`waiting` goes on and waits for nobody."""
        self._edges.pop(waiting, None)

    def waits_of(self, waiting: Node) -> dict[str, Node]:
        """The open questions of a conversation: op_id -> whom it asked."""
        return dict(self._edges.get(waiting, {}))

    def circle(self, waiting: Node, target: Node) -> tuple[Node, ...]:
        """The circle that an edge would close, from `waiting` along the path back to it; empty if none."""
        if waiting == target:
            return (waiting,)
        came_from: dict[Node, Node] = {target: waiting}
        queue = deque([target])
        while queue:
            node = queue.popleft()
            for neighbour in self._edges.get(node, {}).values():
                if neighbour == waiting:
                    return self._path(came_from, node, waiting)
                if neighbour not in came_from:
                    came_from[neighbour] = node
                    queue.append(neighbour)
        return ()

    def edges(self) -> list[tuple[Node, str, Node]]:
        """All edges: (waiting, op_id, target)."""
        return [(node, op_id, target) for node, out in self._edges.items() for op_id, target in out.items()]

    @staticmethod
    def _path(came_from: dict[Node, Node], last: Node, start: Node) -> tuple[Node, ...]:
        path = [last]
        while path[-1] != start:
            path.append(came_from[path[-1]])
        return tuple(reversed(path))
