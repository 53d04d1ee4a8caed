"""The journal's life: open an operation, claim it, record its steps, end it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Max, Window
from django.db.models.functions import RowNumber
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

#: The first step of an upgrade that is felt: an upgrade that nobody asked for gives way until it is begun.
_FELT = "hold"


class OperationOver(Exception):
    """The operation gave way meanwhile: nothing of it may be begun any more."""


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

    Where an open one has the same key, that one is the answer. An upgrade that nobody asked for gives way to what
    somebody asks for. Raises OperationOpen where the instance has another open, exclusive one already.
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
            if instance is not None and exclusive and acting_user is not None:
                _make_way(instance, kind)
            operation.save(force_insert=True)
            changed("operation", operation.id)
    except IntegrityError:
        if key and (same := Operation.objects.filter(key=key, state__in=OPEN_OPERATION_STATES).first()):
            return same
        if instance is None:
            raise
        check_idle(instance)
        raise
    return operation


def check_idle(instance: Instance) -> None:
    """Raises OperationOpen where the instance has an open, exclusive operation."""
    busy = Operation.objects.filter(instance=instance, exclusive=True, state__in=OPEN_OPERATION_STATES).first()
    if busy is not None:
        raise OperationOpen(
            f"“{instance.name}” is busy with another operation ({busy.kind}); "
            f"wait for it: `pocketfleet operations {instance.name}`.",
            operation=busy.id,
        )


def _make_way(instance: Instance, kind: str) -> None:
    """End an upgrade that nobody asked for, if it was not felt yet: node drops what it is doing for it."""
    open_ones = Operation.objects.select_for_update().filter(instance=instance, exclusive=True)
    busy = open_ones.filter(kind="upgrade", state__in=OPEN_OPERATION_STATES).first()
    if busy is None or not busy.params.get("by_itself"):
        return
    if not Step.objects.filter(operation=busy, name=_FELT).exists():
        move_operation(busy.id, OperationState.CANCELLED, result={**busy.result, "gave_way_to": kind})


def open_operations() -> list[Operation]:
    """All that is pending or running, oldest first."""
    return list(Operation.objects.filter(state__in=OPEN_OPERATION_STATES).order_by("created_at", "id"))


def move_operation(operation_id: str, to: OperationState, **fields: Any) -> Operation:
    """Move an operation to another state, with what goes with it (`result`, `error`, ...).

    A move to the state it already has changes its fields only. Raises OperationOver where it gave way, ValueError for
    a move that the table in domain/states.py does not allow.
    """
    with transaction.atomic():
        operation = Operation.objects.select_for_update().filter(id=operation_id).first()
        if operation is None:
            raise OperationNotFound(f"There is no operation {operation_id}.")
        now = OperationState(operation.state)
        if now == OperationState.CANCELLED != to:
            raise OperationOver
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


def end_operation(
    operation_id: str,
    to: OperationState,
    *,
    result: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
    forget: Iterable[str] = (),
) -> Operation:
    """End an operation. Its params named in `forget` (a password's hash) are wiped in the same transaction."""
    with transaction.atomic():
        params = Operation.objects.filter(id=operation_id).values_list("params", flat=True).first() or {}
        fields: dict[str, Any] = {"result": result or {}}
        if error is not None:
            fields["error"] = error
        fields["params"] = {name: value for name, value in params.items() if name not in set(forget)}
        return move_operation(operation_id, to, **fields)


def move_step(operation_id: str, name: str, to: StepState, **fields: Any) -> Step:
    """Begin, finish, fail or compensate a step; `output`, `message` and `progress` go with it.

    A step is known by its name, so that a newer version of its plan may have other steps around it. Raises
    OperationOver for a step that would begin after its operation gave way, ValueError for a move that the table in
    domain/states.py does not allow.
    """
    with transaction.atomic():
        # locked before its steps, as who makes it give way does
        state = Operation.objects.select_for_update().values_list("state", flat=True).get(id=operation_id)
        if to == StepState.RUNNING and state == OperationState.CANCELLED:
            raise OperationOver
        step = Step.objects.select_for_update().filter(operation_id=operation_id, name=name).first()
        if step is None:
            step = _new_step(operation_id, name, to)
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


def fail_step(operation_id: str, name: str, problem: dict[str, Any]) -> None:
    """A step failed; why (problem+json) is the operation's error from the same moment on."""
    with transaction.atomic():
        move_step(operation_id, name, StepState.FAILED, message=str(problem.get("detail", ""))[:200])
        Operation.objects.filter(id=operation_id).update(error=problem)


def report_progress(operation_id: str, name: str, progress: float | None, message: str) -> None:
    """Show how far a running step is: `progress` from 0 to 1, or None where it cannot be known."""
    with transaction.atomic():
        Step.objects.filter(operation_id=operation_id, name=name, state=StepState.RUNNING).update(
            progress=progress, message=message[:200]
        )
        changed("operation", operation_id)


def prune_operations(older_than: timedelta = timedelta(weeks=6), keep: int = 20) -> int:
    """Delete what ended long ago, but the newest `keep` of each kind of each instance; answers how many."""
    rank = Window(
        RowNumber(), partition_by=[F("instance_id"), F("kind")], order_by=[F("created_at").desc(), F("id").desc()]
    )
    old = Operation.objects.annotate(rank=rank).filter(rank__gt=keep).values("id")
    due = Operation.objects.filter(finished_at__lt=timezone.now() - older_than, id__in=old)
    return due.delete()[1].get("pocketfleet.Operation", 0)


def _new_step(operation_id: str, name: str, to: StepState) -> Step:
    if to != StepState.RUNNING:
        raise ValueError(f"step {name} of {operation_id} was never begun")
    last = Step.objects.filter(operation_id=operation_id).aggregate(last=Max("position"))["last"]
    position = 0 if last is None else last + 1
    return Step(operation_id=operation_id, position=position, name=name, started_at=timezone.now())
