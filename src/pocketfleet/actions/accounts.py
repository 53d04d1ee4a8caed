"""People's accounts: made, changed, deleted. What django-allauth changes is written down here, too."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from pocketfleet.actions import sign_up as invitations
from pocketfleet.actions.access import person_changed
from pocketfleet.actions.records import audited, changed
from pocketfleet.actions.sign_in import OPERATOR
from pocketfleet.actions.teams import own_team
from pocketfleet.domain.roles import Role
from pocketfleet.errors import Conflict
from pocketfleet.models import Instance, Membership, Team, User


def sign_up(user: User, *, invitation_id: int | None) -> None:
    """Save somebody new, who takes up an operator's invitation where it is one. Raises InvitationUnusable."""
    with transaction.atomic():
        if invitation_id is not None:
            invitations.take_up(invitation_id)
        user.save()
        own_team(user)
        record(user, "sign_up", acting_user=user, email=user.email)


def record(user: User, verb: str, *, acting_user: User | None, **detail: Any) -> None:
    """Say what somebody did with an account; to be called inside the transaction that does it."""
    with transaction.atomic():
        audited(acting_user, verb, str(user.pk), **detail)
        changed("account", str(user.pk))


def what_is_left(user: User) -> list[Instance]:
    """The instances that nobody would own any more without this account: they are moved to another team, given
    another owner, or deleted first, so that no data goes away with a person and none stays behind unseen."""
    return list(Instance.objects.filter(team__in=_owned_alone(user), deleted_at=None).order_by("name"))


def why_not_deleted(user: User) -> Conflict | None:
    """Why this account cannot be deleted now; None where it can.

    The operator's of the first run never is: the server's own command line acts as it.
    """
    if user.username == OPERATOR:
        return Conflict("The server's own command line acts as this account, so it cannot be deleted.")
    if left := what_is_left(user):
        names = ", ".join(instance.name or instance.id for instance in left[:5])
        return Conflict(
            f"Nobody else owns these instances: {names}. Delete them, move them to a team with another owner, or make "
            "somebody an owner of theirs first."
        )
    return None


def _owned_alone(user: User) -> list[Team]:
    """Teams that have no other owner."""
    own = Team.objects.filter(memberships__user=user, memberships__role=Role.OWNER)
    others = Membership.objects.filter(role=Role.OWNER, user__is_active=True).exclude(user=user)
    return list(own.exclude(pk__in=others.values("team_id")))


def delete_account(user: User, *, acting_user: User | None) -> None:
    """Delete an account with its tokens, sessions and second factors; what it did stays in the journals by name.

    Raises Conflict as `why_not_deleted` says.
    """
    with transaction.atomic():
        if (refusal := why_not_deleted(user)) is not None:
            raise refusal
        key = str(user.pk)
        audited(acting_user, "delete_account", key, name=user.username)
        user.is_active = False
        user.save(update_fields=["is_active"])
        person_changed(user, acting_user=acting_user)
        _delete(user)
        changed("account", key)


def _delete(user: User) -> None:
    """With the teams that nobody else owns."""
    ended = _owned_alone(user)
    user.delete()
    for team in ended:
        changed("team", team.id)
        team.delete()


def forget_unverified(older_than: timedelta = timedelta(days=7)) -> int:
    """Delete accounts whose owners never showed that their address is theirs, and so never got in; answers how many."""
    old = timezone.now() - older_than
    stale = User.objects.filter(last_login=None, is_superuser=False, date_joined__lt=old, emailaddress__verified=False)
    stale = stale.exclude(emailaddress__verified=True)
    count = 0
    for user in stale.distinct():
        with transaction.atomic():
            record(user, "forget_unverified", acting_user=None, name=user.username)
            _delete(user)
        count += 1
    return count
