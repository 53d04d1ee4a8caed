"""Asking for copies: snapshots, backups, restores, clones, imports, and getting rid of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction

from pocketfleet.actions.copy_records import in_use
from pocketfleet.actions.instances import add_instance, check_settings, check_superuser, hash_password
from pocketfleet.actions.limits import check_storage
from pocketfleet.actions.operations import open_operation
from pocketfleet.actions.records import audited
from pocketfleet.actions.teams import find_team, team_for_new
from pocketfleet.actions.uploads import bytes_in
from pocketfleet.domain import ranges
from pocketfleet.domain.hostnames import check_name, is_id
from pocketfleet.domain.policies import Verdict
from pocketfleet.domain.releases import Version
from pocketfleet.errors import (
    BackupNotFound,
    Conflict,
    InstanceNotFound,
    NoReleaseMatches,
    RehearsalNotFound,
    SnapshotNotFound,
    UploadNotFound,
    WrongUsage,
)
from pocketfleet.models import Backup, Instance, Operation, Rehearsal, Release, Snapshot, User

#: What a snapshot's note may have.
LONGEST_NOTE = 200
#: What makes a copy; a restore keeps the present state as one.
_NEED_ROOM = frozenset({"snapshot", "backup", "restore"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where data comes from: exactly one of these is set, or none for an instance as it is now. Ids."""

    snapshot: str = ""
    backup: str = ""
    upload: str = ""

    @property
    def count(self) -> int:
        """How many are set."""
        return sum(bool(value) for value in asdict(self).values())


@dataclass(frozen=True, slots=True)
class Rehearsing:
    """How a restore is rehearsed. `rehearse`: None for what is usual: what is brought from elsewhere is, own copies
    are not. `only`: nothing else is done. `accept`: go on with what was found, by the newest rehearsal of the same
    thing, or by `rehearsal` (an id; naming one accepts it)."""

    rehearse: bool | None = None
    only: bool = False
    accept: bool = False
    rehearsal: str | None = None

    def params(self, *, foreign: bool) -> dict[str, Any]:
        """As the operation has it. Raises WrongUsage for what contradicts itself."""
        asked = self.only or self.accept or self.rehearsal is not None
        if self.rehearse is False and asked:
            raise WrongUsage("Without a rehearsal there is nothing to stop after, or to accept.", field="rehearse")
        return {
            "rehearse": asked or (foreign if self.rehearse is None else self.rehearse),
            "rehearse_only": self.only,
            "accept_changes": self.accept or self.rehearsal is not None,
            "accepted": "",
        }


def snapshot_instance(instance_id: str, *, note: str = "", acting_user: User | None) -> Operation:
    """Take a snapshot, without stopping it. Raises WrongUsage, OperationOpen, StorageFull."""
    note = note.strip()
    if len(note) > LONGEST_NOTE or not note.isprintable():
        raise WrongUsage(f"A note is one line of at most {LONGEST_NOTE} characters.", field="note")
    return _open("snapshot", instance_id, {"purpose": "manual", "note": note}, acting_user)


def back_up_instance(instance_id: str, *, full: bool = False, acting_user: User | None) -> Operation:
    """Make a zip that PocketBase can restore, without waking or stopping it; `full`: with hooks, migrations and
    public files. Raises OperationOpen, StorageFull."""
    return _open("backup", instance_id, {"purpose": "manual", "full": full}, acting_user)


def verify_backup(instance_id: str, reference: str, *, acting_user: User | None) -> Operation:
    """Read a backup whole. Raises BackupNotFound, OperationOpen."""
    backup = find_backup(instance_id, reference)
    return _open("verify", instance_id, {"backup": backup.id}, acting_user, exclusive=False)


def delete_backup(instance_id: str, reference: str, *, acting_user: User | None) -> Operation:
    """Remove a backup for good. Raises BackupNotFound, Conflict where an open operation reads it."""
    backup = find_backup(instance_id, reference)
    _check_unused("backup", backup.id, backup.name)
    return _open("delete_backup", instance_id, {"backup": backup.id}, acting_user, exclusive=False)


def delete_snapshot(instance_id: str, reference: str, *, acting_user: User | None) -> Operation:
    """Remove a snapshot for good. Raises SnapshotNotFound, Conflict where it is needed."""
    snapshot = find_snapshot(instance_id, reference)
    if snapshot.kept_for:
        raise Conflict(f"The snapshot {snapshot.id} is the way back of operation {snapshot.kept_for}; it is kept.")
    _check_unused("snapshot", snapshot.id, snapshot.id)
    return _open("delete_snapshot", instance_id, {"snapshot": snapshot.id}, acting_user, exclusive=False)


