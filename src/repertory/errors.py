"""Every error that Repertory raises, in one tree.

::

    RepertoryError
    ├── ConfigError             a setting is malformed or missing
    │   ├── UnknownModel        no provider answers to that model handle
    │   ├── MissingKey          the provider needs an API key that is not set
    │   └── MissingExtra        an optional package is not installed
    ├── NotFound
    │   ├── AgentNotFound
    │   ├── BlockNotFound
    │   └── RunNotFound
    ├── NameTaken               another agent has that name
    ├── BlockError
    │   ├── BlockLimitExceeded
    │   ├── BlockReadOnly
    │   └── BlockConflict       two writers changed the same lines
    ├── CommitRefused           nothing was written
    │   ├── Fenced              a newer activation of the author exists
    │   ├── StaleExpectation    the stream moved on since it was read
    │   ├── OpConflict          the op_id is known, with another payload
    │   ├── WaitCycle           agents would wait for each other for ever
    │   └── InboxFull
    ├── StorageError
    │   ├── StorageFull
    │   ├── DatabaseLocked      another process writes this database
    │   ├── DatabaseDamaged
    │   └── WriteFailed
    ├── RouteError
    │   ├── Moved               the process no longer holds that agent
    │   └── OutcomeUnknown      the call was sent, its answer never came
    ├── RunError
    │   ├── RunFailed
    │   ├── RunCancelled
    │   └── DeadlineExceeded
    ├── ModelError              see its subclasses below
    └── ToolError               a tool refused its arguments, or failed

A class docstring is the default message. What a handler needs to know is in ``error.data``, a plain dict whose
keys can also be read as attributes. All of them survive a trip between processes.
"""

from __future__ import annotations

from typing import Any


class RepertoryError(Exception):
    """Repertory could not do what was asked."""

    def __init__(self, message: str | None = None, **data: Any) -> None:
        """`message` says what was wrong and what to do; `data` holds plain values for a handler."""
        self.message = message or _first_line(type(self))
        self.data = data
        super().__init__(self.message)

    def __getattr__(self, name: str) -> Any:
        data = self.__dict__.get("data", {})
        if name in data:
            return data[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.data)


def _first_line(cls: type) -> str:
    return (cls.__doc__ or cls.__name__).strip().splitlines()[0]


def _rebuild(cls: type[RepertoryError], message: str, data: dict[str, Any]) -> RepertoryError:
    return cls(message, **data)


class ConfigError(RepertoryError):
    """A setting is malformed or missing."""


class UnknownModel(ConfigError):
    """No provider answers to that model handle; handles are `provider/model`."""


class MissingKey(ConfigError):
    """The model's provider needs an API key that is not set."""


class MissingExtra(ConfigError):
    """An optional package is not installed."""


class NotFound(RepertoryError):
    """There is no such thing."""


class AgentNotFound(NotFound):
    """There is no such agent."""


class BlockNotFound(NotFound):
    """There is no such memory block."""


class RunNotFound(NotFound):
    """There is no such run."""


class NameTaken(RepertoryError):
    """Another agent has that name already."""


class BlockError(RepertoryError):
    """A memory block refused an edit."""


class BlockLimitExceeded(BlockError):
    """The edit would make the block longer than its limit."""


class BlockReadOnly(BlockError):
    """This block is read-only and cannot be edited."""


class BlockConflict(BlockError):
    """Someone else changed the same lines since you read them; data: current, version, diff."""


class CommitRefused(RepertoryError):
    """The journal refused a commit; nothing of it was written."""


class Fenced(CommitRefused):
    """A newer activation of this author exists; this one may not write any more."""


class StaleExpectation(CommitRefused):
    """The stream has newer rows than the writer knew of."""


class OpConflict(CommitRefused):
    """This op_id was used before, with another payload."""


class WaitCycle(CommitRefused):
    """Agents would wait for each other for ever; data: members. Answer in your reply, or send it async."""


class InboxFull(CommitRefused):
    """The receiver's inbox is full; try again later."""


class StorageError(RepertoryError):
    """The database could not be read or written."""


class StorageFull(StorageError):
    """The disk is full: writes are refused until there is room, reading goes on."""


class DatabaseLocked(StorageError):
    """Another process writes this database; data: holder."""


class DatabaseDamaged(StorageError):
    """The database is damaged and will not be opened as if it were new."""


class WriteFailed(StorageError):
    """A write or sync failed; the store looks what is there before it answers."""


class RouteError(RepertoryError):
    """A call between actors did not arrive."""


class Moved(RouteError):
    """That process does not hold this activation of the agent (any more); resolve it again."""


class OutcomeUnknown(RouteError):
    """The call was sent but its answer never came; it may have been carried out."""


class RunError(RepertoryError):
    """A run ended without an answer."""


class RunFailed(RunError):
    """The run failed; data: run_id, stop_reason."""


class RunCancelled(RunError):
    """The run was cancelled."""


class DeadlineExceeded(RunError):
    """The deadline passed."""


class ModelError(RepertoryError):
    """The model could not answer."""


class RateLimited(ModelError):
    """The provider asked us to slow down; data: retry_after_s."""


class ModelUnavailable(ModelError):
    """The provider cannot be reached, or answered with a server error."""


class ModelTimeout(ModelError):
    """The model did not answer in time."""


class ModelRefused(ModelError):
    """The provider refused the request (a bad key, a bad request, no credit)."""


class ContextTooLong(ModelError):
    """The request is longer than the model's context window."""


class AnswerInvalid(ModelError):
    """The model's answer was empty or malformed, again and again."""


class ToolError(RepertoryError):
    """A tool refused its arguments, or failed."""
