"""An invitation as pages and API make it: the row, its link, and a mail where a mail server is set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings

from pocketfleet.actions.account_mail import write_mail
from pocketfleet.actions.teams import INVITATION_DAYS, invite
from pocketfleet.models import Invitation, Team
from pocketfleet.web.callers import Caller


@dataclass(frozen=True, slots=True)
class Invited:
    """An invitation, its link, which is never seen again, and whether it was mailed."""

    invitation: Invitation
    link: str
    mailed: bool


def invite_to(team: Team, email: str, role: str, caller: Caller) -> Invited:
    """Raises WrongUsage, Conflict, TeamNotFound."""
    invitation, secret = invite(team.id, email, role, acting_user=caller.user)
    link = f"{settings.CONFIG.public_url}/invitations/{secret}"
    who = caller.user.get_username()
    text = (
        f"{who} invites you into the team “{team.name}” as {invitation.role}.\n\n"
        f"Open this link to see what it is, and to accept:\n{link}\n\n"
        f"It works once, for {INVITATION_DAYS} days. If you do not know what this is about, leave it.\n"
    )
    mailed = bool(settings.CONFIG.smtp_url)
    if mailed:
        # without a mail server the link is passed on by whoever invites
        subject = f"{who} invites you into the team “{team.name}”"
        write_mail(invitation.email, subject, text, keep=timedelta(days=INVITATION_DAYS))
    return Invited(invitation, link, mailed)
