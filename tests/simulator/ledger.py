"""What people were told: the only things besides models' requests that the auditor believes."""

from __future__ import annotations

from dataclasses import dataclass, field

from repertory.messages import Outcome


@dataclass(kw_only=True)
class Sent:
    """A message that somebody sent to an agent."""

    token: str
    agent_id: str
    conversation_id: str
    run_id: str
    op_id: str
    person: int
    #: loop times
    at: float
    deadline_s: float | None = None
    #: a receipt, or an outcome that says it was taken
    acknowledged: bool = False
    acknowledged_at: float = 0.0
    outcome: Outcome | None = None
    #: somebody asked to cancel it
    cancelled: bool = False
    #: the sender was told that it would not be taken
    refused: str = ""
    #: no faults were about from sending to answer
    calm: bool = False


@dataclass(kw_only=True)
class Edited:
    """A change that somebody made to a shared block."""

    block_id: str
    op_id: str
    #: the line that it brought, and the one that it took away
    line: str = ""
    gone: str = ""
    began: float = 0.0
    ended: float = 0.0
    #: the version that it made (or read); 0: nobody knows
    version: int = 0
    refused: str = ""
    reading: bool = False


@dataclass(kw_only=True)
class Ledger:
    """All of it."""

    sent: list[Sent] = field(default_factory=list)
    edited: list[Edited] = field(default_factory=list)
    #: name -> id, and the ids of the shared blocks with their labels
    agents: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, str] = field(default_factory=dict)
