"""Node's part of mail about accounts, with a real mail server: what is sent, refused, postponed, of no use any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from pocketfleet.actions.account_mail import write_mail
from pocketfleet.config import Config
from pocketfleet.models import AccountMail, Change
from pocketfleet.operations.account_mail import AccountMailer
from pocketfleet.operations.database import Database
from tests.mailbox import Mailbox
from tests.ports import free_port

DAY = timedelta(days=1)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server."""
    box = Mailbox(free_port())
    yield box
    box.stop()


@pytest.fixture
async def database(tables: None) -> AsyncIterator[Database]:
    """Node's thread."""
    made = Database()
    yield made
    await made.close()


class Clock:
    """Time that passes when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def mailer(config: Config, database: Database, url: str, clock: Clock | None = None) -> AccountMailer:
    """Set up for this mail server."""
    return AccountMailer(replace(config, smtp_url=url, mail_from="fleet@example.org"), database, now=clock or Clock())


async def write(database: Database, recipient: str, *, keep: timedelta = DAY, to_nobody: bool = False) -> None:
    """What control would write down."""
    await database.call(write_mail, recipient, "Set a\nnew password", "Here: ünï", keep=keep, to_nobody=to_nobody)


async def waiting(database: Database) -> list[str]:
    """To whom mail waits."""
    return await database.call(lambda: list(AccountMail.objects.order_by("id").values_list("recipient", flat=True)))


async def test_it_is_sent_once_and_forgotten(config: Config, database: Database, mailbox: Mailbox) -> None:
    await write(database, "ana@example.org")
    await write(database, "nobody@example.org", to_nobody=True)
    sender = mailer(config, database, mailbox.url)
    assert await sender.send_waiting() == 1
    assert await sender.send_waiting() == 0
    (mail,) = mailbox.mails
    assert (mail["To"], mail["From"]) == ("ana@example.org", "fleet@example.org")
    assert mail["Subject"] == "Set a new password"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().strip() == "Here: ünï"
    assert await waiting(database) == []
    assert await database.call(Change.objects.filter(kind="mail").count) == 2, "node is told"


async def test_one_that_nobody_takes_holds_up_no_other(config: Config, database: Database, mailbox: Mailbox) -> None:
    mailbox.refused = {"gone@example.org": "550 no such user", "full@example.org": "452 mailbox full"}
    for recipient in ("gone@example.org", "full@example.org", "a@b.c\nBcc: d@e.f", "ana@example.org"):
        await write(database, recipient)
    clock = Clock()
    sender = mailer(config, database, mailbox.url, clock)
    assert await sender.send_waiting() == 1
    assert [mail["To"] for mail in mailbox.mails] == ["ana@example.org"]
    assert await waiting(database) == ["full@example.org"]
    mailbox.refused = {}
    assert await sender.send_waiting() == 0, "it is left in peace for a while"
    clock.now += 301
    assert await sender.send_waiting() == 1
    assert await waiting(database) == []


async def test_a_server_that_is_down_is_asked_again_later(config: Config, database: Database, mailbox: Mailbox) -> None:
    await write(database, "ana@example.org")
    clock = Clock()
    down = mailer(config, database, f"smtp://127.0.0.1:{free_port()}", clock)
    assert await down.send_waiting() == 0
    assert await waiting(database) == ["ana@example.org"]
    assert await mailer(config, database, mailbox.url).send_waiting() == 1


async def test_without_a_mail_server_it_waits_until_it_is_of_no_use(config: Config, database: Database) -> None:
    await write(database, "ana@example.org")
    await write(database, "nobody@example.org", to_nobody=True)
    sender = AccountMailer(config, database)
    assert await sender.send_waiting() == 0
    assert await waiting(database) == ["ana@example.org"]
    await database.call(AccountMail.objects.update, expires_at=timezone.now())
    assert await sender.send_waiting() == 0
    assert await waiting(database) == []
