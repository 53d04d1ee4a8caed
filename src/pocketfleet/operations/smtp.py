"""The mail server: takes a mail, refuses it, or is asked again later."""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
import time
from collections.abc import Callable
from email.message import EmailMessage
from enum import StrEnum
from urllib.parse import SplitResult, unquote, urlsplit

from pocketfleet.config import Config

log = logging.getLogger(__name__)

#: Seconds that the mail server may take, and until it is asked again after it failed; the last one repeats.
_PATIENCE = 20.0
_AGAIN = (30.0, 120.0, 600.0)
#: Seconds until an address that was not taken now is tried again.
_LATER = 300.0


class Outcome(StrEnum):
    """What became of a mail."""

    SENT = "sent"
    #: this mail will never be taken
    REFUSED = "refused"
    #: this mail was not taken now; others may be
    POSTPONED = "postponed"
    #: the server does not work now: no mail is taken until it is asked again
    DOWN = "down"


class MailServer:
    """The one that is set; after a failure it has peace for a while."""

    def __init__(self, config: Config, *, now: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._now = now
        self._failures = 0
        self._not_before = 0.0
        #: by address that was not taken: until when (monotonic) it is left in peace
        self._later: dict[str, float] = {}

    @property
    def ready(self) -> bool:
        """Whether there is one, and it may be asked now."""
        return bool(self._config.smtp_url) and self._now() >= self._not_before

    async def take(self, message: EmailMessage) -> Outcome:
        """Hand a mail over, from the sender that is set. Never raises for what the mail server does."""
        now, recipients = self._now(), str(message["To"])
        self._later = {address: until for address, until in self._later.items() if until > now}
        if recipients in self._later:
            return Outcome.POSTPONED
        message["From"] = self._config.mail_from
        message["Auto-Submitted"] = "auto-generated"
        try:
            await asyncio.to_thread(_deliver, self._config, message)
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
            codes = _codes(error)
            log.warning("the mail server did not take one mail: %s", codes)
            if all(500 <= code < 600 for code in codes):
                return Outcome.REFUSED
            self._later[recipients] = now + _LATER
            return Outcome.POSTPONED
        except (OSError, smtplib.SMTPException) as error:
            wait = _AGAIN[min(self._failures, len(_AGAIN) - 1)]
            self._failures += 1
            self._not_before = self._now() + wait
            log.warning("the mail server did not take a mail: %s; trying again in %.0f s", error, wait)
            return Outcome.DOWN
        self._failures = 0
        return Outcome.SENT


def _codes(error: smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError) -> list[int]:
    if isinstance(error, smtplib.SMTPDataError):
        return [error.smtp_code]
    return [code for code, _ in error.recipients.values()]


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
