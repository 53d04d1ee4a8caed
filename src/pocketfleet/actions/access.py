"""What follows inside instances when somebody's rights change: superusers that were made for them go, newcomers' come.

Sessions, tokens and open streams need no such word: they ask at every request, or every few seconds. To be called
inside the transaction that changes the rights, after the change.
"""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q

from pocketfleet.actions.superusers import members_changed
from pocketfleet.models import AdminTicket, Instance, MadeSuperuser, User


def team_changed(team_id: str, *, acting_user: User | None) -> None:
    """Somebody came into the team, went, or has another role there."""
    _look_over(Q(team_id=team_id), Q(), acting_user)


def person_changed(user: User, *, acting_user: User | None) -> None:
    """They were switched on or off, became an operator or are none any more, or have another address."""
    _look_over(Q(team__memberships__user=user), Q(user=user), acting_user)


def _look_over(theirs: Q, whose: Q, acting_user: User | None) -> None:
    """Instances that are theirs and keep members' superusers, or that hold such a superuser or a ticket to one."""
    made = MadeSuperuser.objects.filter(whose, instance=OuterRef("pk"), revoked_at=None)
    tickets = AdminTicket.objects.filter(whose, instance=OuterRef("pk"), used_at=None)
    holds = Q(Exists(made)) | Q(Exists(tickets))
    wanted = (theirs & (Q(admin_sync=True) | holds)) if not whose else (theirs & Q(admin_sync=True)) | holds
    found = Instance.objects.filter(wanted, deleted_at=None).order_by().values_list("id", flat=True)
    members_changed(set(found), acting_user=acting_user)
