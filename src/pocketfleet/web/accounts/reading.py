"""Somebody's account as plain rows for its page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession

from pocketfleet.models import User
from pocketfleet.web.accounts.devices import device


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey as its owner knows it."""

    id: int
    name: str
    created_at: datetime
    used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Security:
    """How somebody gets in, and what still waits for them."""

    #: verified; None for whoever has none
    address: str | None
    #: asked for, but its link was not opened yet
    new_address: str | None
    has_password: bool
    app_since: datetime | None
    passkeys: list[Passkey]
    #: None for whoever has no recovery codes
    codes_left: int | None
    sessions: int


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A browser in which somebody is signed in."""

    id: int
    device: str
    address: str
    since: datetime
    here: bool


def security_of(user: User) -> Security:
    """Three queries."""
    addresses = list(EmailAddress.objects.filter(user=user).order_by("id"))
    factors: dict[str, list[Authenticator]] = {}
    for each in Authenticator.objects.filter(user=user).order_by("id"):
        factors.setdefault(str(each.type), []).append(each)
    app = next(iter(factors.get("totp", [])), None)
    codes = next(iter(factors.get("recovery_codes", [])), None)
    return Security(
        address=next((each.email for each in addresses if each.verified), None),
        new_address=next((each.email for each in addresses if not each.verified), None),
        has_password=user.has_usable_password(),
        app_since=app.created_at if app else None,
        passkeys=[_passkey(each) for each in factors.get("webauthn", [])],
        codes_left=len(codes.wrap().get_unused_codes()) if codes else None,
        sessions=UserSession.objects.filter(user=user).count(),
    )


def sessions_of(user: User, session_key: str | None) -> list[SessionRow]:
    """The browsers in which they are signed in, this one first, then the newest."""
    found = UserSession.objects.purge_and_list(user)
    rows = [
        SessionRow(each.pk, device(each.user_agent), each.ip, each.created_at, each.session_key == session_key)
        for each in found
    ]
    return sorted(rows, key=lambda row: (not row.here, -row.since.timestamp()))


def _passkey(factor: Authenticator) -> Passkey:
    return Passkey(factor.pk, factor.wrap().name, factor.created_at, factor.last_used_at)
