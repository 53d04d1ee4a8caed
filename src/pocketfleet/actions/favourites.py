"""Which instances somebody wants at the top of their own list; no audit: it concerns nobody else."""

from __future__ import annotations

from pocketfleet.models import Favourite, User


def set_favourite(instance_id: str, wanted: bool, *, acting_user: User) -> None:
    """Keep it at the top of this user's list, or no longer."""
    if wanted:
        Favourite.objects.get_or_create(user=acting_user, instance_id=instance_id)
    else:
        Favourite.objects.filter(user=acting_user, instance_id=instance_id).delete()
