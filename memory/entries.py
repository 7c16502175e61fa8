"""What the index knows of each agent, run, turn, message and block: one small record each."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class AgentEntry:
    """What the index knows of an agent."""

    id: str
    name: str
    tags: tuple[str, ...]
    created_seq: int
    created_at: float
    agent_type: str = ""
    resident: bool = False
    snapshot_seq: int = 0
    #: seqs of its events behind the snapshot
    events: list[int] = field(default_factory=list)
    last_at: float = 0.0
    #: seconds that a run may take which names no deadline
    deadline_s: float = 600.0


@dataclass(slots=True)
class RunEntry:
    """What the index knows of a run."""

    run_id: str
    agent_id: str
    conversation_id: str
    #: of its message row
    seq: int
    status: str = "created"
    #: of the step row that ended it
    ended_seq: int = 0
    deadline_at: float | None = None


@dataclass(slots=True)
class Waiting:
    """An inbox row that no step has consumed."""

    kind: str
    conversation_id: str
    run_id: str = ""


@dataclass(slots=True)
class OpenTurn:
    """A turn between its first row and its last step."""

    run_id: str
    parked: bool = False
    due_at: float | None = None


@dataclass(slots=True)
class BlockEntry:
    """What the index knows of a shared block."""

    id: str
    label: str
    version: int
    seq: int
