"""Teams: made, renamed, ended; people invited, let in, given roles, removed; instances moved between teams."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone

from pocketfleet.actions.access import team_changed
from pocketfleet.actions.limits import check_storage, instance_storage
from pocketfleet.actions.once import burn, still_open
from pocketfleet.actions.records import audited, changed
from pocketfleet.actions.superusers import members_changed
from pocketfleet.actions.tokens import digest
from pocketfleet.domain.hostnames import is_id
from pocketfleet.domain.roles import Role
from pocketfleet.errors import (
    Conflict,
    InstanceNotFound,
    InvitationUnusable,
    MemberNotFound,
    TeamNotFound,
    WrongUsage,
)
from pocketfleet.models import Instance, Invitation, Membership, Team, User

if TYPE_CHECKING:
    from django.db.models import QuerySet

LONGEST_NAME = 60
INVITATION_DAYS = 7
#: Open invitations that a team may have at once: each sends a mail in somebody's name.
OPEN_INVITATIONS = 50


def own_team(user: User) -> Team:
    """The user's own team, made where there is none yet."""
    team = Team.objects.filter(own_of=user).first()
    if team is not None:
        return team
    try:
        with transaction.atomic():
            team = Team.objects.create(name=user.get_username()[:LONGEST_NAME], own_of=user)
            Membership.objects.create(team=team, user=user, role=Role.OWNER)
            changed("team", team.id)
    except IntegrityError:
        # somebody else made it at the same moment
        return Team.objects.get(own_of=user)
    return team


def team_for_new(team_id: str | None, user: User | None) -> Team | None:
    """Whose a new instance is: the given team, else the maker's own, else the first operator's. Raises TeamNotFound."""
    if team_id is not None:
        return find_team(team_id)
    if user is None:
        user = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    return None if user is None else own_team(user)


def find_team(team_id: str) -> Team:
    """The team with this id. Raises TeamNotFound."""
    plain = team_id.isascii() and team_id.isprintable()
    team = Team.objects.filter(id=team_id).first() if plain else None
    if team is None:
        raise TeamNotFound(f"There is no team “{team_id[:40]}”.")
    return team


def create_team(name: str, *, acting_user: User) -> Team:
    """A new team, owned by who makes it. Raises WrongUsage."""
    name = check_team_name(name)
    with transaction.atomic():
        team = Team.objects.create(name=name)
        Membership.objects.create(team=team, user=acting_user, role=Role.OWNER)
        audited(acting_user, "create_team", team.id, team=team.id, name=name)
        changed("team", team.id)
    return team


def rename_team(team_id: str, name: str, *, acting_user: User) -> Team:
    """Another name. Raises WrongUsage, TeamNotFound."""
    name = check_team_name(name)
    with transaction.atomic():
        team = _locked(team_id)
        before, team.name = team.name, name
        team.save(update_fields=["name"])
        audited(acting_user, "rename_team", team.id, team=team.id, before=before, after=name)
        changed("team", team.id)
    return team


def delete_team(team_id: str, *, acting_user: User) -> None:
    """End a team that has no instance any more. Raises Conflict, TeamNotFound."""
    with transaction.atomic():
        team = _locked(team_id)
        if team.own_of_id is not None:
            raise Conflict("This is somebody's own team; it goes with their account.")
        if left := Instance.objects.filter(team=team, deleted_at=None).count():
            raise Conflict(f"The team still has {left} instance(s); move or delete them first.", instances=left)
        audited(acting_user, "delete_team", team.id, team=team.id, name=team.name)
        changed("team", team.id)
        team.delete()


def invite(team_id: str, email: str, role: str, *, acting_user: User) -> tuple[Invitation, str]:
    """An invitation, and the secret of its link. An open one to the same address is replaced. Raises WrongUsage,
    Conflict, TeamNotFound."""
    email, role = check_address(email), check_role(role)
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        team = _locked(team_id)
        if Membership.objects.filter(team=team, user__email__iexact=email).exists():
            raise Conflict(f"{email} is in this team already; change their role there.")
        open_ones = open_invitations(team.id)
        open_ones.filter(email__iexact=email).delete()
        if open_ones.count() >= OPEN_INVITATIONS:
            raise Conflict(f"A team has at most {OPEN_INVITATIONS} open invitations; withdraw some first.")
        invitation = Invitation.objects.create(
            team=team,
            email=email,
            role=role,
            digest=digest(secret),
            invited_by=acting_user,
            expires_at=timezone.now() + timedelta(days=INVITATION_DAYS),
        )
        audited(acting_user, "invite", invitation.id, team=team.id, email=email, role=role)
        changed("team", team.id)
    return invitation, secret


def open_invitations(team_id: str) -> QuerySet[Invitation]:
    """Those that can still be accepted, the newest first."""
    return still_open(Invitation.objects.filter(team_id=team_id), "accepted_at")


def find_invitation(secret: str) -> Invitation:
    """The open invitation of this link. Raises InvitationUnusable."""
    sent = Invitation.objects.select_related("team").filter(digest=digest(secret))
    found = still_open(sent, "accepted_at").first()
    if found is None:
        raise InvitationUnusable(
            "This invitation is not open any more: it was accepted, withdrawn or has expired. Ask for a new one."
        )
    return found


