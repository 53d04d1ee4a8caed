"""Mail about accounts that control has written down: sent, and forgotten by that."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from email.errors import MessageError
from email.message import EmailMessage

from pocketfleet.actions import account_mail
from pocketfleet.actions.account_mail import Waiting
from pocketfleet.config import Config
from pocketfleet.operations.database import Database
from pocketfleet.operations.smtp import MailServer, Outcome

log = logging.getLogger(__name__)

#: Seconds between two looks where nothing says that there is mail.
EVERY = 30.0


class AccountMailer:
    """Sends each as soon as it is there. Without a mail server an operator reads them; of no use, they are deleted."""

    def __init__(self, config: Config, database: Database, *, now: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._server = MailServer(config, now=now)
        self._bell = asyncio.Event()

    def notice(self) -> None:
        """There may be mail."""
        self._bell.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._bell.clear()
            try:
                await self.send_waiting()
            except Exception as error:
                log.warning("mail about accounts cannot be sent, trying again: %s", error)
            try:
                async with asyncio.timeout(EVERY):
                    await self._bell.wait()
            except TimeoutError:
                continue

    async def send_waiting(self) -> int:
        """How many were sent. Never raises for what the mail server does."""
        await self._database.call(account_mail.forget_stale_mail)
        sent = 0
        waiting = await self._database.call(account_mail.waiting_mail) if self._server.ready else []
        for mail in waiting:
            outcome = await self._send(mail)
            if outcome is Outcome.DOWN:
                break
            if outcome is not Outcome.POSTPONED:
                await self._database.call(account_mail.forget_mail, [mail.id])
            sent += outcome is Outcome.SENT
        return sent

    async def _send(self, mail: Waiting) -> Outcome:
        message = EmailMessage()
        try:
            message["Subject"] = mail.subject
            message["To"] = mail.recipient
            message.set_content(mail.body)
        except (ValueError, MessageError) as error:
            log.warning("a mail to an address that is none was dropped: %s", type(error).__name__)
            return Outcome.REFUSED
        return await self._server.take(message)