def restore_instance(
    instance_id: str, origin: Origin, wanted: Rehearsing | None = None, *, acting_user: User | None
) -> Operation:
    """Bring back what a snapshot, a backup or an upload holds. The present state is kept as a snapshot. Whether the
    upload is theirs to use is for the caller to know.

    Raises WrongUsage, SnapshotNotFound, BackupNotFound, UploadNotFound, RehearsalNotFound, OperationOpen, StorageFull.
    """
    if origin.count != 1:
        raise WrongUsage("Say what to restore: one of snapshot, backup and upload.", field="snapshot")
    origin, wanted = _checked(instance_id, origin), wanted or Rehearsing()
    params = {**asdict(origin), **wanted.params(foreign=bool(origin.upload))}
    if wanted.rehearsal is not None:
        params["accepted"] = _rehearsal(instance_id, wanted.rehearsal)
    return _open("restore", instance_id, params, acting_user)


def accepted_restore(operation_id: str, origin: str, from_release: str) -> str | None:
    """The rehearsal whose findings a restore accepts, now that it is known what is brought; None where there was none:
    then it is what its own finds. "" where the one that is named is about something else, so nothing is accepted.
    """
    operation = Operation.objects.get(id=operation_id)
    known = Rehearsal.objects.filter(instance_id=operation.instance_id, kind="restore", origin=origin)
    # what a broken one found nobody could accept
    same = known.filter(from_release=from_release).exclude(verdict=Verdict.BROKEN).exclude(operation_id=operation_id)
    if named := str(operation.params.get("accepted") or ""):
        return named if same.filter(id=named).exists() else ""
    found: str | None = same.order_by("-created_at").values_list("id", flat=True).first()
    return found


def clone_instance(
    instance_id: str,
    name: str,
    origin: Origin | None = None,
    *,
    keep_mail: bool = False,
    keep_s3: bool = False,
    team: str | None = None,
    acting_user: User | None,
) -> tuple[Instance, Operation]:
    """A new instance with the data of this one: as it is now, or as a snapshot or backup of it has it.

    It gets the same secrets and superusers; its mail and S3 are switched off unless they are to be kept. It has no
    backup plan, sleeps, and is of the source's team where no other is given. Raises WrongName, NameTaken, WrongUsage,
    SnapshotNotFound, BackupNotFound, TeamNotFound, StorageFull.
    """
    origin = origin or Origin()
    if origin.count > 1 or origin.upload:
        raise WrongUsage("A clone is made from now, from a snapshot or from a backup.", field="snapshot")
    with transaction.atomic():
        source = _found(instance_id)
        origin = _checked(instance_id, origin)
        whose = source.team if team is None else find_team(team)
        check_storage(whose)
        instance = add_instance(
            name,
            team=whose,
            range=source.range,
            release=source.release,
            superuser_email=source.superuser_email,
            idle_timeout=source.idle_timeout,
            dev=source.dev,
            secrets=source.secrets,
            policy=source.policy,
            # what an operator stopped does not run on under another name
            suspended=source.suspended,
        )
        params = {**asdict(origin), "source": source.id, "keep_mail": keep_mail, "keep_s3": keep_s3}
        operation = open_operation("clone", instance=instance, params=params, acting_user=acting_user)
        audited(acting_user, "clone_instance", instance.id, name=name, **params)
    return instance, operation


def import_instance(
    name: str,
    upload: str,
    *,
    version_range: str | None = None,
    email: str | None = None,
    password: str | None = None,
    settings: Mapping[str, Any] | None = None,
    team: str | None = None,
    acting_user: User | None,
) -> tuple[Instance, Operation]:
    """A new instance of somebody's PocketBase, from an uploaded zip. Without a range it follows the line that fits.

    With an address and a password it gets that superuser beside its own. Whether the upload is theirs to use is for
    the caller to know. Raises WrongName, NameTaken, WrongRange,
    NoReleaseMatches, WrongUsage, WrongSetting, UploadNotFound, StorageFull.
    """
    check_name(name)
    if (email is None) != (password is None):
        raise WrongUsage("A superuser has an address and a password: give both, or neither.", field="email")
    params: dict[str, Any] = {"upload": _upload(upload), "range": None}
    if email is not None and password is not None:
        check_superuser(email, password)
        params |= {"email": email, "password_hash": hash_password(password)}
    intents = check_settings(settings or {})
    if version_range is not None:
        params["range"] = ranges.check_range(version_range)
        _has_release(params["range"])
    with transaction.atomic():
        whose = team_for_new(team, acting_user)
        check_storage(whose, -bytes_in(whose, upload))
        wanted = params["range"] or ranges.LATEST
        instance = add_instance(name, team=whose, range=wanted, superuser_email=email or "", **intents)
        operation = open_operation("import", instance=instance, params=params, acting_user=acting_user)
        audited(acting_user, "import_instance", instance.id, name=name, range=params["range"])
    return instance, operation


