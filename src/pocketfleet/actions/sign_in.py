"""How people get in: the operator of the first run, and links that sign somebody in once."""

from __future__ import annotations

import secrets
from datetime import timedelta

from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone

from pocketfleet.actions.once import burn
from pocketfleet.actions.records import audited
from pocketfleet.actions.teams import own_team
from pocketfleet.actions.tokens import digest
from pocketfleet.errors import LinkUnusable
from pocketfleet.models import SignInLink, User

OPERATOR = "operator"
LINK_SECONDS = 3600
#: Used and expired links are kept this long, so that they can still say what became of them.
_REMEMBERED = timedelta(days=30)


def make_operator() -> tuple[User, bool]:
    """The operator, and whether this call made them: a superuser whose password nobody knows."""
    with transaction.atomic():
        user = User.objects.filter(username=OPERATOR).first()
        if user is not None:
            return user, False
        user = User(username=OPERATOR, is_superuser=True, is_staff=True)
        user.set_unusable_password()
        user.save()
        own_team(user)
        audited(None, "make_operator", str(user.pk))
    return user, True


def find_operator() -> User | None:
    """The operator, where the first run has made them."""
    return User.objects.filter(username=OPERATOR, is_superuser=True, is_active=True).first()


def make_link(user: User, *, seconds: int = LINK_SECONDS, second_factor: bool = False, acting_user: User | None) -> str:
    """The secret part of a new link that signs this user in once, within so many seconds.

    `second_factor`: whoever follows it must also show their second factor, where they have one.
    """
    secret = secrets.token_urlsafe(32)
    now = timezone.now()
    with transaction.atomic():
        SignInLink.objects.filter(expires_at__lt=now - _REMEMBERED).delete()
        SignInLink.objects.create(
            user=user,
            digest=digest(secret),
            expires_at=now + timedelta(seconds=seconds),
            second_factor=second_factor,
        )
        audited(acting_user, "make_sign_in_link", str(user.pk))
    return secret


def find_link(secret: str) -> SignInLink:
    """The link and whom it would sign in; looking burns nothing. Raises LinkUnusable as `use_link`."""
    link = SignInLink.objects.select_related("user").filter(digest=digest(secret)).first()
    if link is None or link.used_at is not None or link.expires_at <= timezone.now() or not link.user.is_active:
        raise _unusable(link)
    return link


def use_link(secret: str) -> SignInLink:
    """The link and whom it signs in; it is burnt by that.

    Raises LinkUnusable with `why` = unknown, used or expired.
    """
    found = SignInLink.objects.filter(digest=digest(secret))
    with transaction.atomic():
        burnt = burn(found.filter(user__is_active=True))
        link = found.select_related("user").first()
        if burnt and link is not None:
            audited(link.user, "use_sign_in_link", str(link.user.pk))
            return link
    raise _unusable(link)


def _unusable(link: SignInLink | None) -> LinkUnusable:
    if link is None:
        return LinkUnusable("This sign-in link is not known here.", why="unknown")
    if link.used_at is not None:
        return LinkUnusable("This sign-in link was used already; each works once.", why="used")
    return LinkUnusable("This sign-in link is too old.", why="expired")


def forget_old_sessions() -> int:
    """Delete sessions that have ended; answers how many."""
    return Session.objects.filter(expire_date__lt=timezone.now()).delete()[0]
