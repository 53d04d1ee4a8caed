"""A real SMTP server on this machine that keeps what it gets, and node's part that sends there."""

from __future__ import annotations

import asyncio
import re
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from pocketfleet.config import Config
from pocketfleet.operations.account_mail import AccountMailer
from pocketfleet.operations.database import Database


class Mailbox:
    """`mails`: what came, oldest first; `refused`: addresses and what the server says to them."""

    def __init__(self, port: int) -> None:
        self.mails: list[EmailMessage] = []
        self.refused: dict[str, str] = {}
        #: what the setting `smtp_url` must be
        self.url = f"smtp://127.0.0.1:{port}"
        self._controller = Controller(self, hostname="127.0.0.1", port=port)
        self._controller.start()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """aiosmtpd's hook."""
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 yes"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """aiosmtpd's hook."""
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"

    def stop(self) -> None:
        """End."""
        self._controller.stop()


def send_waiting(config: Config) -> int:
    """What node does as soon as control has written mail down."""

    async def send() -> int:
        database = Database()
        try:
            return await AccountMailer(config, database).send_waiting()
        finally:
            await database.close()

    return asyncio.run(send())


def link_in(mail: EmailMessage, site: str) -> str:
    """The first link to the dashboard."""
    found = re.search(re.escape(site) + r"/\S+", mail.get_content())
    assert found is not None, mail.get_content()
    return found[0]
