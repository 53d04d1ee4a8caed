"""Mail that pages and API send: one function, so that it is Django's mail and nobody else's business."""

from __future__ import annotations

import logging
import smtplib

from django.conf import settings
from django.core.mail import EmailMessage

log = logging.getLogger("pocketfleet.web")


def send_mail(to: str, subject: str, text: str) -> bool:
    """Whether the mail server took it; False where none is set. Never raises for what the mail server does."""
    config = settings.CONFIG
    if not config.smtp_url:
        return False
    try:
        # one line: a name with a line break must not become a header
        message = EmailMessage(" ".join(subject.split())[:200], text, config.mail_from or None, [to])
        return message.send() == 1
    except (OSError, smtplib.SMTPException, ValueError) as error:
        log.warning("mail not sent: %s", error)
        return False