def note_download(backup: Backup, *, acting_user: User | None) -> None:
    """All of an instance's data leaves."""
    with transaction.atomic():
        audited(acting_user, "download_backup", backup.instance_id, backup=backup.id, name=backup.name)


def find_snapshot(instance_id: str, reference: str) -> Snapshot:
    """The instance's snapshot with this id. Raises SnapshotNotFound."""
    found = Snapshot.objects.filter(instance_id=instance_id, id=reference).first() if is_id(reference) else None
    if found is None:
        raise SnapshotNotFound(f"There is no snapshot “{reference[:40]}”; `pocketfleet snapshots` shows them.")
    return found


def find_backup(instance_id: str, reference: str) -> Backup:
    """The instance's backup with this id or name, `.zip` left out or not. Raises BackupNotFound."""
    plain = len(reference) <= 150 and reference.isascii() and reference.isprintable()
    known = Backup.objects.filter(instance_id=instance_id)
    found = None
    if plain:
        found = known.filter(id=reference).first() or known.filter(name=reference).first()
        found = found or known.filter(name=f"{reference}.zip").first()
    if found is None:
        raise BackupNotFound(f"There is no backup “{reference[:70]}”; `pocketfleet backups` shows them.")
    return found


def _open(
    kind: str, instance_id: str, params: dict[str, Any], acting_user: User | None, *, exclusive: bool = True
) -> Operation:
    with transaction.atomic():
        instance = _found(instance_id)
        if kind in _NEED_ROOM:
            check_storage(instance.team, -bytes_in(instance.team, str(params.get("upload", ""))))
        operation = open_operation(kind, instance=instance, params=params, exclusive=exclusive, acting_user=acting_user)
        audited(acting_user, f"{kind}_instance" if exclusive else kind, instance.id, **params)
    return operation


def _found(instance_id: str) -> Instance:
    """The instance, complete. Raises InstanceNotFound, Conflict."""
    found = Instance.objects.select_for_update().filter(id=instance_id, deleted_at=None).first()
    if found is None:
        raise InstanceNotFound(instance_id)
    if not found.ready:
        raise Conflict(f"“{found.name}” is still being made; wait for it: `pocketfleet show {found.name}`.")
    return found


def _checked(instance_id: str, origin: Origin) -> Origin:
    if origin.snapshot:
        return Origin(snapshot=find_snapshot(instance_id, origin.snapshot).id)
    if origin.backup:
        return Origin(backup=find_backup(instance_id, origin.backup).id)
    return Origin(upload=_upload(origin.upload)) if origin.upload else origin


def _rehearsal(instance_id: str, reference: str) -> str:
    known = Rehearsal.objects.filter(instance_id=instance_id, kind="restore")
    if not is_id(reference) or not known.filter(id=reference).exists():
        raise RehearsalNotFound(f"There is no rehearsal “{reference[:40]}” of a restore.")
    return reference


def _upload(reference: str) -> str:
    # whether its file is there is for node to find out: it takes uploads over
    if not is_id(reference):
        raise UploadNotFound(f"There is no upload “{reference[:40]}”; upload the file first.")
    return reference


def _has_release(version_range: str) -> None:
    known = [Version(text) for text in Release.objects.values_list("id", flat=True)]
    if not any(ranges.matches(version_range, version) for version in known):
        near = [str(version) for version in ranges.nearest(version_range, known)]
        raise NoReleaseMatches(f"No release matches “{version_range}”. Near it: {', '.join(near)}.", near=near)


def _check_unused(param: str, identifier: str, name: str) -> None:
    """Raises Conflict where an open operation has it for its source."""
    if identifier in in_use(param):
        raise Conflict(f"{name} is being read by another operation; try again when that is over.")
