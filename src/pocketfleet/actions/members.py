"""Who belongs to an instance, and under which address its PocketBase knows them: the one place that says so."""

from __future__ import annotations

import re

from pocketfleet.actions.sign_in import find_operator
from pocketfleet.models import Instance, User

#: Where addresses of people without one end: nobody can ever receive mail there (RFC 2606).
_NOWHERE = "pocketfleet.invalid"


def members_of(instance: Instance) -> list[str]:
    """The addresses of those who may act as its superuser."""
    operator = find_operator()
    return [address_of(operator)] if operator is not None and operator.email else []


def address_of(user: User) -> str:
    """The address of this person's superuser; one that leads nowhere, and is nobody else's, where they have none."""
    if user.email:
        return user.email.lower()
    name = re.sub(r"[^a-z0-9]+", "-", user.get_username().lower()).strip("-")[:60] or "user"
    return f"{name}+{user.pk}@{_NOWHERE}"