def accept_invitation(secret: str, *, acting_user: User) -> Membership:
    """Join the team. The link is for whoever was sent it: it is burnt by that. Raises InvitationUnusable."""
    with transaction.atomic():
        found = find_invitation(secret)
        if not burn(Invitation.objects.filter(pk=found.pk), "accepted_at"):
            raise InvitationUnusable("This invitation was accepted a moment ago.")
        membership, _ = Membership.objects.get_or_create(
            team=found.team, user=acting_user, defaults={"role": found.role}
        )
        team_changed(found.team_id, acting_user=acting_user)
        audited(acting_user, "join_team", found.team_id, team=found.team_id, invitation=found.id, role=membership.role)
        changed("team", found.team_id)
    return membership


def withdraw_invitation(team_id: str, invitation_id: str, *, acting_user: User) -> None:
    """Its link works no longer. Raises MemberNotFound."""
    with transaction.atomic():
        known = Invitation.objects.filter(team_id=team_id, accepted_at=None)
        found = known.filter(id=invitation_id).first() if is_id(invitation_id) else None
        if found is None:
            raise MemberNotFound("There is no such open invitation.")
        audited(acting_user, "withdraw_invitation", found.id, team=team_id, email=found.email)
        changed("team", team_id)
        found.delete()


def change_role(team_id: str, user_id: int, role: str, *, acting_user: User) -> Membership:
    """Give somebody another role. Raises WrongUsage, MemberNotFound, Conflict for the last owner."""
    role = check_role(role)
    with transaction.atomic():
        team = _locked(team_id)
        membership = _membership(team, user_id)
        if membership.role == role:
            return membership
        _check_not_last_owner(team, membership)
        before, membership.role = membership.role, role
        membership.save(update_fields=["role"])
        if role != Role.OWNER:
            _withdraw_those_of(team, user_id)
        team_changed(team.id, acting_user=acting_user)
        audited(acting_user, "change_role", str(user_id), team=team.id, before=before, after=role)
        changed("team", team.id)
    return membership


def remove_member(team_id: str, user_id: int, *, acting_user: User) -> None:
    """Take somebody out, or leave. Raises MemberNotFound, Conflict for the last owner."""
    with transaction.atomic():
        team = _locked(team_id)
        membership = _membership(team, user_id)
        _check_not_last_owner(team, membership)
        verb = "leave_team" if acting_user.pk == user_id else "remove_member"
        audited(acting_user, verb, str(user_id), team=team.id, name=membership.user.get_username())
        changed("team", team.id)
        membership.delete()
        _withdraw_those_of(team, user_id)
        team_changed(team.id, acting_user=acting_user)


def _withdraw_those_of(team: Team, user_id: int) -> None:
    """Whoever may invite no longer may have kept links that make them what they were."""
    open_invitations(team.id).filter(invited_by_id=user_id).delete()


def is_open(invitation_id: str) -> bool:
    """Whether it can still be accepted."""
    return still_open(Invitation.objects.filter(pk=invitation_id), "accepted_at").exists()


def move_instance(instance_id: str, team_id: str, *, acting_user: User) -> Instance:
    """Give an instance to another team, with all that is its own. Raises InstanceNotFound, TeamNotFound,
    StorageFull."""
    with transaction.atomic():
        instance = Instance.objects.select_for_update().filter(id=instance_id, deleted_at=None).first()
        if instance is None:
            raise InstanceNotFound(instance_id)
        team = _locked(team_id)
        before = instance.team_id
        if before == team.id:
            return instance
        check_storage(team, instance_storage(instance.id))
        # said to both: who gave it away, and who got it
        if before is not None:
            audited(acting_user, "move_instance", instance.id, team=before, name=instance.name, to=team.id)
        instance.team = team
        instance.save(update_fields=["team"])
        audited(acting_user, "receive_instance", instance.id, team=team.id, name=instance.name, before=before)
        changed("instance", instance.id)
        changed("team", *{team.id, before or team.id})
        members_changed([instance.id], acting_user=acting_user)
    return instance


def check_team_name(name: str) -> str:
    """A team's name: 1 to 60 printable characters. Raises WrongUsage."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise WrongUsage(f"A team's name has 1 to {LONGEST_NAME} characters.", field="name")
    return name


def check_address(email: str) -> str:
    """A mail address, as it is stored. Raises WrongUsage."""
    email = email.strip()
    try:
        if len(email) > 254:
            raise ValidationError("too long")
        validate_email(email)
    except ValidationError:
        raise WrongUsage(f"“{email[:70]}” is not a mail address.", field="email") from None
    return email


def check_role(role: str) -> str:
    """One of the roles. Raises WrongUsage."""
    if role not in set(Role):
        raise WrongUsage(f"A role is one of {', '.join(Role)}.", field="role")
    return role


def _membership(team: Team, user_id: int) -> Membership:
    known = Membership.objects.select_related("user").filter(team=team)
    # a number that no column can hold is an OverflowError of SQLite's
    found = known.filter(user_id=user_id).first() if user_id < 2**63 else None
    if found is None:
        raise MemberNotFound("There is no such person in this team.")
    return found


def _check_not_last_owner(team: Team, membership: Membership) -> None:
    if membership.role != Role.OWNER:
        return
    if team.own_of_id == membership.user_id:
        raise Conflict("Everybody stays an owner of their own team.")
    if Membership.objects.filter(team=team, role=Role.OWNER).count() == 1:
        raise Conflict("A team needs an owner; make somebody else one first.")


def _locked(team_id: str) -> Team:
    find_team(team_id)
    team = Team.objects.select_for_update().filter(id=team_id).first()
    if team is None:
        raise TeamNotFound(f"There is no team “{team_id[:40]}”.")
    return team
