"""The journal's life: open an operation, claim it, record its steps, end it."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from pocketfleet.actions.records import actor, changed
from pocketfleet.domain.states import (
    OPEN_OPERATION_STATES,
    OPERATION_TRANSITIONS,
    STEP_TRANSITIONS,
    OperationState,
    StepState,
)
from pocketfleet.errors import OperationNotFound, OperationOpen
from pocketfleet.models import Instance, Operation, Step, User


def open_operation(
    kind: str,
    *,
    instance: Instance | None = None,
    key: str = "",
    params: dict[str, Any] | None = None,
    exclusive: bool = True,
    acting_user: User | None,
) -> Operation:
    """A pending operation, for node to take up.

    Where an open one has the same key, that one is the answer. Raises OperationOpen where the instance has an
    open, exclusive one already.
    """
    if key and (same := Operation.objects.filter(key=key, state__in=OPEN_OPERATION_STATES).first()):
        return same
    operation = Operation(
        kind=kind,
        instance=instance,
        key=key,
        params=params or {},
        exclusive=exclusive,
        actor=actor(acting_user),
    )
    try:
        with transaction.atomic():
            operation.save(force_insert=True)
            changed("operation", operation.id)
    except IntegrityError:
        if key and (same := Operation.objects.filter(key=key, state__in=OPEN_OPERATION_STATES).first()):
            return same
        if instance is None:
            raise
        busy = Operation.objects.filter(instance=instance, exclusive=True, state__in=OPEN_OPERATION_STATES).first()
        raise OperationOpen(
            f"“{instance.name}” is busy with another operation ({busy.kind if busy else 'unknown'}); "
            f"wait for it: `pocketfleet operations {instance.name}`.",
            operation=busy.id if busy else None,
        ) from None
    return operation


def open_operations() -> list[Operation]:
    """All that is pending or running, oldest first."""
    return list(Operation.objects.filter(state__in=OPEN_OPERATION_STATES).order_by("created_at", "id"))


def move_operation(operation_id: str, to: OperationState, **fields: Any) -> Operation:
    """Move an operation to another state, with what goes with it (`result`, `error`, ...).

    A move to the state it already has changes its fields only. Raises ValueError for a move that the table in
    domain/states.py does not allow.
    """
    with transaction.atomic():
        operation = Operation.objects.select_for_update().filter(id=operation_id).first()
        if operation is None:
            raise OperationNotFound(f"There is no operation {operation_id}.")
        now = OperationState(operation.state)
        if to != now and to not in OPERATION_TRANSITIONS[now]:
            raise ValueError(f"operation {operation_id} cannot go from {now} to {to}")
        for name, value in fields.items():
            setattr(operation, name, value)
        operation.state = to
        if to == OperationState.RUNNING and operation.started_at is None:
            operation.started_at = timezone.now()
        if to not in OPEN_OPERATION_STATES and operation.finished_at is None:
            operation.finished_at = timezone.now()
        operation.save()
        changed("operation", operation.id)
    return operation


def steps_of(operation_id: str) -> list[Step]:
    """The steps that were begun, in their order."""
    return list(Step.objects.filter(operation_id=operation_id).order_by("position"))


def move_step(operation_id: str, position: int, name: str, to: StepState, **fields: Any) -> Step:
    """Begin, finish, fail or compensate a step; `output`, `message` and `progress` go with it.

    Raises ValueError for a move that the table in domain/states.py does not allow.
    """
    with transaction.atomic():
        step = Step.objects.select_for_update().filter(operation_id=operation_id, position=position).first()
        if step is None:
            if to != StepState.RUNNING:
                raise ValueError(f"step {name} of {operation_id} was never begun")
            step = Step(operation_id=operation_id, position=position, name=name, started_at=timezone.now())
        else:
            now = StepState(step.state)
            if to not in STEP_TRANSITIONS[now]:
                raise ValueError(f"step {name} of {operation_id} cannot go from {now} to {to}")
            if to == StepState.RUNNING:
                step.attempts += 1
        step.state = to
        for field, value in fields.items():
            setattr(step, field, value)
        if to in (StepState.DONE, StepState.FAILED, StepState.COMPENSATED):
            step.finished_at = timezone.now()
        step.save()
        changed("operation", operation_id)
    return step


def report_progress(operation_id: str, position: int, progress: float | None, message: str) -> None:
    """Show how far a running step is: `progress` from 0 to 1, or None where it cannot be known."""
    with transaction.atomic():
        Step.objects.filter(operation_id=operation_id, position=position, state=StepState.RUNNING).update(
            progress=progress, message=message[:200]
        )
        changed("operation", operation_id)
