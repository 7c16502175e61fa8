"""The index written down, so that opening a database does not read its whole journal.

It is a file and not a row of the journal: it is only a cache of the rows before it, up to `index.last_seq`. As a row
it would be kept for ever, tens of megabytes each time, and would have to be moved, compacted and verified with the
rest; as a file it is replaced whole, carries its own crc, and when it is damaged or missing it is made again from the
rows, which remain the only truth.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import Any

import msgpack

from repertory.memory.entries import AgentEntry, BlockEntry, OpenTurn, RunEntry, Waiting
from repertory.memory.index import JournalIndex
from repertory.memory.journal import FORMAT
from repertory.memory.opfilter import OpFilter
from repertory.memory.waits import WaitGraph

CHECKPOINT_FILE = "checkpoint"
_MAGIC = b"REPERTORY-CHECKPOINT\n"


def packed(index: JournalIndex, used: OpFilter, *, database_id: str) -> bytes:
    """The whole content of a checkpoint file."""
    payload: bytes = msgpack.packb({
        "format": FORMAT, "database": database_id, "index": pack_index(index), "used": used.pack(),
    })
    return _MAGIC + zlib.crc32(payload).to_bytes(4, "big") + payload


def unpacked(raw: bytes, *, database_id: str) -> tuple[JournalIndex, OpFilter] | None:
    """What `packed` was given; None when the file is damaged, of another format or of another database."""
    start = len(_MAGIC) + 4
    payload = raw[start:]
    if raw[:len(_MAGIC)] != _MAGIC or raw[len(_MAGIC):start] != zlib.crc32(payload).to_bytes(4, "big"):
        return None
    try:
        data = msgpack.unpackb(payload, strict_map_key=False)
        if data["format"] != FORMAT or data["database"] != database_id:
            return None
        return unpack_index(data["index"]), OpFilter.unpack(data["used"])
    except (ValueError, LookupError, TypeError):  # written by another release, whose index was another one
        return None


def pack_index(index: JournalIndex) -> dict[str, Any]:
    """The index as plain data. Lists, in the order of the fields: it may hold 100,000 of each."""
    return {
        "last_seq": index.last_seq,
        "heads": index.heads,
        "epochs": index.epochs,
        "ops": [[op_id, *entry] for op_id, entry in index.ops.items()],
        "agents": [
            [e.id, e.name, e.tags, e.created_seq, e.created_at, e.agent_type, e.resident, e.snapshot_seq, e.events,
             e.last_at, e.deadline_s] for e in index.agents.values()
        ],
        "inboxes": {
            agent_id: [[seq, row.kind, row.conversation_id, row.run_id] for seq, row in inbox.items()]
            for agent_id, inbox in index.inboxes.items()
        },
        "turns": {
            agent_id: [[conversation, turn.run_id, turn.parked, turn.due_at] for conversation, turn in turns.items()]
            for agent_id, turns in index.turns.items()
        },
        "runs": [
            [r.run_id, r.agent_id, r.conversation_id, r.seq, r.status, r.ended_seq, r.deadline_at]
            for r in index.runs.values()
        ],
        "blocks": [[b.id, b.label, b.version, b.seq] for b in index.blocks.values()],
        "waits": index.waits.edges(),
        "dead_letters": index.dead_letters,
    }


def unpack_index(data: dict[str, Any]) -> JournalIndex:
    """The inverse of `pack_index`."""
    index = JournalIndex()
    index.last_seq = data["last_seq"]
    index.heads = data["heads"]
    index.epochs = data["epochs"]
    index.ops = OrderedDict((op_id, tuple(entry)) for op_id, *entry in data["ops"])
    for id_, name, tags, created_seq, created_at, agent_type, resident, snapshot_seq, events, *times in data["agents"]:
        entry = AgentEntry(id=id_, name=name, tags=tuple(tags), created_seq=created_seq, created_at=created_at,
                           agent_type=agent_type, resident=resident, snapshot_seq=snapshot_seq, events=events,
                           last_at=times[0], deadline_s=times[1])
        index.agents[id_] = entry
        index.names[name] = id_
        for tag in entry.tags:
            index.tagged.setdefault(tag, {})[id_] = None
    for agent_id, inbox in data["inboxes"].items():
        index.inboxes[agent_id] = {seq: Waiting(*row) for seq, *row in inbox}
    for agent_id, turns in data["turns"].items():
        index.turns[agent_id] = {conversation: OpenTurn(*turn) for conversation, *turn in turns}
    index.runs = OrderedDict((run[0], RunEntry(*run)) for run in data["runs"])
    index.blocks = {block[0]: BlockEntry(*block) for block in data["blocks"]}
    index.waits = WaitGraph()
    for waiting, op_id, target in data["waits"]:
        index.waits.add(tuple(waiting), op_id, tuple(target))
    index.dead_letters = data["dead_letters"]
    return index
