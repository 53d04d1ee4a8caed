"""Teams, who is in them, and whose an instance is.

GET    /teams                             list; search, limit, offset
POST   /teams                             make one
GET    /teams/{id}                        show, with its people
PATCH  /teams/{id}                        rename, whom it trusts; limits, for operators
DELETE /teams/{id}                        end one that has no instance
PATCH  /teams/{id}/members/{user}         another role
DELETE /teams/{id}/members/{user}         take somebody out, or leave
GET    /teams/{id}/invitations            those that are open
POST   /teams/{id}/invitations            invite; the link is shown once
DELETE /teams/{id}/invitations/{id}       withdraw
POST   /invitations/accept                join by the secret of a link
POST   /instances/{ref}/move              give an instance to another team
GET    /teams/{id}/audit                  who did what in it
GET    /audit                             who did what on this server, for operators
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from ninja import Router
from ninja.params.functions import Query
from ninja.responses import Status

from pocketfleet.actions import teams as actions
from pocketfleet.actions.limits import set_guest_limits, set_limits
from pocketfleet.actions.traffic import set_traffic_limits, set_trusted
from pocketfleet.domain.roles import Verb
from pocketfleet.web import audit, reading, teams
from pocketfleet.web.access import instance_for, operator_for, person_for, seen_teams, team_for
from pocketfleet.web.api.schemas import InstanceOut
from pocketfleet.web.api.team_schemas import (
    AcceptIn,
    AuditOut,
    InvitationIn,
    InvitationsOut,
    InvitedOut,
    MoveIn,
    RoleIn,
    TeamChangesIn,
    TeamIn,
    TeamOut,
    TeamsOut,
)
from pocketfleet.web.callers import caller_of
from pocketfleet.web.inviting import invite_to

router = Router(tags=["teams"])


@router.get("/teams", response=TeamsOut, summary="List teams")
def list_teams(
    request: HttpRequest,
    search: str = Query("", max_length=100),
    limit: int = Query(100, ge=1, le=1000),
    offset: int = Query(0, ge=0, le=10_000_000),
) -> dict[str, Any]:
    """Those that the caller may see."""
    caller = caller_of(request)
    search = search if search.isprintable() else ""
    items, total = teams.teams(caller, seen_teams(caller), search=search, offset=offset, limit=limit)
    return {"items": items, "total": total}


@router.post("/teams", response={201: TeamOut}, summary="Make a team")
def create_team(request: HttpRequest, body: TeamIn) -> Status[dict[str, Any]]:
    """Who makes it owns it."""
    caller = person_for(request)
    team = actions.create_team(body.name, acting_user=caller.user)
    return Status(201, _team(request, team.id))


@router.get("/teams/{team_id}", response=TeamOut, summary="Show a team")
def show_team(request: HttpRequest, team_id: str) -> dict[str, Any]:
    """With its people, what it uses and what it may use."""
    return _team(request, team_for(request, team_id).id)


@router.patch("/teams/{team_id}", response=TeamOut, summary="Change a team")
def change_team(request: HttpRequest, team_id: str, body: TeamChangesIn) -> dict[str, Any]:
    """Its name and whom it trusts; and for operators its limits, null for the server's, 0 for none."""
    given = body.dict(exclude_unset=True)
    team = team_for(request, team_id, Verb.SERVE if given.keys() - {"name", "trusted"} else Verb.MANAGE)
    user = caller_of(request).user
    with transaction.atomic():
        if given.get("name") is not None:
            actions.rename_team(team.id, given["name"], acting_user=user)
        if given.get("trusted") is not None:
            set_trusted(team.id, given["trusted"], acting_user=user)
        if "traffic_limits" in given:
            set_traffic_limits(team.id, given["traffic_limits"] or {}, acting_user=user)
        if "guest_limits" in given:
            set_guest_limits(team.id, given["guest_limits"] or {}, acting_user=user)
        if given.keys() & {"awake_limit", "storage_limit"}:
            awake = given.get("awake_limit", team.awake_limit)
            storage = given.get("storage_limit", team.storage_limit)
            set_limits(team.id, awake=awake, storage=storage, acting_user=user)
    return _team(request, team.id)


@router.delete("/teams/{team_id}", response={204: None}, summary="End a team")
def delete_team(request: HttpRequest, team_id: str) -> Status[None]:
    """Only one without an instance, and never somebody's own."""
    team = team_for(request, team_id, Verb.MANAGE)
    actions.delete_team(team.id, acting_user=caller_of(request).user)
    return Status(204, None)


