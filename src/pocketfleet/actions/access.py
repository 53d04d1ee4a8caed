"""Access that somebody lost: an intent for node, which takes away what was made for them inside instances."""

from __future__ import annotations

from pocketfleet.actions.records import changed
from pocketfleet.models import AccessLoss, Membership, User


def access_lost(user_id: int, team_id: str, instance_id: str = "") -> None:
    """Somebody may do less than before in a team, or with that one instance; to be called inside the transaction that
    makes it so. What they may still do is for the reader to find out: the row says only that it must be looked at.

    Sessions, tokens and open streams need no such word: they ask at every request, or every few seconds.
    """
    AccessLoss.objects.create(user_id=user_id, team_id=team_id, instance_id=instance_id)
    changed("access", str(user_id))


def access_lost_everywhere(user: User) -> None:
    """The same for all teams that somebody is in, and for all others where they were an operator."""
    for team_id in Membership.objects.filter(user=user).values_list("team_id", flat=True):
        access_lost(user.pk, team_id)
    # "" is no team: an operator could enter any instance
    access_lost(user.pk, "")


def lost_accesses(limit: int = 1000) -> list[tuple[int, int, str, str]]:
    """(id, user, team, instance) of what is to be looked at, oldest first; team and instance "" for all."""
    rows = AccessLoss.objects.order_by("id").values_list("id", "user_id", "team_id", "instance_id")
    return list(rows[:limit])


def forget_lost_access(ids: list[int]) -> None:
    """It was looked at, and what had to go is gone."""
    AccessLoss.objects.filter(id__in=ids).delete()
