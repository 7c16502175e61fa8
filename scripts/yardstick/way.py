"""The way of one message on the fast path: at which calls the clock is read, and which code lies between."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A place on the way where the clock was read."""

    function: str
    detail: str = ""
    #: which of the calls that fit, in order
    index: int = 0
    end: bool = False
    #: what lies between the point before and this one
    hop: str = ""
    #: the functions that run there, as paths below `repertory`
    code: tuple[str, ...] = ()


WAY = (
    Point(function="AgentCaller.ask"),
    Point(function="RayRef.call", detail="call", hop="the caller looks up its route",
          code=("actors.callers.AgentCaller.ask", "actors.callers.AgentCaller._once")),
    Point(function="Shell.perform", detail="call", hop="Ray carries the message to the agent's process",
          code=("actors.shell.RayRef.call", "actors.shell.Shell.call", "actors.shell.Shell.perform")),
    Point(function="Agent.ask", hop="the process checks agent and epoch",
          code=("actors.process.AgentProcess.call",)),
    Point(function="RayRef.call", detail="answer", hop="the agent takes the message and compiles the request",
          code=("actors.agent.Agent.ask", "actors.inbox.Inbox.admit", "actors.turns.TurnRunner._answer",
                "actors.prompting.Prompter.request")),
    Point(function="Shell.perform", detail="answer", hop="Ray carries the request to the gateway",
          code=("actors.models.ModelsHandle.answer",)),
    Point(function="OpenAIProvider.answer", hop="the gateway admits it",
          code=("llm.gateway.Gateway.answer", "llm.gateway.Gateway._try")),
    Point(function="AsyncClient.send", hop="the SDK builds its HTTP request",
          code=("llm.openai.OpenAIProvider.answer",)),
    Point(function="AsyncClient.send", end=True, hop="HTTP to the model and back"),
    Point(function="OpenAIProvider.answer", end=True, hop="the SDK reads the answer", code=("llm.openai._whole",)),
    Point(function="Shell.perform", detail="answer", end=True, hop="the gateway settles its accounts",
          code=("llm.gateway.Gateway._answer",)),
    Point(function="RayRef.call", detail="answer", end=True, hop="Ray carries the answer to the agent"),
    Point(function="RayRef.call", detail="commit", index=-1, hop="the agent makes its step",
          code=("actors.turns.TurnRunner._answered", "actors.turns.TurnRunner._keep_step",
                "actors.agent.Agent.commit")),
    Point(function="Shell.perform", detail="commit", index=-1, hop="Ray carries the step to the store",
          code=("actors.handles.StoreHandle.commit",)),
    Point(function="Shell.perform", detail="commit", index=-1, end=True, hop="the store checks, writes and syncs it",
          code=("memory.durable.DurableStore.commit", "memory.index.JournalIndex.check",
                "memory.durable.DurableStore._write", "memory.tail.Tail._write")),
    Point(function="RayRef.call", detail="commit", index=-1, end=True, hop="Ray carries the receipt to the agent"),
    Point(function="Agent.ask", end=True, hop="the agent folds the step into its state and ends the run",
          code=("memory.fold.fold", "actors.agent.Agent.over")),
    Point(function="Shell.perform", detail="call", end=True, hop="the process lets the outcome go"),
    Point(function="RayRef.call", detail="call", end=True, hop="Ray carries the outcome to the caller"),
    Point(function="AgentCaller.ask", end=True, hop="the caller hands it out"),
)
