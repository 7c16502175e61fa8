"""What a running instance consists of: which actors, in which order, and what each of them is given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from repertory.actors.pool import PoolLimits
from repertory.actors.shell import Launch, RayRef, Recipe, launch
from repertory.errors import OutcomeUnknown
from repertory.llm.settings import GatewaySettings
from repertory.memory.agent_types import AgentType

STORE, DIRECTORY, MODELS, BLOCKS = "store", "directory", "models", "blocks"
READER, SANDBOX = "reader", "sandbox"
#: what each service must answer before the instance counts as running; the store first: its refusal is the reason
FIRST_QUESTIONS = {STORE: ("ask", "statistics"), DIRECTORY: ("status",), MODELS: ("status",), BLOCKS: ("find",)}
#: seconds that an actor may take to come up (LanceDB's import on a machine under load; a journal to replay)
UP_S = 180.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What an instance is started with."""

    database: Path
    database_id: str
    #: where its Ray can be reached, `host:port`
    ray_address: str
    #: the Ray node that has the database's disk
    node_id: str
    #: nothing starts that Ray again when it dies, so that its processes end with it
    private: bool
    live_cap: int
    limits: PoolLimits
    idle_s: float | None
    models: GatewaySettings
    #: environment variables for the gateway, with their values
    secrets: dict[str, str]
    #: what makes vectors of texts, by its name in the settings
    embedder: str = "none"
    #: makes the pooled processes, given what `actors.host.make_process` is given; None: that
    process: Recipe | None = None
    #: types of agents beside the built-in ones
    agent_types: tuple[AgentType, ...] = ()

    @property
    def namespace(self) -> str:
        """The Ray namespace of the database."""
        return namespace_of(self.database_id)


def namespace_of(database_id: str) -> str:
    """The Ray namespace of a database."""
    return f"repertory-{database_id}"


def reference(database_id: str, name: str) -> RayRef:
    """One of the instance's services, by its name."""
    return RayRef(name, namespace_of(database_id))


async def start_instance(plan: Plan) -> None:
    """Start the services. Their processes come up side by side; who needs the store waits for it.

    Raises what the store's opening raised (DatabaseLocked, DatabaseDamaged), or OutcomeUnknown.
    """
    refs = {name: launch(recipe, replace(_like(plan), name=name, restarts=True, node_id=node_id))
            for name, (recipe, node_id) in _services(plan).items()}
    for name, question in FIRST_QUESTIONS.items():
        try:
            await refs[name].call(*question, timeout_s=UP_S)
        except OutcomeUnknown as error:
            raise OutcomeUnknown(f"the {name} actor did not come up: {error.message}") from None


def _like(plan: Plan) -> Launch:
    return Launch(name="", namespace=plan.namespace, gcs=plan.ray_address if plan.private else "")


def _services(plan: Plan) -> dict[str, tuple[Recipe, str]]:
    """What makes each service, and the node that it must run on (empty: any)."""
    store, directory = (reference(plan.database_id, name) for name in (STORE, DIRECTORY))
    module = "repertory.actors.services"
    return {
        STORE: (Recipe(module="repertory.actors.store", function="make_store", arguments={
            "database": str(plan.database), "database_id": plan.database_id, "directory": directory,
            "ray_address": plan.ray_address, "embedder": plan.embedder}), plan.node_id),
        DIRECTORY: (Recipe(module=module, function="make_directory", arguments={
            "store": store, "process": _processes(plan), "like": _like(plan), "live_cap": plan.live_cap,
            "limits": plan.limits, "idle_s": plan.idle_s}), ""),
        MODELS: (_models(plan), plan.node_id),
        BLOCKS: (Recipe(module=module, function="make_coordinator", arguments={"store": store}), ""),
        READER: (Recipe(module=module, function="make_reader", arguments={
            "store": store, "database": str(plan.database), "embedder": plan.embedder}), plan.node_id),
        SANDBOX: (Recipe(module=module, function="make_sandbox"), ""),
    }


def _models(plan: Plan) -> Recipe:
    """The first gateway; on a cluster it gives every other node one."""
    module, alone = "repertory.actors.services", {"settings": plan.models}
    if plan.private:
        return Recipe(module=module, function="make_models", arguments=alone, secrets=plan.secrets)
    like = replace(_like(plan), name=MODELS, node_id=plan.node_id)
    return Recipe(module=module, function="make_first_models", secrets=plan.secrets,
                  arguments={**alone, "like": like, "secrets": tuple(plan.secrets)})


def _processes(plan: Plan) -> Recipe:
    """The processes in which agents live."""
    names = (STORE, MODELS, BLOCKS, READER, SANDBOX)
    given = plan.process or Recipe(module="repertory.actors.host", function="make_process")
    return replace(given, arguments={
        **{name: reference(plan.database_id, name) for name in names}, "home": plan.node_id, "types": plan.agent_types,
        **given.arguments})
