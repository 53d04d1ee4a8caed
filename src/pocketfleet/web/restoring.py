"""From a report on a restore to the restore: what was rehearsed, whether it is still there, and bringing it in."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from pocketfleet.actions import copies
from pocketfleet.actions.copies import Origin, Rehearsing
from pocketfleet.domain.policies import Verdict
from pocketfleet.errors import ChangedMeanwhile, RestoreRefused
from pocketfleet.models import Backup, Instance, Operation, Rehearsal, Snapshot, User


def origin_of(rehearsal: Rehearsal) -> Origin:
    """What was rehearsed."""
    params = Operation.objects.filter(id=rehearsal.operation_id).values_list("params", flat=True).first() or {}
    return Origin(*(str(params.get(kind) or "") for kind in ("snapshot", "backup", "upload")))


def told(rehearsal: Rehearsal) -> dict[str, Any]:
    """The same for a page: in words, and whether it is a file from elsewhere."""
    origin = origin_of(rehearsal)
    words = "an uploaded file"
    if origin.snapshot:
        words = f"the snapshot {origin.snapshot}"
    elif origin.backup:
        name = Backup.objects.filter(id=origin.backup).values_list("name", flat=True).first()
        words = f"the backup {name}" if name else "a backup"
    return {"words": words, "upload": bool(origin.upload)}


def obstacle(rehearsal: Rehearsal, instance: Instance) -> str:
    """Why one cannot restore by this report any more, in plain words; "" where one can."""
    if rehearsal.verdict == Verdict.BROKEN:
        return "It does not work as it is, so there is nothing to restore."
    if instance.release != rehearsal.from_release:
        return f"It ran PocketBase {rehearsal.from_release} then and runs {instance.release} now. Rehearse again."
    return "" if _is_there(origin_of(rehearsal)) else "What was rehearsed is gone. Bring it again."


def check(rehearsal: Rehearsal, instance: Instance) -> None:
    """Raises RestoreRefused, ChangedMeanwhile where one cannot restore by this report any more."""
    if why := obstacle(rehearsal, instance):
        error = RestoreRefused if rehearsal.verdict == Verdict.BROKEN else ChangedMeanwhile
        raise error(why)


def restore_as_read(rehearsal: Rehearsal, instance: Instance, *, acting_user: User) -> Operation:
    """Open the restore of what this report is about; its findings are accepted, those of another one are not.

    Raises RestoreRefused, ChangedMeanwhile, OperationOpen.
    """
    check(rehearsal, instance)
    accept = rehearsal.verdict == Verdict.CHANGED
    wanted = Rehearsing(rehearse=True, accept=accept, rehearsal=rehearsal.id if accept else None)
    return copies.restore_instance(instance.id, origin_of(rehearsal), wanted, acting_user=acting_user)


def _is_there(origin: Origin) -> bool:
    if origin.snapshot:
        return Snapshot.objects.filter(id=origin.snapshot).exists()
    if origin.backup:
        return Backup.objects.filter(id=origin.backup).exists()
    return bool(origin.upload) and settings.CONFIG.upload(origin.upload).is_file()
