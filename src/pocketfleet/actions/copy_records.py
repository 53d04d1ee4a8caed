"""What node writes down of copies: those that are there, those that went, and which may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from pocketfleet.actions.events import PROBLEM, tell
from pocketfleet.actions.limits import check_storage
from pocketfleet.actions.operations import open_operation
from pocketfleet.actions.records import audited, changed
from pocketfleet.domain.ids import derived_id
from pocketfleet.domain.retention import Copy, Retention, to_remove
from pocketfleet.domain.schedules import BackupPlan
from pocketfleet.domain.states import OPEN_OPERATION_STATES
from pocketfleet.errors import BackupNotFound, InstanceNotFound, OperationOpen, StorageFull, WrongSetting
from pocketfleet.models import Backup, Instance, Operation, Snapshot

#: A plan whose time zone this machine does not know is looked at again after this time.
_LOOK_AGAIN = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class BackupFacts:
    """A backup's row."""

    id: str
    instance_id: str
    name: str
    release: str
    full: bool
    sha256: str


def record_snapshot(
    instance_id: str,
    snapshot_id: str,
    *,
    purpose: str,
    release: str,
    manifest: Mapping[str, Any],
    kept_for: str = "",
    note: str = "",
) -> None:
    """It is verified and may be gone back to. Doing it twice is as doing it once.

    One that is an operation's way back takes that place from those of operations that are over.
    """
    with transaction.atomic():
        if kept_for:
            earlier = Snapshot.objects.filter(instance_id=instance_id).exclude(kept_for__in=[*open_ids(), kept_for, ""])
            earlier.update(kept_for="")
        Snapshot.objects.get_or_create(
            id=snapshot_id,
            defaults={
                "instance_id": instance_id,
                "purpose": purpose,
                "release": release,
                "size": manifest.get("bytes", 0),
                "manifest": dict(manifest),
                "kept_for": kept_for,
                "note": note[:200],
            },
        )
        changed("copy", instance_id)


def forget_snapshot(snapshot_id: str) -> None:
    """Its files are about to go."""
    with transaction.atomic():
        row = Snapshot.objects.filter(id=snapshot_id).first()
        if row is not None:
            row.delete()
            changed("copy", row.instance_id)


def stray_rehearsals() -> list[tuple[str, str]]:
    """Instances and ids of copies for a rehearsal whose operation is over: a crash at the wrong moment left them."""
    wanted = {derived_id(operation_id, "rehearsal") for operation_id in open_ids()}
    found = Snapshot.objects.filter(purpose="rehearsal").exclude(id__in=wanted)
    return list(found.values_list("instance_id", "id"))


def newest_snapshot(instance_id: str) -> str | None:
    """Id of the newest one, from which unchanged files may be taken."""
    return Snapshot.objects.filter(instance_id=instance_id).values_list("id", flat=True).first()


def let_snapshots_go(operation_id: str) -> None:
    """They are this operation's way back no longer: from now on the rule of retention decides."""
    Snapshot.objects.filter(kept_for=operation_id).update(kept_for="")


def snapshots_to_remove(instance_id: str, default: Retention) -> list[str]:
    """Ids of those that the rule does not keep, that are nobody's way back and that nothing reads; oldest first."""
    instance = Instance.objects.get(id=instance_id)
    used = in_use("snapshot")
    copies = [
        Copy(row.id, row.created_at, bool(row.kept_for) or row.id in used)
        for row in Snapshot.objects.filter(instance_id=instance_id)
    ]
    return [copy.id for copy in to_remove(copies, _rule(instance, default), zone=_zone(instance), now=timezone.now())]


def name_of_backup(operation_id: str) -> str:
    """The file's name, the same for the same operation: `shop-20261123-080300.zip`."""
    operation = Operation.objects.get(id=operation_id)
    instance = Instance.objects.get(id=operation.instance_id)
    stem = f"{instance.name or instance.id}-{operation.created_at:%Y%m%d-%H%M%S}"
    taken = set(Backup.objects.filter(instance=instance).values_list("name", flat=True))
    names = [f"{stem}.zip", *(f"{stem}-{number}.zip" for number in range(2, 100))]
    return next(name for name in names if name not in taken)


def names_of_backups(instance_id: str) -> set[str]:
    """The files of an instance's backups."""
    return set(Backup.objects.filter(instance_id=instance_id).values_list("name", flat=True))


def record_backup(
    instance_id: str, backup_id: str, *, name: str, purpose: str, release: str, full: bool, size: int, sha256: str
) -> None:
    """It was written, read again and found sound. Doing it twice is as doing it once."""
    with transaction.atomic():
        Backup.objects.get_or_create(
            id=backup_id,
            defaults={
                "instance_id": instance_id,
                "name": name,
                "purpose": purpose,
                "release": release,
                "full": full,
                "size": size,
                "sha256": sha256,
                "verified_at": timezone.now(),
            },
        )
        changed("copy", instance_id)


def has_backup(backup_id: str) -> bool:
    """Whether it is written down."""
    return Backup.objects.filter(id=backup_id).exists()


def mark_verified(backup_id: str) -> None:
    """It was read whole and found sound."""
    with transaction.atomic():
        row = Backup.objects.filter(id=backup_id).first()
        if row is not None:
            row.verified_at = timezone.now()
            row.save(update_fields=["verified_at"])
            changed("copy", row.instance_id)


def forget_backup(backup_id: str) -> None:
    """Its file is about to go."""
    with transaction.atomic():
        row = Backup.objects.filter(id=backup_id).first()
        if row is not None:
            row.delete()
            changed("copy", row.instance_id)


