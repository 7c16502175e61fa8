"""The kinds of rows, by stream, and the keys of their data that the index reads.

===================  =============  ==================================================================================
stream               kind           data
===================  =============  ==================================================================================
``registry``         agent_created  id, name, tags, spec
                     agent_changed  id, name?, tags?
                     agent_deleted  id
``author:<author>``  activated      (nothing; the row's epoch is the author's new one)
``agent:<id>``       activated      as above, for author ``agent:<id>``
                     response       conversation_id, run_id, consumed, …: the model has answered, tools come next
                     wait           conversation_id, run_id, targets [{op_id, agent_id, conversation_id}], due_at
                     step           conversation_id, run_id, consumed, status, …: one step is done
                     unbegun        run_id, consumed, status, …: a run that waited behind another is over
                     consumed       consumed: inbox rows that needed no turn (a late reply)
                     edited         changes from outside
                     compacted      conversation_id, …
``inbox:<id>``       message        an Envelope
                     reply          in_reply_to, conversation_id, …
                     cancel         run_id
``snapshot:<id>``    snapshot       upto, state
``block:<id>``       version        version, label, value, …
                     deleted
``store``            checkpoint     (the store's own notes)
===================  =============  ==================================================================================

`consumed` lists inbox seqs. `status` is a RunStatus: a terminal one closes the conversation's turn.
"""

from __future__ import annotations

REGISTRY = "registry"
DIRECTORY = "directory"
COORDINATOR = "coordinator"
STORE = "store"


def agent_stream(agent_id: str) -> str:
    """What happened to an agent; also the name under which it writes."""
    return f"agent:{agent_id}"


def inbox_stream(agent_id: str) -> str:
    """What waits for an agent."""
    return f"inbox:{agent_id}"


def snapshot_stream(agent_id: str) -> str:
    """An agent's states, so that loading it is short."""
    return f"snapshot:{agent_id}"


def block_stream(block_id: str) -> str:
    """The versions of a shared block."""
    return f"block:{block_id}"


def author_stream(author: str) -> str:
    """Where a fenced author that is no agent claims its epochs."""
    return f"author:{author}"


def claim_stream(author: str) -> str:
    """The stream in which `author` writes its `activated` rows."""
    return author if author.startswith("agent:") else author_stream(author)


def owner(stream: str) -> str | None:
    """The only author that may write `stream`; None if anybody may (inboxes)."""
    kind, _, name = stream.partition(":")
    match kind:
        case "agent" | "snapshot":
            return f"agent:{name}"
        case "inbox":
            return None
        case "registry":
            return DIRECTORY
        case "block":
            return COORDINATOR
        case "author":
            return name
        case _:
            return STORE
