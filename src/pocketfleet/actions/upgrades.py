"""Changing releases: asking for it, holding requests meanwhile, and writing down what was found and decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from pocketfleet.actions.operations import move_operation, open_operation
from pocketfleet.actions.records import audited, changed
from pocketfleet.domain import ranges
from pocketfleet.domain.hostnames import is_id
from pocketfleet.domain.policies import Policy, Verdict
from pocketfleet.domain.probes import check_probes
from pocketfleet.domain.refusals import Refusal, Why
from pocketfleet.domain.releases import Version
from pocketfleet.domain.states import OperationState
from pocketfleet.domain.windows import Window
from pocketfleet.errors import (
    ChangedMeanwhile,
    InstanceNotFound,
    OperationNotFound,
    RehearsalNotFound,
    SnapshotNotFound,
    WrongSetting,
    WrongUsage,
)
from pocketfleet.models import Instance, Operation, Probe, Rehearsal, Release, Snapshot, User


def upgrade_instance(
    instance_id: str,
    version_range: str | None = None,
    *,
    rehearse_only: bool = False,
    accept_changes: bool = False,
    rehearsal: str | None = None,
    by_itself: bool = False,
    acting_user: User | None,
) -> Operation:
    """Rehearse, and then, if the verdict and `accept_changes` allow it, switch.

    What is accepted is what `rehearsal` found (an id; naming one accepts it), or else the newest rehearsal of this very
    change of release: whatever the new rehearsal finds besides is asked about. Where there was none, it is what the
    new one finds. `version_range`: what it follows from then on; None for the range it has.
    Raises WrongRange, NoReleaseMatches, RehearsalNotFound, WrongUsage, OperationOpen.
    """
    with transaction.atomic():
        instance = _found(instance_id)
        wanted = ranges.check_range(version_range) if version_range is not None else instance.range
        known = [Version(text) for text in Release.objects.values_list("id", flat=True)]
        release = ranges.resolve(wanted, known)
        params: dict[str, Any] = {
            "range": wanted,
            "from": instance.release,
            "release": release.text,
            "rehearse_only": rehearse_only,
            "accept_changes": accept_changes or rehearsal is not None,
            "accepted": "",
            "by_itself": by_itself,
        }
        if params["accept_changes"]:
            params["accepted"] = _accepted(instance, release.text, rehearsal)
        operation = open_operation("upgrade", instance=instance, params=params, acting_user=acting_user)
        audited(acting_user, "upgrade_instance", instance.id, **params)
    return operation


def rollback_instance(
    instance_id: str,
    snapshot_id: str | None = None,
    *,
    accept_loss: bool = False,
    export: bool = False,
    by_itself: bool = False,
    schema: str = "",
    settings: str = "",
    acting_user: User | None,
) -> Operation:
    """Go back to a snapshot with its release; None for the checkpoint of the last change of release.

    Without `accept_loss` it ends by asking where anything would be lost; `by_itself` also where the
    schema or PocketBase's settings are not these any more (fingerprints; "" for any). `export` writes what would be
    lost as a zip among the backups. Raises SnapshotNotFound, OperationOpen.
    """
    with transaction.atomic():
        instance = _found(instance_id)
        snapshot = _snapshot(instance, snapshot_id)
        params: dict[str, Any] = {
            "snapshot": snapshot.id,
            "from": instance.release,
            "release": snapshot.release,
            "accept_loss": accept_loss,
            "export": export,
            "by_itself": by_itself,
            "schema": schema,
            "settings": settings,
        }
        operation = open_operation("rollback", instance=instance, params=params, acting_user=acting_user)
        audited(acting_user, "rollback_instance", instance.id, **params)
    return operation


def leave_as_it_is(operation_id: str, *, acting_user: User | None) -> Operation:
    """The answer to an operation that asks: no. It asks no longer. Raises OperationNotFound, ChangedMeanwhile."""
    with transaction.atomic():
        operation = Operation.objects.select_for_update().filter(id=operation_id).first()
        if operation is None:
            raise OperationNotFound(f"There is no operation “{operation_id[:70]}”.")
        if operation.state != OperationState.ASKING:
            raise ChangedMeanwhile("This was decided already: it does not ask any more.")
        operation = move_operation(operation_id, OperationState.CANCELLED)
        audited(acting_user, "leave_as_it_is", operation.instance_id or operation.id, operation=operation.id)
        if operation.instance_id:
            changed("instance", operation.instance_id)
    return operation


def change_policy(
    instance_id: str, *, policy: str | None = None, window: Mapping[str, Any] | None = None, acting_user: User | None
) -> Instance:
    """How it follows its range, and when it may: see domain/policies.py and domain/windows.py. Raises WrongSetting."""
    fields: dict[str, Any] = {}
    if policy is not None:
        if policy not in set(Policy):
            raise WrongSetting(f"A policy is one of {', '.join(Policy)}.", setting="policy")
        fields["policy"] = policy
    if window is not None:
        fields["window"] = parsed.as_json() if (parsed := Window.parse(window)) else {}
    with transaction.atomic():
        instance = _found(instance_id)
        for name, value in fields.items():
            setattr(instance, name, value)
        instance.save(update_fields=list(fields))
        audited(acting_user, "change_policy", instance.id, **fields)
        changed("instance", instance.id)
    return instance


def set_hold(instance_id: str, operation_id: str) -> None:
    """Requests wait for this operation from now on; "" lets them through."""
    with transaction.atomic():
        Instance.objects.filter(id=instance_id).update(hold=operation_id)
        changed("instance", instance_id)


def set_release(instance_id: str, release: str, version_range: str | None = None) -> None:
    """It runs this release from its next start, and follows the range, where one is given."""
    with transaction.atomic():
        fields = {"release": release} | ({} if version_range is None else {"range": version_range})
        Instance.objects.filter(id=instance_id).update(**fields)
        changed("instance", instance_id)


def record_rehearsal(
    instance_id: str, operation_id: str, report: Mapping[str, Any], fingerprint: str, *, origin: str = ""
) -> Rehearsal:
    """Keep a report, once per operation and target. `origin`: what a restore brings."""
    with transaction.atomic():
        rehearsal, _ = Rehearsal.objects.update_or_create(
            instance_id=instance_id,
            operation_id=operation_id,
            to_release=report["to"],
            defaults={
                "from_release": report["from"],
                "verdict": report["verdict"],
                "reasons": [reason["text"] for reason in report["reasons"]],
                "report": dict(report),
                "fingerprint": fingerprint,
                "kind": report.get("kind", "upgrade"),
                "origin": origin,
            },
        )
        changed("instance", instance_id)
    return rehearsal


def reasons_of(rehearsal_id: str) -> list[dict[str, Any]]:
    """The findings that a rehearsal's verdict rests on, as its report has them; none where it is gone."""
    report = Rehearsal.objects.filter(id=rehearsal_id).values_list("report", flat=True).first() or {}
    return list(report.get("reasons", ()))


