"""Mail about what happened: warnings and problems of the feed, where a mail server is set."""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from itertools import groupby
from urllib.parse import SplitResult, unquote, urlsplit

from pocketfleet.actions import events
from pocketfleet.actions.events import Unmailed
from pocketfleet.config import Config
from pocketfleet.operations.database import Database

log = logging.getLogger(__name__)

#: Seconds that the mail server may take, and until it is asked again after it refused; the last one repeats.
_PATIENCE = 20.0
_AGAIN = (30.0, 120.0, 600.0)
_LONGEST_SUBJECT = 150


class Mailer:
    """Sends what was not sent yet, one mail per instance; what the server refuses is kept and tried again."""

    def __init__(self, config: Config, database: Database, *, now: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._database = database
        self._now = now
        self._failures = 0
        self._not_before = 0.0

    async def send_due(self) -> int:
        """How many events were mailed. Never raises for what the mail server does."""
        if not self._config.smtp_url or self._now() < self._not_before:
            return 0
        waiting = await self._database.call(events.unmailed)
        sent = 0
        for _, group in groupby(sorted(waiting, key=lambda event: event.instance_id), lambda event: event.instance_id):
            told = list(group)
            if not await self._send(told):
                break
            await self._database.call(events.mark_mailed, [event.id for event in told])
            sent += len(told)
        return sent

    async def _send(self, told: Sequence[Unmailed]) -> bool:
        recipients = self._recipients(told[0])
        if not recipients:
            return True
        try:
            await asyncio.to_thread(_deliver, self._config, _message(self._config, told, recipients))
        except (OSError, smtplib.SMTPException) as error:
            wait = _AGAIN[min(self._failures, len(_AGAIN) - 1)]
            self._failures += 1
            self._not_before = self._now() + wait
            log.warning("the mail server did not take a mail: %s; trying again in %.0f s", error, wait)
            return False
        self._failures = 0
        return True

    def _recipients(self, event: Unmailed) -> tuple[str, ...]:
        """Nobody reads the address that a superuser gets where its owner gave none."""
        made_up = f"admin@{event.name}.{self._config.domain}"
        own = (event.superuser_email,) if event.superuser_email and event.superuser_email != made_up else ()
        return self._config.mail_to or own


def _message(config: Config, told: Sequence[Unmailed], recipients: Sequence[str]) -> EmailMessage:
    name = told[0].name
    message = EmailMessage()
    # what PocketBase said is among it, in lines and at length
    message["Subject"] = " ".join(f"{name}: {told[0].text}".split())[:_LONGEST_SUBJECT]
    message["From"] = config.mail_from
    message["To"] = ", ".join(recipients)
    message["Auto-Submitted"] = "auto-generated"
    parts = [f"{event.at:%Y-%m-%d %H:%M} UTC, {event.weight}\n{event.text}" for event in told]
    where = f"{config.instance_url(name)}\nEverything that happened: pocketfleet events {name}"
    message.set_content("\n\n".join([*parts, where]) + "\n")
    return message


def _deliver(config: Config, message: EmailMessage) -> None:
    url = urlsplit(config.smtp_url)
    with _connected(url) as server:
        if url.username:
            server.login(unquote(url.username), unquote(url.password or ""))
        server.send_message(message)


def _connected(url: SplitResult) -> smtplib.SMTP:
    """`smtps` is encrypted from the first byte; `smtp` is as soon as the server offers it."""
    host, context = url.hostname or "localhost", ssl.create_default_context()
    if url.scheme == "smtps":
        return smtplib.SMTP_SSL(host, url.port or 465, timeout=_PATIENCE, context=context)
    server = smtplib.SMTP(host, url.port or 25, timeout=_PATIENCE)
    server.ehlo()
    if server.has_extn("starttls"):
        server.starttls(context=context)
    return server
