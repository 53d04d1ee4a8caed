"""An operator's invitations to make an account on this server."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from pocketfleet.actions.once import burn, still_open
from pocketfleet.actions.records import audited, changed
from pocketfleet.actions.teams import check_address
from pocketfleet.actions.tokens import digest
from pocketfleet.errors import Conflict, InvitationUnusable
from pocketfleet.models import SignUpInvitation, User

INVITED_FOR = timedelta(days=7)


def invite(email: str, *, acting_user: User | None) -> str:
    """The secret part of a link with which somebody may make an account with this address; an earlier one for the
    same address works no longer. Raises WrongUsage, Conflict."""
    email = check_address(email).lower()
    if User.objects.filter(email__iexact=email).exists():
        raise Conflict(f"Somebody with the address {email} has an account already.", field="email")
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        SignUpInvitation.objects.filter(email=email, used_at=None).delete()
        made = SignUpInvitation.objects.create(
            email=email, digest=digest(secret), invited_by=acting_user, expires_at=timezone.now() + INVITED_FOR
        )
        audited(acting_user, "invite_to_sign_up", str(made.pk), email=email)
        changed("invitation", str(made.pk))
    return secret


def find_invitation(secret: str) -> SignUpInvitation:
    """The invitation with this link, if it still works. Raises InvitationUnusable."""
    found = still_open(SignUpInvitation.objects.filter(digest=digest(secret))).first()
    if found is None:
        raise InvitationUnusable("This invitation is not known, was taken up already, or is too old. Ask for another.")
    return found


def is_open(invitation_id: int) -> bool:
    """Whether it can still be taken up."""
    return still_open(SignUpInvitation.objects.filter(pk=invitation_id)).exists()


def open_invitations() -> list[SignUpInvitation]:
    """Those that can still be taken up, newest first."""
    alive = still_open(SignUpInvitation.objects.all())
    return list(alive.select_related("invited_by").order_by("-id"))


def withdraw(invitation_id: int, *, acting_user: User | None) -> None:
    """The link works no longer. Raises InvitationUnusable."""
    with transaction.atomic():
        # a number that no column can hold is an OverflowError of SQLite's
        open_ones = SignUpInvitation.objects.filter(used_at=None)
        found = open_ones.filter(pk=invitation_id).first() if invitation_id < 2**63 else None
        if found is None:
            raise InvitationUnusable("There is no such invitation, or it was taken up already.")
        email = found.email
        found.delete()
        audited(acting_user, "withdraw_sign_up_invitation", str(invitation_id), email=email)
        changed("invitation", str(invitation_id))


def take_up(invitation_id: int) -> None:
    """Somebody signs up with it; to be called inside the transaction that makes their account.

    Raises InvitationUnusable where somebody else was faster.
    """
    if not burn(SignUpInvitation.objects.filter(pk=invitation_id)):
        raise InvitationUnusable("This invitation was taken up already, or is too old. Ask for another.")
    changed("invitation", str(invitation_id))
