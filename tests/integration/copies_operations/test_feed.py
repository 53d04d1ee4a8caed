"""The feed and its mail: told once, mailed once, tried again, and clearing away what nobody uses."""

from __future__ import annotations

import os
import shutil
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pocketfleet.actions import copies, events
from pocketfleet.actions.copies import Origin, Rehearsing
from pocketfleet.domain.hostnames import new_id
from pocketfleet.domain.ids import derived_id
from pocketfleet.models import Event, Instance
from pocketfleet.operations import staging
from pocketfleet.operations.mail import Mailer
from pocketfleet.operations.purge import purge_due
from pocketfleet.operations.schedule import Clock
from tests.integration.copies_operations.yard import Yard


class Mailbox(socketserver.ThreadingTCPServer):
    """A mail server that keeps what it gets; `refusing` makes it say no."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails: list[tuple[list[str], str]] = []
        self.refusing = False
        self.users: list[str] = []


class _Session(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self.say("220 here")
        recipients: list[str] = []
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "EHLO":
                self.say("250-here")
                self.say("250 AUTH PLAIN")
            elif verb == "AUTH":
                self.server.users.append(line)
                self.say("235 yes")
            elif verb == "MAIL" and self.server.refusing:
                self.say("451 not now")
            elif verb == "RCPT":
                recipients.append(line.partition("<")[2].partition(">")[0])
                self.say("250 yes")
            elif verb == "DATA":
                self.say("354 go on")
                lines = []
                while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    lines.append(text)
                self.server.mails.append((recipients, "\n".join(lines)))
                self.say("250 yes")
            else:
                self.say("221 bye" if verb == "QUIT" else "250 yes")

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server on a port of its own."""
    with Mailbox() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def mailer(yard: Yard, mailbox: Mailbox, clock: list[float], **settings: object) -> Mailer:
    """Set up for this mailbox."""
    url = f"smtp://me:secret@127.0.0.1:{mailbox.server_address[1]}"
    config = replace(yard.config, smtp_url=url, mail_from="fleet@example.org", **settings)  # type: ignore[arg-type]
    return Mailer(config, yard.database, now=lambda: clock[0])


async def test_what_matters_is_mailed_once(yard: Yard, mailbox: Mailbox) -> None:
    instance = await yard.create()
    tell = events.tell
    for weight, kind in (("info", "a"), ("warning", "b"), ("problem", "c"), ("problem", "c")):
        await yard.database.call(tell, instance.id, kind, f"A {kind} happened:\nline two.", weight, "operation123456")
    assert await yard.database.call(Event.objects.count) == 3
    sender = mailer(yard, mailbox, [0.0])
    assert await sender.send_due() == 2
    assert await sender.send_due() == 0
    ((recipients, text),) = mailbox.mails
    assert recipients == ["owner@example.org"]
    assert "Subject: shop: A b happened: line two." in text
    assert "From: fleet@example.org" in text
    assert "A c happened" in text
    assert "A a happened" not in text
    assert "pocketfleet events shop" in text
    assert len(mailbox.users) == 1


async def test_what_the_server_refuses_is_sent_later(yard: Yard, mailbox: Mailbox) -> None:
    instance = await yard.create()
    clock = [0.0]
    sender = mailer(yard, mailbox, clock, mail_to=("a@example.org", "b@example.org"))
    await yard.database.call(events.tell, instance.id, "b", "Something.", "problem")
    mailbox.refusing = True
    assert await sender.send_due() == 0
    mailbox.refusing = False
    assert await sender.send_due() == 0
    clock[0] = 31.0
    assert await sender.send_due() == 1
    assert [recipients for recipients, _ in mailbox.mails] == [["a@example.org", "b@example.org"]]
    gone = Mailer(replace(yard.config, smtp_url="smtp://127.0.0.1:1", mail_from="a@example.org"), yard.database)
    await yard.database.call(events.tell, instance.id, "b", "Something else.", "problem")
    assert await gone.send_due() == 0


