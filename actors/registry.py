"""Which agents there are: their names and tags, looked up in memory. Plain data, rebuilt from the store.

The store is the truth (it refuses a name that is taken when the row is written); this is the directory's copy, so
that a lookup costs no call.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from repertory.errors import AgentNotFound, ConfigError

#: characters a name or a tag may have
NAME_LIMIT_CHARS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What the directory knows of an agent."""

    id: str
    name: str
    tags: tuple[str, ...] = ()
    #: never put away to make room
    resident: bool = False


class Registry:
    """Agents by id, by name and by tag."""

    def __init__(self) -> None:
        self._agents: dict[str, Known] = {}
        self._names: dict[str, str] = {}
        #: tag -> the agents that carry it, in the order in which they got it
        self._tagged: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._agents)

    def __contains__(self, agent_id: str) -> bool:
        return agent_id in self._agents

    def put(self, agent: Known) -> None:
        """Add an agent, or replace what was known of it."""
        self._unlink(agent.id)
        self._agents[agent.id] = agent
        self._names[agent.name] = agent.id
        for tag in agent.tags:
            self._tagged.setdefault(tag, {})[agent.id] = None

    def drop(self, agent_id: str) -> None:
        """Forget an agent."""
        self._unlink(agent_id)
        self._agents.pop(agent_id, None)

    def get(self, agent_id: str) -> Known:
        """The agent with that id. Raises AgentNotFound."""
        known = self._agents.get(agent_id)
        if known is None:
            raise AgentNotFound(f"there is no agent {agent_id!r}", agent_id=agent_id)
        return known

    def find(self, name: str) -> Known:
        """The agent with that name, or with that id. Raises AgentNotFound."""
        return self.get(self._names.get(name, name))

    def matching(self, match_all: Iterable[str] = (), match_any: Iterable[str] = ()) -> list[Known]:
        """The agents that carry all of `match_all` and (if any is given) one of `match_any`."""
        every, some = tuple(match_all), tuple(match_any)
        agents = (self._agents[agent_id] for agent_id in self._candidates(every, some))
        return [a for a in agents if all(tag in a.tags for tag in every)
                and (not some or any(tag in a.tags for tag in some))]

    def _candidates(self, every: tuple[str, ...], some: tuple[str, ...]) -> Iterable[str]:
        """As few as one look tells: those with the rarest of the tags that all must carry, or with one of `some`."""
        if every:
            rarest: dict[str, None] = min((self._tagged.get(tag, {}) for tag in every), key=len)
            return rarest
        if some:
            return dict.fromkeys(agent_id for tag in some for agent_id in self._tagged.get(tag, {}))
        return self._agents

    def _unlink(self, agent_id: str) -> None:
        old = self._agents.get(agent_id)
        if old is None:
            return
        del self._names[old.name]
        for tag in old.tags:
            self._tagged[tag].pop(agent_id, None)
            if not self._tagged[tag]:
                del self._tagged[tag]


def checked_name(name: Any) -> str:
    """`name`, if it can be an agent's. Raises ConfigError."""
    if not isinstance(name, str) or not name.strip() or len(name) > NAME_LIMIT_CHARS:
        raise ConfigError(f"an agent's name is a text of 1 to {NAME_LIMIT_CHARS} characters, not {name!r:.80}")
    return name


def checked_tags(tags: Any) -> tuple[str, ...]:
    """`tags` without repetitions, if they can be an agent's. Raises ConfigError."""
    if isinstance(tags, str) or not isinstance(tags, list | tuple):
        raise ConfigError(f"tags are a list of texts, not {tags!r:.80}")
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip() or len(tag) > NAME_LIMIT_CHARS:
            raise ConfigError(f"a tag is a text of 1 to {NAME_LIMIT_CHARS} characters, not {tag!r:.80}")
    return tuple(dict.fromkeys(tags))
