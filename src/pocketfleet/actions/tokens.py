"""Bearer tokens of the API: made, known again, taken back. Only their SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from pocketfleet.actions.records import audited, changed
from pocketfleet.domain.roles import ALL_VERBS, Verb
from pocketfleet.errors import TokenNotFound, WrongUsage
from pocketfleet.models import Instance, Team, Token, User
from pocketfleet.models.accounts import all_verbs

#: What every token begins with, so that people and secret scanners know one when they see it.
PREFIX = "pf_"
LONGEST_LIFE_DAYS = 3650
#: A token's use is written down at most this often: no write per request.
USED_EVERY = timedelta(hours=1)


def digest(secret: str) -> str:
    """What is kept of a random secret. It has 256 bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def create_token(
    name: str,
    *,
    expires_in_days: int | None = None,
    team: Team | None = None,
    instances: Sequence[Instance] = (),
    verbs: Iterable[str] | None = None,
    acting_user: User,
) -> tuple[Token, str]:
    """A new token of this user and its text, which is never seen again.

    `team`, `instances`, `verbs` (domain/roles.py) narrow it; left out, it may all that its owner may, now and later.
    Whether its owner may see team and instances is for the caller to check. Raises WrongUsage.
    """
    name = name.strip()
    if not name or len(name) > 100 or not name.isprintable():
        raise WrongUsage("A token needs a name of 1 to 100 characters, for example `laptop`.", field="name")
    if expires_in_days is not None and not 1 <= expires_in_days <= LONGEST_LIFE_DAYS:
        raise WrongUsage(f"A token lives 1 to {LONGEST_LIFE_DAYS} days.", field="expires_in_days")
    scope = _checked_verbs(verbs)
    secret = PREFIX + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = Token.objects.create(
            user=acting_user,
            name=name,
            digest=digest(secret),
            hint=secret[: len(PREFIX) + 4],
            expires_at=timezone.now() + timedelta(days=expires_in_days) if expires_in_days else None,
            team=team,
            instances=[instance.id for instance in instances],
            verbs=scope,
        )
        narrowed = {"verbs": scope, "instances": token.instances}
        audited(acting_user, "create_token", str(token.pk), team=team.id if team else "", name=name, **narrowed)
        changed("token", str(token.pk))
    return token, secret


def _checked_verbs(verbs: Iterable[str] | None) -> list[str]:
    """In the order of domain/roles.py, `view` always among them. Raises WrongUsage."""
    if verbs is None:
        return all_verbs()
    wanted = set(verbs)
    if unknown := sorted(wanted - set(ALL_VERBS)):
        known = ", ".join(ALL_VERBS)
        raise WrongUsage(f"A token cannot be given “{unknown[0][:40]}”; there are {known}.", field="verbs")
    return [str(verb) for verb in ALL_VERBS if verb in wanted or verb is Verb.VIEW]


def delete_token(token_id: int, *, acting_user: User) -> None:
    """Take back one of the user's own tokens; from now on it is refused. Raises TokenNotFound."""
    with transaction.atomic():
        # a number that no column can hold is an OverflowError of SQLite's
        token = Token.objects.filter(pk=token_id, user=acting_user).first() if token_id < 2**63 else None
        if token is None:
            raise TokenNotFound(f"You have no token {token_id}; `pocketfleet tokens` shows those there are.")
        name = token.name
        token.delete()
        audited(acting_user, "delete_token", str(token_id), team=token.team_id or "", name=name)
        changed("token", str(token_id))


def tokens_of(user: User) -> list[Token]:
    """The user's tokens, oldest first."""
    return list(Token.objects.filter(user=user).order_by("id"))


def known_token(secret: str) -> Token | None:
    """The token with this text, and its user; None where it is unknown, expired or its owner is switched off."""
    now = timezone.now()
    alive = Q(expires_at=None) | Q(expires_at__gt=now)
    token = Token.objects.select_related("user").filter(alive, digest=digest(secret), user__is_active=True).first()
    if token is not None and (token.used_at is None or token.used_at <= now - USED_EVERY):
        Token.objects.filter(pk=token.pk).update(used_at=now)
    return token