@router.patch("/teams/{team_id}/members/{int:user_id}", response=TeamOut, summary="Give somebody another role")
def change_role(request: HttpRequest, team_id: str, user_id: int, body: RoleIn) -> dict[str, Any]:
    """`owner`, `maintainer` or `viewer`."""
    team = team_for(request, team_id, Verb.MANAGE)
    actions.change_role(team.id, user_id, body.role, acting_user=caller_of(request).user)
    return _team(request, team.id)


@router.delete("/teams/{team_id}/members/{int:user_id}", response={204: None}, summary="Take somebody out, or leave")
def remove_member(request: HttpRequest, team_id: str, user_id: int) -> Status[None]:
    """Leaving is for everybody; taking others out for owners. A team keeps an owner."""
    leaves = caller_of(request).user.pk == user_id
    team = team_for(request, team_id, Verb.VIEW if leaves else Verb.MANAGE)
    caller = person_for(request) if leaves else caller_of(request)
    actions.remove_member(team.id, user_id, acting_user=caller.user)
    return Status(204, None)


@router.get("/teams/{team_id}/invitations", response=InvitationsOut, summary="List open invitations")
def list_invitations(request: HttpRequest, team_id: str) -> dict[str, Any]:
    """Without their links."""
    return {"items": teams.invitations(team_for(request, team_id, Verb.MANAGE).id)}


@router.post("/teams/{team_id}/invitations", response={201: InvitedOut}, summary="Invite somebody")
def create_invitation(request: HttpRequest, team_id: str, body: InvitationIn) -> Status[dict[str, Any]]:
    """The link is in this answer, and nowhere ever after; it is mailed, too, where a mail server is set."""
    team = team_for(request, team_id, Verb.MANAGE)
    invited = invite_to(team, body.email, body.role, caller_of(request))
    row = invited.invitation
    shown = {"id": row.id, "email": row.email, "role": row.role, "expires_at": row.expires_at}
    return Status(201, {**shown, "link": invited.link, "mailed": invited.mailed})


@router.delete("/teams/{team_id}/invitations/{invitation_id}", response={204: None}, summary="Withdraw an invitation")
def delete_invitation(request: HttpRequest, team_id: str, invitation_id: str) -> Status[None]:
    """Its link works no longer."""
    team = team_for(request, team_id, Verb.MANAGE)
    actions.withdraw_invitation(team.id, invitation_id, acting_user=caller_of(request).user)
    return Status(204, None)


@router.post("/invitations/accept", response=TeamOut, summary="Accept an invitation")
def accept_invitation(request: HttpRequest, body: AcceptIn) -> dict[str, Any]:
    """By the last part of its link, which is burnt by that."""
    caller = person_for(request)
    membership = actions.accept_invitation(body.secret, acting_user=caller.user)
    # asked before it was so
    caller.__dict__.pop("roles", None)
    return _team(request, membership.team_id)


@router.post("/instances/{ref}/move", response=InstanceOut, summary="Give an instance to another team")
def move_instance(request: HttpRequest, ref: str, body: MoveIn) -> dict[str, Any]:
    """It takes an owner here, and somebody who may create there. The instance runs on meanwhile."""
    instance = instance_for(request, ref, Verb.DELETE)
    team = team_for(request, body.team, Verb.CREATE)
    actions.move_instance(instance.id, team.id, acting_user=caller_of(request).user)
    return reading.instance(settings.CONFIG, instance.id)


@router.get("/teams/{team_id}/audit", response=AuditOut, summary="Who did what in a team")
def list_team_audit(
    request: HttpRequest,
    team_id: str,
    verb: str = Query("", max_length=50),
    actor: str = Query("", max_length=150),
    subject: str = Query("", max_length=100),
    before: int | None = Query(None, ge=0),
    limit: int = Query(100, ge=1, le=1000),
) -> dict[str, Any]:
    """The newest first; `before` an id goes on from there."""
    team = team_for(request, team_id, Verb.MANAGE)
    return {"items": audit.rows(team.id, audit.Filter(verb, actor, subject), before=before, limit=limit)}


@router.get("/audit", response=AuditOut, summary="Who did what on this server")
def list_audit(
    request: HttpRequest,
    verb: str = Query("", max_length=50),
    actor: str = Query("", max_length=150),
    subject: str = Query("", max_length=100),
    before: int | None = Query(None, ge=0),
    limit: int = Query(100, ge=1, le=1000),
) -> dict[str, Any]:
    """For operators; the newest first."""
    operator_for(request)
    return {"items": audit.rows(None, audit.Filter(verb, actor, subject), before=before, limit=limit)}


def _team(request: HttpRequest, team_id: str) -> dict[str, Any]:
    caller = caller_of(request)
    return {**teams.team(caller, team_id), "people": teams.members(team_id)}
