"""The states of instances, operations and steps, and how one may follow another."""

from __future__ import annotations

from enum import StrEnum


class Power(StrEnum):
    """What the owner wants: reachable or not."""

    ON = "on"
    OFF = "off"


class Process(StrEnum):
    """What node last saw of the instance's PocketBase."""

    ASLEEP = "asleep"
    WAKING = "waking"
    AWAKE = "awake"
    FAILING = "failing"


class InstanceState(StrEnum):
    """The one word that people see."""

    ASLEEP = "asleep"
    WAKING = "waking"
    AWAKE = "awake"
    HELD = "held"
    FAILING = "failing"
    OFF = "off"
    SUSPENDED = "suspended"


def instance_state(power: str, suspended: bool, held: bool, process: str) -> InstanceState:
    """The word for four stored facts; what an operator or owner decided outweighs what runs."""
    if suspended:
        return InstanceState.SUSPENDED
    if held:
        return InstanceState.HELD
    if power == Power.OFF:
        return InstanceState.OFF
    return InstanceState(process)


class OperationState(StrEnum):
    """Where a durable piece of work stands."""

    PENDING = "pending"
    RUNNING = "running"
    ASKING = "asking"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"


OPEN_OPERATION_STATES = frozenset({OperationState.PENDING, OperationState.RUNNING})

OPERATION_TRANSITIONS: dict[OperationState, frozenset[OperationState]] = {
    OperationState.PENDING: frozenset({OperationState.RUNNING, OperationState.CANCELLED}),
    OperationState.RUNNING: frozenset(
        {
            OperationState.ASKING,
            OperationState.SUCCEEDED,
            OperationState.FAILED,
            OperationState.ROLLED_BACK,
            OperationState.CANCELLED,
        }
    ),
    OperationState.ASKING: frozenset({OperationState.CANCELLED, OperationState.SUCCEEDED}),
    OperationState.SUCCEEDED: frozenset(),
    OperationState.FAILED: frozenset(),
    OperationState.ROLLED_BACK: frozenset(),
    OperationState.CANCELLED: frozenset(),
}


class StepState(StrEnum):
    """Where one step of an operation stands; a step is recorded as done after its effect."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"


STEP_TRANSITIONS: dict[StepState, frozenset[StepState]] = {
    StepState.RUNNING: frozenset({StepState.RUNNING, StepState.DONE, StepState.FAILED, StepState.COMPENSATING}),
    StepState.DONE: frozenset({StepState.COMPENSATING}),
    StepState.FAILED: frozenset({StepState.COMPENSATING}),
    StepState.COMPENSATING: frozenset({StepState.COMPENSATING, StepState.COMPENSATED}),
    StepState.COMPENSATED: frozenset(),
}
