"""Tokens as pages and API show and make them: their scope is checked against what their owner may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from pocketfleet.actions import tokens as actions
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import WrongUsage
from pocketfleet.models import Token, User
from pocketfleet.web.access import instance_for, team_for

Row = dict[str, Any]

#: What a token may be given, in plain words.
VERBS = (
    (Verb.VIEW, "See", "instances, logs, events, reports, and who is in the team"),
    (Verb.OPERATE, "Operate", "power, settings, secrets, copies, upgrades, restores"),
    (Verb.CREATE, "Create", "make instances, clones and imports"),
    (Verb.DATA, "Data", "take data away: download backups, open the admin page"),
    (Verb.DELETE, "Delete", "delete instances, or move them to another team"),
    (Verb.MANAGE, "Manage", "invite people, change roles, read the audit"),
    (Verb.SERVE, "Serve", "look after the server itself"),
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What narrows a token: a team's id ("" for all), instances by name or id, verbs (None for all)."""

    team: str = ""
    instances: tuple[str, ...] = ()
    verbs: list[str] | None = None


def make(
    request: HttpRequest, name: str, scope: Scope, *, expires_in_days: int | None, user: User
) -> tuple[Token, str]:
    """A new token and its text. Raises WrongUsage, TeamNotFound, InstanceNotFound."""
    team = team_for(request, scope.team) if scope.team else None
    instances = [instance_for(request, reference) for reference in dict.fromkeys(scope.instances)]
    strange = [instance.name for instance in instances if team is not None and instance.team_id != team.id]
    if strange:
        raise WrongUsage(f"“{strange[0]}” is not of the team that this token is for.", field="instances")
    return actions.create_token(
        name, expires_in_days=expires_in_days, team=team, instances=instances, verbs=scope.verbs, acting_user=user
    )


def row(token: Token) -> Row:
    """A token without its secret."""
    return {
        "id": token.pk,
        "name": token.name,
        "hint": token.hint,
        "created_at": token.created_at,
        "used_at": token.used_at,
        "expires_at": token.expires_at,
        "team": token.team_id,
        "instances": token.instances,
        "verbs": token.verbs,
    }
