"""Mail about what happened: warnings and problems of the feed, where a mail server is set."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from itertools import groupby

from pocketfleet.actions import events
from pocketfleet.actions.events import Unmailed
from pocketfleet.config import Config
from pocketfleet.operations.database import Database
from pocketfleet.operations.smtp import MailServer, Outcome

_LONGEST_SUBJECT = 150


class Mailer:
    """Sends what was not sent yet, one mail per instance; what the server refuses is kept and tried again."""

    def __init__(self, config: Config, database: Database, *, now: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._database = database
        self._server = MailServer(config, now=now)

    async def send_due(self) -> int:
        """How many events were mailed. Never raises for what the mail server does."""
        if not self._server.ready:
            return 0
        waiting = await self._database.call(events.unmailed)
        sent = 0
        for _, group in groupby(sorted(waiting, key=lambda event: event.instance_id), lambda event: event.instance_id):
            told = list(group)
            outcome = await self._send(told)
            if outcome is Outcome.DOWN:
                break
            if outcome is not Outcome.POSTPONED:
                await self._database.call(events.mark_mailed, [event.id for event in told])
            sent += len(told) if outcome is Outcome.SENT else 0
        return sent

    async def _send(self, told: Sequence[Unmailed]) -> Outcome:
        recipients = self._recipients(told[0])
        if not recipients:
            return Outcome.SENT
        return await self._server.take(_message(self._config, told, recipients))

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
    message["To"] = ", ".join(recipients)
    parts = [f"{event.at:%Y-%m-%d %H:%M} UTC, {event.weight}\n{event.text}" for event in told]
    where = f"{config.instance_url(name)}\nEverything that happened: pocketfleet events {name}"
    message.set_content("\n\n".join([*parts, where]) + "\n")
    return message
