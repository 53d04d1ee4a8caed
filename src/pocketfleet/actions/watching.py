"""What watching new releases reads and writes down; all of it follows from the journal, so a restart goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef
from django.utils import timezone

from pocketfleet.actions import events
from pocketfleet.actions.upgrades import rollback_instance
from pocketfleet.domain.states import OperationState, Process
from pocketfleet.errors import OperationOpen, SnapshotNotFound
from pocketfleet.models import Instance, Operation, Step


@dataclass(frozen=True, slots=True)
class Switched:
    """An instance that changed its release not long ago, and still runs the new one."""

    instance_id: str
    operation_id: str
    release: str
    #: the snapshot from just before
    checkpoint: str
    finished_at: datetime
    #: it does not start, or dies again and again
    failing: bool


def switched(seconds: float) -> list[Switched]:
    """Those whose upgrade ended within so many seconds and that nobody has begun to take back since."""
    limit = timezone.now() - timedelta(seconds=seconds)
    back = Operation.objects.filter(
        kind="rollback", instance_id=OuterRef("instance_id"), created_at__gte=OuterRef("finished_at")
    )
    found = Operation.objects.filter(
        ~Exists(back),
        kind="upgrade",
        state=OperationState.SUCCEEDED,
        finished_at__gte=limit,
        instance__deleted_at=None,
    ).select_related("instance")
    return [item for operation in found.order_by("finished_at") if (item := _switched(operation)) is not None]


def go_back(item: Switched) -> str | None:
    """Open the way back, which asks where anything was written since; answers its id. None where it cannot begin
    now: something else is under way, or the checkpoint is gone."""
    try:
        made = _made_by_switch(item.operation_id)
        back = rollback_instance(
            item.instance_id,
            item.checkpoint,
            by_itself=True,
            schema=made["schema"],
            settings=made["settings"],
            acting_user=None,
        )
    except OperationOpen:
        return None
    except SnapshotNotFound:
        text = f"PocketBase {item.release} fails since the upgrade, and the snapshot from before is gone."
        events.tell(item.instance_id, "failing", text, events.PROBLEM, item.operation_id)
        return None
    return back.id


def tell_of_errors(item: Switched, failed: int, requests: int) -> None:
    """More requests than before end with an error of PocketBase's own."""
    text = (
        f"Since the upgrade to PocketBase {item.release} {failed} of {requests} requests ended with a server error, "
        "clearly more than before. Look at its log; `pocketfleet rollback` goes back."
    )
    events.tell(item.instance_id, "errors", text, events.WARNING, item.operation_id, failed=failed, requests=requests)


def _switched(operation: Operation) -> Switched | None:
    instance, result = operation.instance, operation.result
    if instance is None or operation.finished_at is None or "held_ms" not in result or not result.get("snapshot"):
        return None
    if instance.release != result.get("to"):
        return None
    return Switched(
        instance_id=instance.id,
        operation_id=operation.id,
        release=instance.release,
        checkpoint=str(result["snapshot"]),
        finished_at=operation.finished_at,
        failing=_is_failing(instance),
    )


def _made_by_switch(operation_id: str) -> dict[str, str]:
    """Fingerprints right after the switch, when nobody else had reached it yet; "" where unknown."""
    output = Step.objects.filter(operation_id=operation_id, name="verify").values_list("output", flat=True).first()
    return {part: str((output or {}).get(part, "")) for part in ("schema", "settings")}


def _is_failing(instance: Instance) -> bool:
    return instance.process == Process.FAILING and not instance.hold
