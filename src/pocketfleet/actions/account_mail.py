"""Mail about accounts: written down by control, sent by node, read out by an operator where there is no mail server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from pocketfleet.actions.records import audited, changed
from pocketfleet.actions.sealed import keyring
from pocketfleet.models import AccountMail, User

_LONGEST_SUBJECT = 200


@dataclass(frozen=True, slots=True)
class Waiting:
    """A mail that was not sent yet."""

    id: int
    recipient: str
    subject: str
    body: str
    to_nobody: bool
    created_at: datetime
    expires_at: datetime


def write_mail(recipient: str, subject: str, body: str, *, keep: timedelta, to_nobody: bool = False) -> None:
    """Put a mail on its way. `to_nobody`: it is dropped instead of sent."""
    with transaction.atomic():
        mail = AccountMail.objects.create(
            recipient=recipient,
            subject=" ".join(subject.split())[:_LONGEST_SUBJECT],
            body=keyring().seal(body),
            to_nobody=to_nobody,
            expires_at=timezone.now() + keep,
        )
        changed("mail", str(mail.pk))


def waiting_mail(limit: int = 200) -> list[Waiting]:
    """What was not sent yet and is still of use, oldest first; nothing of what no key opens."""
    found = AccountMail.objects.filter(expires_at__gt=timezone.now()).order_by("id")[:limit]
    keys = keyring()
    return [
        Waiting(
            id=mail.id,
            recipient=mail.recipient,
            subject=mail.subject,
            body=keys.open(mail.body),
            to_nobody=mail.to_nobody,
            created_at=mail.created_at,
            expires_at=mail.expires_at,
        )
        for mail in found
        if keys.opens(mail.body)
    ]


def forget_mail(ids: Iterable[int]) -> None:
    """They were handed to the mail server, or are to nobody: nothing of them is kept."""
    AccountMail.objects.filter(id__in=list(ids)).delete()


def forget_stale_mail() -> int:
    """Delete what is of no use any more, and what is to nobody; answers how many."""
    old = AccountMail.objects.filter(expires_at__lte=timezone.now()).delete()[0]
    return old + AccountMail.objects.filter(to_nobody=True).delete()[0]


def drop_mail(mail_id: int, *, acting_user: User) -> None:
    """An operator has passed it on, or wants it gone."""
    with transaction.atomic():
        mail = AccountMail.objects.filter(pk=mail_id).first() if mail_id < 2**63 else None
        if mail is not None:
            audited(acting_user, "drop_mail", str(mail_id), recipient=mail.recipient, about=mail.subject)
            mail.delete()
            changed("mail", str(mail_id))
