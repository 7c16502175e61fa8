"""What models have cost: tokens, requests, failures and money, for each provider and each agent."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from repertory.messages import Usage

#: agents whose use is remembered; the ones that asked longest ago are forgotten first
_AGENTS = 10_000
_MILLION = 1_000_000


@dataclass(kw_only=True, slots=True)
class ProviderTotals:
    """What happened at one provider since the gateway started."""

    usage: Usage = field(default_factory=Usage)
    retries: int = 0
    failures: int = 0
    cost_usd: float = 0.0
    #: the last error's class name, "" if the last request succeeded
    last_error: str = ""


class Accounts:
    """The books of one gateway."""

    def __init__(self) -> None:
        self.providers: dict[str, ProviderTotals] = {}
        self._agents: OrderedDict[str, Usage] = OrderedDict()

    def of(self, provider: str) -> ProviderTotals:
        """The totals of one provider."""
        return self.providers.setdefault(provider, ProviderTotals())

    def answered(self, provider: str, agent_id: str, usage: Usage, price: tuple[float, float] | None) -> None:
        """Book one answer; `price` is in US dollars for a million tokens in and out."""
        totals = self.of(provider)
        totals.usage = totals.usage.plus(usage)
        totals.last_error = ""
        if price is not None:
            totals.cost_usd += (usage.input_tokens * price[0] + usage.output_tokens * price[1]) / _MILLION
        if agent_id:
            self._agents[agent_id] = self._agents.get(agent_id, Usage()).plus(usage)
            self._agents.move_to_end(agent_id)
            while len(self._agents) > _AGENTS:
                self._agents.popitem(last=False)

    def agent(self, agent_id: str) -> Usage:
        """What one agent has used."""
        return self._agents.get(agent_id, Usage())

    def as_dict(self) -> Mapping[str, Any]:
        """Plain data for a status report."""
        return {name: dataclasses.asdict(totals) for name, totals in self.providers.items()}
