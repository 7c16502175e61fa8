"""Seeds that once broke a promise, with what was wrong, and the seeds that find the ten mutations.

A seed means another world when the plan changes; then it is only one more seed. What it found stays written here.
"""

from __future__ import annotations

#: plan -> what was wrong when it failed
ONCE_FAILED: dict[str, str] = {
    "577": "shared blocks: a second reader was told the old version while a doubt was being settled",
    "588": "the same, after an edit whose commit had been carried out twice",
    "4": "an agent's refresh of its shared blocks undid what its other turns had kept meanwhile",
    "433": "a reply that came during a step's commit was taken for settled, and woke its agent for ever",
    "488": "the same with a cancel",
    "1420": "the cancel of a run that had not begun was settled twice",
    "483": "a table whose newest version lost its only data file hid its good older versions: the store did not open",
    "320": "a process with a replaced activation let its caller wait for a run that was over",
    "838": "an activation that was fenced off told nobody, and the directory went on counting on it",
    "922": "a table one of whose data files was gone could not be searched, though its rows lay elsewhere",
    "982": "a reply that was settled by a step whose answer got lost was settled again",
    "75": "a run whose agent waited for a place behind a hung tool ended 70 s after its deadline",
    "2400": "an agent that was asked to leave let the deadlines of what waited in its inbox pass",
    "11027": "a tool was given the time that had been left when the step began, not when the tool did",
    "9": "a run that waited behind another one was ended when that one was over, not at its own deadline",
}

#: mutation -> the first seed that finds it
FOUND_BY: dict[str, int] = {
    "no fencing": 38,
    "acknowledge before sync": 4,
    "op_id ignored": 1,
    "a wake-up dropped": 0,
    "an edge lost in the wait graph": 1,
    "a slot held while waiting": 1,
    "outgoing messages in a second commit": 114,
    "an interrupted turn is not driven to its step row": 1,
    "a tail file deleted before its Lance version is verified": 2,
    "a merge that drops a line": 2,
}
