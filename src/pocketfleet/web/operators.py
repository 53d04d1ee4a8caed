"""Accounts and whose things are, as operators see them: rows as plain dictionaries; lists in pages."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Q
from django.http import HttpRequest

from pocketfleet.actions.sign_in import OPERATOR
from pocketfleet.domain.roles import Role
from pocketfleet.models import Membership, User

Row = dict[str, Any]
PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Listed:
    """Which part of a list an operator looks at."""

    search: str
    only: str
    page: int

    @classmethod
    def of(cls, request: HttpRequest) -> Listed:
        """What the address says; nonsense is the first page of everything."""
        search = request.GET.get("q", "").strip()[:100]
        page = request.GET.get("page", "1")
        number = int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1
        return cls(search if search.isprintable() else "", request.GET.get("only", "")[:20], max(number, 1))

    @property
    def offset(self) -> int:
        """Of the first row."""
        return (self.page - 1) * PAGE_SIZE

    def context(self, shown: int, total: int) -> Row:
        """What the list's template needs."""
        query = {name: value for name, value in (("q", self.search), ("only", self.only)) if value}
        return {
            "search": self.search,
            "only": self.only,
            "total": total,
            "first": self.offset + 1,
            "last": self.offset + shown,
            "previous": urlencode({**query, "page": self.page - 1}) if self.page > 1 else "",
            "next": urlencode({**query, "page": self.page + 1}) if self.page * PAGE_SIZE < total else "",
        }


def accounts(listed: Listed) -> tuple[list[Row], int]:
    """Accounts whose name or address holds the text, by name, and how many there are: two queries."""
    found = User.objects.order_by("username")
    if listed.search:
        found = found.filter(Q(username__icontains=listed.search) | Q(email__icontains=listed.search))
    if listed.only == "operators":
        found = found.filter(is_superuser=True)
    if listed.only == "off":
        found = found.filter(is_active=False)
    rows = found.annotate(teams=Count("memberships"))[listed.offset : listed.offset + PAGE_SIZE]
    return [
        {
            "id": row.pk,
            "name": row.get_username(),
            "email": row.email,
            "operator": row.is_superuser,
            # whom this machine's command line acts as: neither switched off nor made anything else
            "machine": row.is_superuser and row.username == OPERATOR,
            "active": row.is_active,
            "teams": row.teams,
            "joined": row.date_joined,
            "last_sign_in": row.last_login,
        }
        for row in rows
    ], found.count()


def owners(team_ids: Collection[str]) -> dict[str, list[str]]:
    """Names of each team's owners, by the team's id: one query."""
    found = Membership.objects.filter(team_id__in=team_ids, role=Role.OWNER)
    names: dict[str, list[str]] = {}
    for team_id, name in found.values_list("team_id", "user__username"):
        names.setdefault(team_id, []).append(name)
    return names