async def test_nobody_gets_mail_at_an_address_that_was_made_up(yard: Yard, mailbox: Mailbox) -> None:
    instance = await yard.create()
    await yard.database.call(Instance.objects.update, superuser_email="admin@shop.localhost")
    await yard.database.call(events.tell, instance.id, "b", "Something.", "problem")
    assert await mailer(yard, mailbox, [0.0]).send_due() == 1
    assert mailbox.mails == []


async def test_without_a_mail_server_nothing_is_read(yard: Yard) -> None:
    instance = await yard.create()
    await yard.database.call(events.tell, instance.id, "b", "Something.", "problem")
    assert await Mailer(yard.config, yard.database).send_due() == 0
    with pytest.raises(ValueError):
        await yard.database.call(events.tell, instance.id, "b", "Something.", "heavy")


async def test_what_nobody_uses_is_cleared_away(yard: Yard) -> None:
    instance = await yard.create()
    made = (await yard.ended(await yard.ask(copies.back_up_instance, instance.id))).result["name"]
    used, unused, fresh = (yard.upload(yard.config.backups / instance.id / made) for _ in range(3))
    part = yard.config.incoming / f"{new_id()}.part"
    part.write_bytes(b"x")
    leftover = yard.config.incoming / new_id() / "new"
    leftover.mkdir(parents=True)
    precious = yard.config.incoming / new_id() / ".aside-old"
    precious.mkdir(parents=True)
    aside = yard.config.quarantine_folder / f"{instance.id}-{new_id()}"
    aside.mkdir(parents=True)
    long_ago = time.time() - 2 * staging.UPLOAD_SECONDS
    for path in (yard.config.upload(used), yard.config.upload(unused), part):
        os.utime(path, (long_ago, long_ago))
    await yard.engine.stop()
    at_once = Rehearsing(rehearse=False)
    operation = await yard.ask(copies.restore_instance, instance.id, Origin(upload=used), at_once)
    tools = replace(yard.workshop.tools, config=replace(yard.config, quarantine=0.0))
    await Clock(tools).clear_away()
    assert yard.incoming() == sorted([f"{used}.zip", f"{fresh}.zip", precious.parent.name])
    assert precious.is_dir()
    assert not aside.exists()
    await yard.engine.resume()
    await yard.ended(operation)


async def test_snapshots_that_no_row_names_are_cleared_away(yard: Yard) -> None:
    instance = await yard.create()
    kept = (await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))).result["snapshot"]
    folder = yard.config.snapshots / instance.id
    await yard.engine.stop()
    _, cloning = await yard.ask(copies.clone_instance, instance.id, "copy")
    # of operations that were killed after the row went, or before it came; and of a clone that is under way
    under_way = derived_id(cloning.id, "source")
    for name in (new_id(), ".removing-x", under_way):
        shutil.copytree(folder / kept, folder / name)
    clock = Clock(yard.workshop.tools)
    await clock.clear_away()
    assert {path.name for path in folder.iterdir()} == {kept, under_way}
    await yard.ask(copies.snapshot_instance, instance.id)
    stray = new_id()
    shutil.copytree(folder / kept, folder / stray)
    await clock.clear_away()
    # while something is done with it nobody can tell
    assert {path.name for path in folder.iterdir()} == {kept, under_way, stray}


async def test_copies_go_for_good_with_their_instance(yard: Yard) -> None:
    instance = await yard.create()
    await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))
    await yard.ended(await yard.ask(copies.back_up_instance, instance.id))
    from pocketfleet.actions.instances import delete_instance, set_power
    from pocketfleet.models import Backup, Snapshot

    await yard.ask(set_power, instance.id, "off")
    await yard.ended(await yard.ask(delete_instance, instance.id))
    assert (yard.config.snapshots / instance.id).exists()
    tools = replace(yard.workshop.tools, config=replace(yard.config, quarantine=0.0))
    assert await purge_due(tools) == [instance.id]
    assert not (yard.config.snapshots / instance.id).exists()
    assert not (yard.config.backups / instance.id).exists()
    assert not await yard.database.call(Snapshot.objects.exists)
    assert not await yard.database.call(Backup.objects.exists)