def backup_facts(backup_id: str) -> BackupFacts:
    """Raises BackupNotFound."""
    row = Backup.objects.filter(id=backup_id).first()
    if row is None:
        raise BackupNotFound("The backup is gone; `pocketfleet backups` shows those there are.")
    return BackupFacts(row.id, row.instance_id, row.name, row.release, row.full, row.sha256)


def backups_to_remove(instance_id: str, purpose: str, keep: int) -> list[BackupFacts]:
    """Those of this purpose that the rule does not keep, which is the newest `keep`, and that nothing reads; oldest
    first."""
    used = in_use("backup")
    rows = Backup.objects.filter(instance_id=instance_id, purpose=purpose)
    copies = [Copy(row.id, row.created_at, row.id in used) for row in rows]
    gone = to_remove(copies, Retention(keep, 0, 0), now=timezone.now())
    return [backup_facts(copy.id) for copy in gone]


def in_use(param: str) -> set[str]:
    """What open operations have as their `snapshot`, `backup` or `upload`."""
    found = Operation.objects.filter(state__in=OPEN_OPERATION_STATES).values_list("params", flat=True)
    return {str(params[param]) for params in found if params.get(param)}


def open_ids() -> set[str]:
    """Ids of all open operations."""
    return set(Operation.objects.filter(state__in=OPEN_OPERATION_STATES).values_list("id", flat=True))


def begin_due_backups(now: datetime) -> list[str]:
    """Open a backup for every plan whose next moment has come; answers their operations' ids.

    However many moments were missed, one is made. An instance that is busy is tried again at the next call. Only what
    is due is read.
    """
    begun = []
    for instance in due_for_backup(now).select_related("team"):
        plan = _plan(instance)
        if plan is None:
            Instance.objects.filter(id=instance.id).update(next_backup_at=now + _LOOK_AGAIN)
            continue
        try:
            check_storage(instance.team)
            with transaction.atomic():
                params: dict[str, Any] = {"purpose": "scheduled", "full": plan.full, "keep": plan.keep}
                operation = open_operation("backup", instance=instance, params=params, acting_user=None)
                Instance.objects.filter(id=instance.id).update(next_backup_at=plan.next_due(now))
                due = instance.next_backup_at.isoformat() if instance.next_backup_at else ""
                audited(None, "backup_instance", instance.id, due=due, **params)
        except OperationOpen:
            continue
        except StorageFull as error:
            _skip_backup(instance, plan, now, error)
            continue
        begun.append(operation.id)
    return begun


def due_for_backup(now: datetime) -> QuerySet[Instance]:
    """Instances whose plan's next moment has come, the longest overdue first: found by their index alone."""
    found = Instance.objects.filter(next_backup_at__lte=now, deleted_at=None, ready=True)
    # ordered by name, as they are otherwise, all of them would be read
    return found.order_by("next_backup_at")


def bring_forward_backups(now: datetime) -> int:
    """How many plans waited for a moment later than their next one; they have that one now.

    So it is where the clock was ahead and is right again: nothing would be due until it is there once more.
    """
    moved = 0
    for instance in Instance.objects.filter(next_backup_at__gt=now, deleted_at=None):
        plan = _plan(instance)
        next_due = plan.next_due(now) if plan else now + _LOOK_AGAIN
        if instance.next_backup_at is not None and instance.next_backup_at > next_due:
            same = Instance.objects.filter(id=instance.id, next_backup_at=instance.next_backup_at)
            moved += same.update(next_backup_at=next_due)
    return moved


def _skip_backup(instance: Instance, plan: BackupPlan, now: datetime, error: StorageFull) -> None:
    """Told once for each moment, not at every look."""
    with transaction.atomic():
        Instance.objects.filter(id=instance.id).update(next_backup_at=plan.next_due(now))
        tell(instance.id, "backup_failed", f"The scheduled backup was not made: {error.detail}", PROBLEM)


def set_data_release(instance_id: str, release: str, version_range: str, email: str | None = None) -> None:
    """What an instance in the making runs, once its data was looked at."""
    fields = {"release": release, "range": version_range} | ({"superuser_email": email} if email else {})
    with transaction.atomic():
        if not Instance.objects.filter(id=instance_id).update(**fields):
            raise InstanceNotFound(instance_id)
        changed("instance", instance_id)


def range_of(instance_id: str) -> str:
    """What it follows."""
    return Instance.objects.values_list("range", flat=True).get(id=instance_id)


def tell_of_failed_backup(instance_id: str, operation_id: str) -> None:
    """A backup that nobody waited for came to nothing, for the reason that its journal has."""
    error = Operation.objects.values_list("error", flat=True).get(id=operation_id)
    text = f"The scheduled backup failed: {error.get('detail', 'the journal says why')}"
    tell(instance_id, "backup_failed", text, PROBLEM, operation_id)


def snapshot_ids() -> set[str]:
    """Ids of all snapshots."""
    return set(Snapshot.objects.values_list("id", flat=True))


def instances_at_work() -> set[str]:
    """Ids of the instances that have an open operation."""
    return set(Operation.objects.filter(state__in=OPEN_OPERATION_STATES).values_list("instance_id", flat=True))


def forget_copies(instance_id: str) -> None:
    """The instance is gone for good, and its copies with it."""
    Snapshot.objects.filter(instance_id=instance_id).delete()
    Backup.objects.filter(instance_id=instance_id).delete()


def _rule(instance: Instance, default: Retention) -> Retention:
    try:
        return Retention.parse(instance.retention, default)
    except WrongSetting:
        return default


def _zone(instance: Instance) -> ZoneInfo:
    plan = _plan(instance)
    return plan.zone if plan else ZoneInfo("UTC")


def _plan(instance: Instance) -> BackupPlan | None:
    try:
        return BackupPlan.parse(instance.backup_plan)
    except WrongSetting:  # a zone that this machine no longer knows
        return None
