"""How actors reach each other: a reference that carries calls, and typed handles around it.

A `Ref` is all that an actor knows of another one; Ray, the simulator and a plain process each bring their own. A
handle gives the calls their names and types and says what may be tried again. Nobody hands out raw Ray handles.
"""

from __future__ import annotations

from typing import Any, Protocol


class Ref(Protocol):
    """Where an actor can be reached."""

    #: tells one actor from another; changes when the actor is replaced
    key: str

    async def call(self, method: str, /, *args: Any, timeout_s: float, **kwargs: Any) -> Any:
        """Call it and wait for the answer.

        Raises whatever RepertoryError the actor raised, or OutcomeUnknown when it died or did not answer in time: the
        call may or may not have been carried out, so only what is idempotent is tried again.
        """

    def tell(self, method: str, /, *args: Any, **kwargs: Any) -> None:
        """Call it without waiting; it may get lost."""
