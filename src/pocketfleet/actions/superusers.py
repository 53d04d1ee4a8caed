"""Which superusers pocketfleet wants in an instance's PocketBase, and what node saw of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from pocketfleet.actions.members import address_of, entitled_to, members_of
from pocketfleet.actions.records import audited, changed
from pocketfleet.domain.hostnames import new_id
from pocketfleet.models import AdminTicket, Instance, MadeSuperuser, User
from pocketfleet.models.admin import MUST_GO, PENDING


@dataclass(frozen=True, slots=True)
class Wanted:
    """One superuser as it should be; `key` is for the verbs below."""

    key: int
    #: whose it is; None where the account is gone
    user: int | None
    record_id: str
    email: str
    #: False where somebody else made it: never taken away
    ours: bool
    #: node has seen to it that it is there
    made: bool
    #: its person lost access, or is gone: it must go
    revoked: bool
    #: somebody was signed in as it
    opened: bool


def members_changed(instance_ids: Iterable[str], *, acting_user: User | None) -> None:
    """To be called in the transaction that changes who belongs to these instances, or under which address: whoever
    does not belong any more loses their superuser and every session that they have there; whoever has another address
    takes theirs along to it; with `admin_sync`, whoever is new gets one."""
    for instance in Instance.objects.filter(id__in=list(instance_ids), deleted_at=None):
        entitled = entitled_to(instance)
        AdminTicket.objects.filter(instance=instance, used_at=None).exclude(user__in=entitled).delete()
        gone = _active(instance.id).exclude(user__in=entitled).values_list("user", flat=True)
        lost = revoke_superusers(instance.id, list(gone), acting_user=acting_user)
        there = {row.user_id: row for row in _active(instance.id)}
        moved = [_take_along(there[user.pk], user) for user in entitled if user.pk in there]
        if (want_members(instance) or any(moved)) and not lost:
            _look_again(instance.id)


def revoke_superusers(instance_id: str, users: Iterable[int | None], *, acting_user: User | None) -> int:
    """These people's superusers of this instance must go, and their sessions end; how many there were."""
    with transaction.atomic():
        found = _active(instance_id).filter(user__in=[user for user in users if user is not None])
        lost = sorted(found.values_list("email", flat=True))
        found.update(revoked_at=timezone.now())
        if lost:
            audited(acting_user, "revoke_superusers", instance_id, emails=lost)
            _look_again(instance_id)
    return len(lost)


def want_members(instance: Instance) -> bool:
    """With `admin_sync`, let every member's superuser be wanted; whether one is that was not."""
    if not instance.admin_sync:
        return False
    new = [want_superuser(instance.id, user) for user in members_of(instance)]
    return any(new)


def want_superuser(instance_id: str, user: User) -> bool:
    """Let one of this person's be wanted, under their present address; whether it was not before."""
    row, new = _active(instance_id).get_or_create(
        user=user, defaults={"instance_id": instance_id, "email": address_of(user), "record_id": new_id()}
    )
    return new or _take_along(row, user)


def _take_along(row: MadeSuperuser, user: User) -> bool:
    """To the address that they have now: node gives it to theirs; one that others made stays where it is, and they get
    another. Whether there is anything to do."""
    email, same = address_of(user), MadeSuperuser.objects.filter(pk=row.pk)
    if row.email == email:
        return False
    if row.ours:
        same.update(email=email, made_at=None)
        return True
    same.update(revoked_at=timezone.now())
    return want_superuser(row.instance_id, user)


def superusers_of(instance_id: str) -> list[Wanted]:
    """Those that are wanted, and those that must go and are not known to be gone."""
    rows = MadeSuperuser.objects.filter(~MUST_GO | Q(gone_at=None), instance_id=instance_id)
    return [
        Wanted(
            key=row.pk,
            user=row.user_id,
            record_id=row.record_id,
            email=row.email,
            ours=row.ours,
            made=row.made_at is not None,
            revoked=row.revoked_at is not None or row.user_id is None,
            opened=row.opened_at is not None,
        )
        for row in rows.order_by("id")
    ]


def unsettled() -> list[str]:
    """Ids of the instances where a superuser is to be made or to be taken away."""
    found = MadeSuperuser.objects.filter(PENDING, instance__deleted_at=None, instance__ready=True).order_by()
    return list(found.values_list("instance_id", flat=True).distinct())


def record_there(key: int, record_id: str) -> None:
    """Node has seen it. Under another id than the one chosen for it, somebody else had made it."""
    row = MadeSuperuser.objects.get(pk=key)
    ours = row.ours and row.record_id == record_id
    MadeSuperuser.objects.filter(pk=key).update(made_at=timezone.now(), record_id=record_id, ours=ours)


def record_opened(key: int) -> bool:
    """Somebody is about to be signed in as it; False where it must go in the meantime."""
    return bool(MadeSuperuser.objects.exclude(MUST_GO).filter(pk=key).update(opened_at=timezone.now()))


def record_gone(key: int) -> None:
    """Node has seen to it that it is not there any more, or that nobody can sign in with it."""
    MadeSuperuser.objects.filter(pk=key).update(gone_at=timezone.now())


def record_exchanged(instance_id: str) -> None:
    """Its data is another now: what was made has to be looked at again."""
    _active(instance_id).update(made_at=None)


def record_came_back(instance_id: str) -> None:
    """PocketBase restores a backup of its own: whoever was taken away may be there again, whoever was made may not."""
    with transaction.atomic():
        record_exchanged(instance_id)
        MadeSuperuser.objects.filter(MUST_GO, instance_id=instance_id).update(gone_at=None)


def strangers(instance_id: str, record_ids: Iterable[str]) -> set[str]:
    """Which of the superusers that were found in an instance's data pocketfleet has made, here or in an instance that
    the data comes from, and are not wanted here."""
    found = MadeSuperuser.objects.filter(record_id__in=list(record_ids), ours=True)
    return set(found.values_list("record_id", flat=True)) - _kept(instance_id)


def lost_ones(instance_id: str, record_ids: Iterable[str]) -> dict[str, str]:
    """Which of the superusers that were found in an instance's data others have made, and somebody used, here or in an
    instance that the data comes from, who has no access any more: their addresses by id."""
    found = MadeSuperuser.objects.filter(MUST_GO, record_id__in=list(record_ids), ours=False)
    rows = dict(found.values_list("record_id", "email"))
    return {record_id: rows[record_id] for record_id in rows.keys() - _kept(instance_id)}


def made_here(instance_id: str, record_ids: Iterable[str]) -> set[str]:
    """Which of these superusers pocketfleet has made in this instance."""
    found = MadeSuperuser.objects.filter(instance_id=instance_id, record_id__in=list(record_ids), ours=True)
    return set(found.values_list("record_id", flat=True))


def _active(instance_id: str) -> QuerySet[MadeSuperuser]:
    return MadeSuperuser.objects.exclude(MUST_GO).filter(instance_id=instance_id)


def _kept(instance_id: str) -> set[str]:
    return set(_active(instance_id).values_list("record_id", flat=True))


def _look_again(instance_id: str) -> None:
    """What people want of the instance is another now; node carries it out as it does all intents."""
    Instance.objects.filter(id=instance_id).update(generation=F("generation") + 1)
    changed("instance", instance_id)
