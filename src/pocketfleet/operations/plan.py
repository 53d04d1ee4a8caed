"""What a durable piece of work consists of: its steps, how each is undone, where it may end, and from where nothing
is undone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from pocketfleet.domain.states import OperationState

#: in a step's output: the state in which the operation ends after this step, the others left out
ENDS = "ends"
#: in a step's output: what becomes part of the operation's result, however it ends
RESULT = "result"

#: how far a step is: 0 to 1 or None where it cannot be known, and a few words
Report = Callable[[float | None, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Work:
    """What a step function is given."""

    operation_id: str
    kind: str
    #: "" where the operation is not about an instance
    instance_id: str
    params: dict[str, Any]
    #: what the steps before this one answered, by step name
    outputs: dict[str, dict[str, Any]]
    #: operations/tools.py's Tools, or whatever the engine was given
    tools: Any
    report: Report = field(repr=False)
    #: see `aside`
    leave_place: Callable[[], AbstractAsyncContextManager[None]] = field(default=nullcontext, repr=False)

    def aside(self) -> AbstractAsyncContextManager[None]:
        """`async with`: the operation only waits for somebody else, so another one may have its place meanwhile."""
        return self.leave_place()

    async def progress(self, fraction: float | None, message: str) -> None:
        """Show how far the step is; may be called often, is written down some times a second at most."""
        await self.report(fraction, message)


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step.

    `run` has its effect and answers what later steps need (JSON). It is recorded after its effect, so it may run
    again after a crash: doing it twice must be as doing it once. `compensate` undoes it, whole or in part, and may
    run twice as well.
    """

    name: str
    run: Callable[[Work], Awaitable[dict[str, Any] | None]]
    compensate: Callable[[Work], Awaitable[dict[str, Any] | None]] | None = None


def ends(state: OperationState, output: dict[str, Any]) -> dict[str, Any]:
    """The output of a step after which there is nothing more to do: asked a person, or only rehearsed."""
    return {**output, ENDS: state.value}


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one kind of operation.

    Its result is what the outputs of its steps hold under `result`, later ones over earlier ones; where none has
    that, the output of the last step that gave one.

    A step that fails makes the engine undo the steps before it, last first, the failed one included. The
    operation ends as `failed`; as `rolled_back` where `live`, or a step after it, had been begun and everything
    was undone. Once the step `commit` is recorded, nothing is undone any more: a step after it that fails is
    tried again, and then the operation ends as `failed` where it stands.
    """

    kind: str
    steps: tuple[PlanStep, ...]
    #: name of the step past which nothing is undone
    commit: str | None = None
    #: name of the first step that touches what people use
    live: str | None = None
    #: params that are wiped when the operation ends
    secret_params: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.kind}: two steps have the same name")
        for name in (self.commit, self.live):
            if name is not None and name not in names:
                raise ValueError(f"{self.kind}: there is no step {name}")

    def position(self, name: str) -> int:
        """Where the step stands; past all others where the plan does not know it (any more)."""
        names = [step.name for step in self.steps]
        return names.index(name) if name in names else len(names)

    def is_past_commit(self, name: str) -> bool:
        """Whether the step comes after the commit point."""
        return self.commit is not None and self.position(name) > self.position(self.commit)
