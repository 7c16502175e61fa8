"""Repertory: stateful language-model agents that remember, talk to each other, and survive any crash.

The public names are loaded when they are first used, so that `import repertory` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repertory.api.agent import Agent as Agent
    from repertory.api.blocks import SharedBlock as SharedBlock
    from repertory.api.conversation import Conversation as Conversation
    from repertory.api.conversation import PostedMessage as PostedMessage
    from repertory.api.opening import open as open
    from repertory.api.opening import open_sync as open_sync
    from repertory.api.replies import Broadcast as Broadcast
    from repertory.api.replies import Event as Event
    from repertory.api.replies import Reply as Reply
    from repertory.api.system import System as System
    from repertory.api.tools import tool as tool
    from repertory.errors import AgentNotFound as AgentNotFound
    from repertory.errors import BlockConflict as BlockConflict
    from repertory.errors import BlockLimitExceeded as BlockLimitExceeded
    from repertory.errors import ConfigError as ConfigError
    from repertory.errors import DeadlineExceeded as DeadlineExceeded
    from repertory.errors import NameTaken as NameTaken
    from repertory.errors import RepertoryError as RepertoryError
    from repertory.errors import RunFailed as RunFailed
    from repertory.errors import UnknownModel as UnknownModel
    from repertory.memory.block import Block as Block
    from repertory.messages import Message as Message
    from repertory.messages import Outcome as Outcome
    from repertory.messages import Sender as Sender

__version__ = "0.1.0"

_HOMES = {
    "api.agent": ("Agent",),
    "api.conversation": ("Conversation", "PostedMessage"),
    "api.blocks": ("SharedBlock",),
    "api.opening": ("open", "open_sync"),
    "api.replies": ("Broadcast", "Event", "Reply"),
    "api.system": ("System",),
    "api.tools": ("tool",),
    "errors": ("AgentNotFound", "BlockConflict", "BlockLimitExceeded", "ConfigError", "DeadlineExceeded", "NameTaken",
               "RepertoryError", "RunFailed", "UnknownModel"),
    "memory.block": ("Block",),
    "messages": ("Message", "Outcome", "Sender"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'repertory' has no attribute {name!r}")
    value = getattr(import_module(f"repertory.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
