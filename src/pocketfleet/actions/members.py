"""Who may enter an instance as its superuser, and under which address its PocketBase knows them."""

from __future__ import annotations

import re

from pocketfleet.domain.roles import Verb, roles_that_may
from pocketfleet.models import Instance, Membership, User

#: Where addresses of people without one end: nobody can ever receive mail there (RFC 2606).
_NOWHERE = "pocketfleet.invalid"


def members_of(instance: Instance) -> list[User]:
    """Those of its team whose role lets them at its data."""
    roles = [str(role) for role in roles_that_may(Verb.DATA)]
    found = Membership.objects.filter(team_id=instance.team_id, role__in=roles, user__is_active=True)
    return [membership.user for membership in found.select_related("user")]


def entitled_to(instance: Instance) -> list[User]:
    """The same, and the operators."""
    return [*members_of(instance), *User.objects.filter(is_superuser=True, is_active=True)]


def address_of(user: User) -> str:
    """The address of this person's superuser; one that leads nowhere, and is nobody else's, where they have none, or
    have not shown that it is theirs."""
    email = user.email.lower()
    # the table is django-allauth's: who was made without it, on this machine, has no row there
    unproved = email and user.emailaddress_set.filter(email__iexact=email, verified=False).exists()
    return nowhere(user) if unproved or not email else email


def nowhere(user: User) -> str:
    """The address that stands for somebody without one."""
    name = re.sub(r"[^a-z0-9]+", "-", user.get_username().lower()).strip("-")[:60] or "user"
    return f"{name}+{user.pk}@{_NOWHERE}"
