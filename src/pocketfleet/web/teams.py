"""Teams as pages and API show them: rows as plain dictionaries, in a fixed number of queries."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from pocketfleet.actions.limits import limits_of, team_storage
from pocketfleet.actions.teams import open_invitations
from pocketfleet.domain.states import Process
from pocketfleet.models import Instance, Membership, Team
from pocketfleet.web import guest_limits, traffic
from pocketfleet.web.callers import Caller
from pocketfleet.web.charts import size_words

Row = dict[str, Any]


def teams(caller: Caller, seen: Q, *, search: str = "", offset: int = 0, limit: int = 1000) -> tuple[list[Row], int]:
    """Those of the seen teams whose name or id holds the search text, the caller's own first; how many there are."""
    found = Team.objects.filter(seen).filter(Q(name__icontains=search) | Q(id=search)) if search else _seen(seen)
    total = found.count()
    rows = _counted(found).order_by("name", "id")[offset : offset + limit]
    return sorted((_row(row, caller) for row in rows), key=lambda row: not row["own"]), total


def team(caller: Caller, team_id: str) -> Row:
    """One team with what it uses and may use. The caller has checked that it is there."""
    found = _counted(Team.objects.filter(id=team_id)).get()
    limits = limits_of(found)
    return {
        **_row(found, caller),
        "awake": Instance.objects.filter(team=found, deleted_at=None, process=Process.AWAKE).count(),
        "awake_limit": limits.awake,
        "storage": team_storage(found.id),
        "storage_limit": limits.storage,
        "traffic_limits": found.traffic_limits,
        "guest_limits": found.guest_limits,
        "resources": guest_limits.of_team(settings.CONFIG, found),
        "limits": traffic.of_team(settings.CONFIG, found),
        "trusted": found.trusted,
    }


def members(team_id: str) -> list[Row]:
    """Who is in it, the earliest first."""
    found = Membership.objects.filter(team_id=team_id).select_related("user")
    return [
        {
            "user": row.user_id,
            "name": row.user.get_username(),
            "email": row.user.email,
            "role": row.role,
            "active": row.user.is_active,
            "since": row.created_at,
        }
        for row in found
    ]


def invitations(team_id: str) -> list[Row]:
    """Those that can still be accepted, the newest first."""
    return [
        {
            "id": row.id,
            "email": row.email,
            "role": row.role,
            "invited_by": row.invited_by.get_username() if row.invited_by else "",
            "created_at": row.created_at,
            "expires_at": row.expires_at,
        }
        for row in open_invitations(team_id).select_related("invited_by")
    ]


def _seen(seen: Q) -> QuerySet[Team]:
    return Team.objects.filter(seen)


def _counted(found: QuerySet[Team]) -> QuerySet[Any]:
    def counted(table: QuerySet[Any]) -> Coalesce:
        mine = table.filter(team=OuterRef("pk")).order_by().values(all=Value(1))
        return Coalesce(Subquery(mine.annotate(count=Count("pk")).values("count")), 0)

    return found.annotate(
        people=counted(Membership.objects.all()), fleet=counted(Instance.objects.filter(deleted_at=None))
    )


def _row(row: Any, caller: Caller) -> Row:
    return {
        "id": row.id,
        "name": row.name,
        "own": row.own_of_id == caller.user.pk,
        "somebodys_own": row.own_of_id is not None,
        "role": caller.roles.get(row.id),
        "members": row.people,
        "instances": row.fleet,
        "created_at": row.created_at,
        "awake_limit_own": row.awake_limit,
        "storage_limit_own": row.storage_limit,
        "limits_own": _own_words(row),
    }


def _own_words(row: Team) -> list[str]:
    """Its own limits as a list shows them; those of traffic are on its page."""
    words = []
    if row.awake_limit is not None:
        words.append(f"{row.awake_limit or 'any number'} awake")
    if row.storage_limit is not None:
        words.append(size_words(row.storage_limit) if row.storage_limit else "any size")
    return words + guest_limits.own_words(row.guest_limits)
