"""What a team may use: instances awake at once, storage, and what each instance may use; set by operators, with the
server's settings below."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.db.models.functions import Coalesce

from pocketfleet.actions.records import audited, changed
from pocketfleet.domain.guest_limits import parse_guest_limits
from pocketfleet.errors import StorageFull, TeamNotFound, WrongUsage
from pocketfleet.models import Backup, Instance, Snapshot, Team, Upload, User

#: More than any disk has, and what every database can hold.
MOST = 2**62
MOST_AWAKE = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts for a team; 0 for no limit."""

    awake: int
    storage: int


def limits_of(team: Team) -> Limits:
    """The team's own limits, the server's where it has none."""
    awake, storage = team.awake_limit, team.storage_limit
    return Limits(
        awake=settings.CONFIG.team_awake if awake is None else awake,
        storage=settings.CONFIG.team_storage if storage is None else storage,
    )


def awake_limits() -> dict[str, int]:
    """Of every team that has one of its own: instances awake at once; 0 for no limit."""
    found = Team.objects.exclude(awake_limit=None).values_list("id", "awake_limit")
    return {team_id: limit for team_id, limit in found if limit is not None}


def guest_limits() -> dict[str, dict[str, float]]:
    """Of every team that has any of its own: what each of its instances may use, by name."""
    return dict(Team.objects.exclude(guest_limits={}).values_list("id", "guest_limits"))


def team_storage(team_id: str) -> int:
    """Bytes that a team's instances use, with snapshots, backups and uploads that wait; those of deleted ones are going
    anyway."""
    own = Instance.objects.filter(team_id=team_id, deleted_at=None)
    copies = _sizes(Snapshot, instance__team_id=team_id, instance__deleted_at=None)
    copies += _sizes(Backup, instance__team_id=team_id, instance__deleted_at=None)
    return _own(own) + copies + _sizes(Upload, team_id=team_id)


def instance_storage(instance_id: str) -> int:
    """Bytes that one instance uses, with its snapshots and backups."""
    own = _own(Instance.objects.filter(id=instance_id))
    return own + _sizes(Snapshot, instance_id=instance_id) + _sizes(Backup, instance_id=instance_id)


def check_storage(team: Team | None, more: int = 0) -> None:
    """Whether the team has room: for so many bytes more, or less where some are about to be free. What nobody can tell
    the size of beforehand needs some room, too. Raises StorageFull."""
    limit = limits_of(team).storage if team is not None else 0
    if team is None or not limit:
        return
    used = team_storage(team.id)
    if used + more > limit or (more <= 0 and used + more == limit):
        raise StorageFull(
            f"The team “{team.name}” uses {_size(used)} of {_size(limit)}, and this needs more. Delete snapshots, "
            "backups or instances of it, or ask the operator for more room.",
            used=used,
            limit=limit,
        )


def set_limits(team_id: str, *, awake: int | None, storage: int | None, acting_user: User) -> Team:
    """Limits of a team's own; None for the server's, 0 for none. Raises WrongUsage, TeamNotFound."""
    for field, value, most in (("awake_limit", awake, MOST_AWAKE), ("storage_limit", storage, MOST)):
        if value is not None and not 0 <= value <= most:
            raise WrongUsage(f"{field} is a whole number from 0 to {most}, or nothing for the server's.", field=field)
    with transaction.atomic():
        team = locked_team(team_id)
        team.awake_limit, team.storage_limit = awake, storage
        team.save(update_fields=["awake_limit", "storage_limit"])
        audited(acting_user, "set_limits", team.id, team=team.id, awake=awake, storage=storage)
        changed("team", team.id)
    return team


def set_guest_limits(team_id: str, limits: Mapping[str, Any], *, acting_user: User) -> Team:
    """What each instance of a team may use, by name, in place of all that was set; those left out or None are the
    server's, 0 is no limit. Raises WrongSetting, TeamNotFound."""
    checked = parse_guest_limits(limits)
    with transaction.atomic():
        team = locked_team(team_id)
        if team.guest_limits != checked:
            team.guest_limits = checked
            team.save(update_fields=["guest_limits"])
            audited(acting_user, "set_guest_limits", team.id, team=team.id, limits=checked)
            changed("team", team.id)
    return team


def locked_team(team_id: str) -> Team:
    """To be changed in the transaction under way. Raises TeamNotFound."""
    team = Team.objects.select_for_update().filter(id=team_id).first()
    if team is None:
        raise TeamNotFound("There is no such team.")
    return team


def _own(instances: QuerySet[Instance]) -> int:
    # one that was never measured counts as nothing until it is
    total: int = instances.order_by().aggregate(total=Coalesce(Sum("size_bytes"), 0))["total"]
    return total


def _sizes(table: type[Snapshot | Backup | Upload], **whose: object) -> int:
    total: int = table.objects.filter(**whose).aggregate(total=Coalesce(Sum("size"), 0))["total"]
    return total


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10**7 else f"{count} bytes"
