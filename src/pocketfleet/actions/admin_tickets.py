"""Tickets to an instance's own admin page: each lets one person into one instance, once, within seconds."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from pocketfleet.actions.members import address_of
from pocketfleet.actions.once import burn
from pocketfleet.actions.records import audited
from pocketfleet.actions.superusers import want_superuser
from pocketfleet.actions.tokens import digest
from pocketfleet.domain.admin_pages import TICKET_SECONDS
from pocketfleet.errors import InstanceNotFound, TicketUnusable
from pocketfleet.models import AdminTicket, Instance, User

#: Used and expired tickets are kept this long, so that they can still say what became of them.
_REMEMBERED = timedelta(days=1)
_AGAIN = "Go back to the dashboard and open the admin page from there once more."


@dataclass(frozen=True, slots=True)
class Admitted:
    """Whom a ticket lets in."""

    instance_id: str
    #: the account's id
    user: int
    #: for logs: a user's name
    actor: str


def make_ticket(instance_id: str, *, seconds: int = TICKET_SECONDS, acting_user: User) -> str:
    """The secret text of a ticket for this person. Whether they may is for the caller to know.

    Raises InstanceNotFound.
    """
    secret = secrets.token_urlsafe(32)
    now = timezone.now()
    with transaction.atomic():
        instance = Instance.objects.filter(id=instance_id, deleted_at=None).first()
        if instance is None:
            raise InstanceNotFound(instance_id[:70])
        AdminTicket.objects.filter(expires_at__lt=now - _REMEMBERED).delete()
        AdminTicket.objects.create(
            instance=instance,
            user=acting_user,
            digest=digest(secret),
            expires_at=now + timedelta(seconds=seconds),
        )
        audited(acting_user, "make_admin_ticket", instance.id)
    return secret


def burn_ticket(secret: str, instance_id: str) -> Admitted:
    """Whom the ticket lets into this instance; it is burnt by that, also where it is for another one.

    From then on a superuser of that person's is wanted there. Raises TicketUnusable with `why` = unknown, used,
    expired or elsewhere.
    """
    found = AdminTicket.objects.filter(digest=digest(secret))
    if not found.exists():
        # anybody may send anything here: no transaction that writes for what is none of ours
        raise TicketUnusable(f"This ticket is not known here. {_AGAIN}", why="unknown")
    with transaction.atomic():
        burnt = burn(found.filter(user__is_active=True))
        ticket = found.select_related("user").first()
        if burnt and ticket is not None and ticket.instance_id == instance_id:
            want_superuser(instance_id, ticket.user)
            audited(ticket.user, "open_admin", instance_id, superuser=address_of(ticket.user))
            return Admitted(instance_id, ticket.user.pk, ticket.user.get_username())
    if burnt:
        raise TicketUnusable(f"This ticket is for another instance. {_AGAIN}", why="elsewhere")
    if ticket is not None and ticket.used_at is not None:
        raise TicketUnusable(f"This ticket was used already; each works once. {_AGAIN}", why="used")
    raise TicketUnusable(f"This ticket is too old. {_AGAIN}", why="expired")
