"""Suspending an instance, with a reason that its owner sees, and lifting that again; for operators."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F

from pocketfleet.actions.records import audited, changed
from pocketfleet.errors import Conflict, InstanceNotFound, WrongUsage
from pocketfleet.models import Instance, User

LONGEST_REASON = 500


def suspend_instance(instance_id: str, reason: str, *, acting_user: User) -> Instance:
    """Take it off the air: its route goes, its PocketBase ends, visitors get an honest page, its owner the reason.

    Said again with another reason, the new one counts. Raises WrongUsage, InstanceNotFound.
    """
    reason = " ".join(reason.split())
    if not reason or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise WrongUsage(f"Give a reason of 1 to {LONGEST_REASON} characters; the owner reads it.", field="reason")
    with transaction.atomic():
        instance = _locked(instance_id)
        if instance.suspended != reason:
            _intend(instance, reason)
            audited(acting_user, "suspend_instance", instance.id, name=instance.name, reason=reason)
    return instance


def lift_suspension(instance_id: str, *, acting_user: User) -> Instance:
    """It is as its owner left it: powered on or off, and wakes when called. Raises Conflict, InstanceNotFound."""
    with transaction.atomic():
        instance = _locked(instance_id)
        if not instance.suspended:
            raise Conflict(f"“{instance.name}” is not suspended.")
        before = instance.suspended
        _intend(instance, "")
        audited(acting_user, "lift_suspension", instance.id, name=instance.name, reason=before)
    return instance


def _locked(instance_id: str) -> Instance:
    found = Instance.objects.select_for_update().filter(id=instance_id, deleted_at=None).first()
    if found is None:
        raise InstanceNotFound(instance_id)
    return found


def _intend(instance: Instance, reason: str) -> None:
    instance.suspended = reason
    instance.generation = F("generation") + 1
    instance.save(update_fields=["suspended", "generation"])
    instance.refresh_from_db()
    changed("instance", instance.id)
