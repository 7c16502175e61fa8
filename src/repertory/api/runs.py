"""Runs: sending a message that starts one, and learning how it ended, from the agent or from the journal alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from repertory.api.links import Links
from repertory.errors import DeadlineExceeded, OpConflict
from repertory.ids import derived
from repertory.memory.outcomes import outcome_of
from repertory.messages import TERMINAL, Envelope, Outcome, Receipt, Sender

#: seconds after its deadline by which a run is over, also on a machine under load
GRACE_S = 60.0
#: seconds that a run without a deadline of the caller's is waited for: longer than any agent's own limit
LONGEST_S = 7 * 86_400.0
#: seconds between two looks into the journal: at first, at most
LOOK_S, LOOK_LONGEST_S = 0.02, 0.5


#: (links, op_id, agent_id, envelope, timeout_s) -> how the run ended
Deliver = Callable[[Links, str, str, Envelope, float], Awaitable[Outcome]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """Whom a message is for, and how it is to be delivered beyond its text."""

    agent_id: str
    conversation_id: str
    #: who speaks; None: the client itself
    sender: Sender | None = None
    #: the run must be over after so many seconds; None: the agent's own limit
    timeout_s: float | None = None
    max_steps: int | None = None
    #: a JSON schema of the answer
    returns: Mapping[str, Any] | None = None


def envelope_of(links: Links, op_id: str, text: str, delivery: Delivery) -> Envelope:
    """The message as it goes into the inbox; its ids follow from `op_id`, so that a retry is the same message."""
    return Envelope(
        run_id=derived("run", op_id), message_id=derived("message", op_id), text=text,
        conversation_id=delivery.conversation_id, sender=delivery.sender or links.me, within_s=delivery.timeout_s,
        max_steps=delivery.max_steps, returns=None if delivery.returns is None else dict(delivery.returns),
    )


async def carry_out(links: Links, op_id: str, agent_id: str, envelope: Envelope) -> Outcome:
    """Deliver at the agent itself (the fast path) and wait until the run is over. A repeated op_id joins the run.

    Raises DeadlineExceeded when the run did not end by its own deadline (with some grace for a machine under load).
    """
    left_s = LONGEST_S if envelope.within_s is None else envelope.within_s + GRACE_S
    return await links.agents.ask(agent_id, envelope, op_id=op_id, deadline_s=left_s)


async def keep(links: Links, op_id: str, agent_id: str, envelope: Envelope) -> Receipt:
    """Write the message into the agent's inbox without waiting for anything else; durable when this returns.

    Raises AgentNotFound, InboxFull, or OpConflict when the op_id stands for another message; then nothing is written.
    """
    return await links.agents.post(agent_id, envelope, op_id=op_id, author=links.author)


async def ask_live(links: Links, op_id: str, agent_id: str, envelope: Envelope, timeout_s: float) -> Outcome:
    """Have a message carried out by an agent that is live; it is kept also when that takes too long.

    Raises DeadlineExceeded after `timeout_s` seconds; the run goes on.
    """
    try:
        return await links.agents.ask(agent_id, envelope, op_id=op_id, deadline_s=timeout_s)
    except DeadlineExceeded:
        with contextlib.suppress(OpConflict):  # the agent has kept it itself, in its own name
            await keep(links, op_id, agent_id, envelope)
        raise


async def keep_and_wait(links: Links, op_id: str, agent_id: str, envelope: Envelope, timeout_s: float) -> Outcome:
    """The same for an agent that may first have to be brought to life."""
    receipt = await keep(links, op_id, agent_id, envelope)
    return await wait_for(links, receipt.run_id, timeout_s)


async def look(links: Links, run_id: str) -> Outcome:
    """How a run stands, from the journal. Raises RunNotFound."""
    run = await links.store.ask("run", run_id=run_id)
    if run["status"] in TERMINAL:
        return await outcome_of(links.store, run_id, run)
    return Outcome(run_id=run_id, agent_id=run["agent_id"], status=run["status"])


async def wait_for(links: Links, run_id: str, timeout_s: float | None = None) -> Outcome:
    """How a run ended. Raises DeadlineExceeded when it has not within `timeout_s` seconds; it goes on."""
    pause = LOOK_S
    try:
        async with asyncio.timeout(timeout_s):
            while not (outcome := await look(links, run_id)).done:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LOOK_LONGEST_S)
            return outcome
    except TimeoutError:
        raise DeadlineExceeded(f"run {run_id} is not over after {timeout_s:g} s; it goes on", run_id=run_id) from None
