"""How a run that is over ended, read back from the journal."""

from __future__ import annotations

from typing import Any

from repertory.memory.journal import Store
from repertory.memory.rows import agent_stream
from repertory.messages import Outcome, unpack


async def outcome_of(store: Store, run_id: str, run: dict[str, Any]) -> Outcome:
    """The outcome of a run. `run` is the store's answer to the question `run`, with a terminal status."""
    stream = agent_stream(run["agent_id"])
    for row in await store.read(stream, after=run["ended_seq"] - 1, limit=1):
        if row.seq == run["ended_seq"] and "outcome" in row.data:
            return unpack(Outcome, row.data["outcome"])
    gone = "the agent was deleted before it answered"
    return Outcome(run_id=run_id, agent_id=run["agent_id"], status=run["status"], stop_reason="deleted", error=gone)
