"""Letters of ours about accounts, besides those that allauth asks for."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from pocketfleet.actions.account_mail import write_mail

_KEPT = timedelta(days=1)


def send_invitation(email: str, link: str) -> None:
    """To somebody who is invited to make an account here."""
    site = settings.CONFIG.public_url
    body = f"You are invited to pocketfleet at {site}. Open this link within a week to make an account:\n\n{link}\n"
    write_mail(email, "You are invited", body, keep=_KEPT)