def refuse_release(instance_id: str, release: str, fingerprint: str, why: Why) -> None:
    """It failed or was taken back: not to be tried again by itself until hooks or schema change."""
    with transaction.atomic():
        instance = _found(instance_id)
        instance.refused = {**instance.refused, release: Refusal(fingerprint, why).as_json()}
        instance.save(update_fields=["refused"])
        changed("instance", instance_id)


def set_probes(instance_id: str, probes: Sequence[Mapping[str, Any]], *, acting_user: User | None) -> None:
    """These are its probes from now on, see domain/probes.py. Raises WrongUsage."""
    checked = check_probes(probes)
    with transaction.atomic():
        instance = _found(instance_id)
        Probe.objects.filter(instance=instance).delete()
        Probe.objects.bulk_create([Probe(instance=instance, **probe) for probe in checked])
        audited(acting_user, "set_probes", instance.id, paths=[probe["path"] for probe in checked])
        changed("instance", instance.id)


def probes_of(instance_id: str) -> list[dict[str, Any]]:
    """The owner's own requests, as plain data."""
    names = ("method", "path", "identity", "body", "expect_status", "expect_json", "safe")
    return list(Probe.objects.filter(instance_id=instance_id).values(*names))


def _found(instance_id: str) -> Instance:
    instance = Instance.objects.select_for_update().filter(id=instance_id, deleted_at=None).first()
    if instance is None:
        raise InstanceNotFound(instance_id)
    return instance


def _accepted(instance: Instance, release: str, rehearsal_id: str | None) -> str:
    """Id of the rehearsal whose findings are accepted; "" where there was none of this change of release."""
    known = Rehearsal.objects.filter(instance=instance, kind="upgrade")
    if rehearsal_id is None:
        # what a broken one found nobody could accept
        same = known.filter(from_release=instance.release, to_release=release).exclude(verdict=Verdict.BROKEN)
        return same.order_by("-created_at").values_list("id", flat=True).first() or ""
    found = known.filter(id=rehearsal_id).first() if is_id(rehearsal_id) else None
    if found is None:
        raise RehearsalNotFound(f"There is no rehearsal “{rehearsal_id[:40]}” of {instance.name}.")
    if (found.from_release, found.to_release) != (instance.release, release):
        raise WrongUsage(
            f"The rehearsal {found.id} is about going from {found.from_release} to {found.to_release}, "
            f"and not from {instance.release} to {release}.",
            field="rehearsal",
        )
    return found.id


def _snapshot(instance: Instance, snapshot_id: str | None) -> Snapshot:
    query = Snapshot.objects.filter(instance=instance)
    found = query.filter(id=snapshot_id) if snapshot_id else query.filter(purpose="checkpoint").order_by("-created_at")
    snapshot = found.first()
    if snapshot is None:
        what = f"“{snapshot_id[:40]}”" if snapshot_id else "from before a change of release"
        raise SnapshotNotFound(f"There is no snapshot {what}; `pocketfleet snapshots {instance.name}` shows them.")
    return snapshot
