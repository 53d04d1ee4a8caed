"""Superusers of people in real data of every age: made, found, signed in, taken away; at rest and awake."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import httpx
import pytest

from pocketfleet.domain.hostnames import new_id
from pocketfleet.errors import SettingsEncrypted
from pocketfleet.runtime import superuser_api, superusers
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.superusers import Removal
from tests.integration.runtime.rooms import EMAIL, House, request, sign_in
from tests.pocketbases import JOURNEY_VERSIONS, NEWEST, executable

ANA = "ana@example.org"
KEY = "0123456789abcdef0123456789abcdef"


async def woken(place: House, guest: Guest) -> str:
    return await place.supervisor.ensure(guest.instance_id, cause="test")


async def asleep(place: House, guest: Guest) -> None:
    assert await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=False)


async def settings_of(address: str, token: str) -> Any:
    """What superusers alone may read."""
    return await request(address, "/api/settings", token=token)


async def refused(address: str, token: str) -> bool:
    try:
        await settings_of(address, token)
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)
    return False


def made_at_rest(guest: Guest, record_id: str, email: str = ANA) -> str:
    with superusers.at_rest(guest) as connection:
        there = superusers.make(connection, record_id, email)
        return superusers.token(guest, connection, there, life=600)


def tidy(guest: Guest) -> bool:
    return not [path for path in guest.data_folder.iterdir() if path.name.endswith(("-wal", "-shm", "-journal"))]


@pytest.mark.parametrize("release", JOURNEY_VERSIONS)
async def test_made_at_rest_signed_in_and_taken_away_at_rest(place: House, release: str) -> None:
    guest = await place.add_claimed(release=release)
    record_id = new_id()
    token = made_at_rest(guest, record_id)
    assert made_at_rest(guest, new_id()) != "", "asked again for the same address, there is still one"
    with superusers.at_rest(guest) as connection:
        there = superusers.find(connection, "", ANA.upper())
        assert there is not None
        assert there.record_id == record_id
        assert len(superusers.ids(connection)) == 2
        renamed = superusers.find(connection, record_id, "other@example.org")
        assert renamed == there, "ours is known by its id, whatever its owner has made of it"
    assert tidy(guest)

    address = await woken(place, guest)
    assert await settings_of(address, token)
    shown = await request(address, *shown_as(guest, record_id), token=token)
    assert {**there.record, **shown} == there.record, "the page is told what PocketBase itself would say"

    await asleep(place, guest)
    with superusers.at_rest(guest) as connection:
        assert superusers.remove(connection, record_id) is Removal.GONE
        assert superusers.remove(connection, record_id) is Removal.ABSENT
    address = await woken(place, guest)
    assert await refused(address, token)
    assert await settings_of(address, await sign_in(guest, address)), "the owner's own still works"


def shown_as(guest: Guest, record_id: str) -> tuple[str]:
    path = f"/api/collections/_superusers/records/{record_id}" if guest.has_superusers else f"/api/admins/{record_id}"
    return (path,)


@pytest.mark.parametrize("release", JOURNEY_VERSIONS)
async def test_made_and_taken_away_through_the_api(place: House, release: str) -> None:
    guest = await place.add_claimed(release=release)
    address = await woken(place, guest)
    record_id = new_id()
    with superusers.awake(guest) as connection:
        errand = superusers.errand_token(guest, connection) or ""
    assert await superuser_api.create(guest, errand, record_id, "user+1@pocketfleet.invalid", superusers.new_password())
    with superusers.awake(guest) as connection:
        there = superusers.find(connection, "", "user+1@pocketfleet.invalid")
        assert there is not None
        assert there.record_id == record_id
        token = superusers.token(guest, connection, there, life=600)
    assert await settings_of(address, token)
    assert await superuser_api.delete(guest, errand, record_id)
    assert await refused(address, token)


@pytest.mark.parametrize("release", JOURNEY_VERSIONS)
async def test_pocketbases_page_may_ask_whether_the_token_is_still_good(place: House, release: str) -> None:
    guest = await place.add_claimed(release=release)
    token = made_at_rest(guest, new_id())
    address = await woken(place, guest)
    path = "/api/collections/_superusers/auth-refresh" if guest.has_superusers else "/api/admins/auth-refresh"
    assert (await request(address, path, {}, token))["token"]


@pytest.mark.parametrize("release", ["0.22.27", "0.40.6"])
async def test_the_last_one_is_locked_and_not_taken_away(place: House, release: str) -> None:
    """Without any superuser, whoever comes first could claim the instance."""
    guest = await place.add_claimed(release=release)
    record_id = new_id()
    token = made_at_rest(guest, record_id)
    with superusers.at_rest(guest) as connection:
        owner = superusers.find(connection, "", EMAIL)
        assert owner is not None
        assert superusers.remove(connection, owner.record_id) is Removal.GONE
        assert superusers.remove(connection, record_id) is Removal.LOCKED
        assert superusers.ids(connection) == {record_id}
    address = await woken(place, guest)
    assert await refused(address, token)
    assert "pbinstal" not in place.log_text(guest)


@pytest.mark.parametrize("release", ["0.22.27", "0.40.6"])
async def test_one_that_stays_is_signed_out(place: House, release: str) -> None:
    guest = await place.add_claimed(release=release)
    with superusers.at_rest(guest) as connection:
        owner = superusers.find(connection, "", EMAIL)
        assert owner is not None
        token = superusers.token(guest, connection, owner, life=600)
        superusers.sign_out(connection, owner.record_id)
    address = await woken(place, guest)
    assert await refused(address, token)
    assert await sign_in(guest, address), "its password stays what it was"


async def test_encrypted_settings_of_0_22_need_their_key(place: House) -> None:
    """PocketBase 0.22 signs with a secret in its settings, which the owner may have encrypted."""
    guest = place.add(release="0.22.27", secrets={"PB_ENCRYPTION_KEY": KEY})
    place.guests[guest.instance_id] = guest
    await asyncio.to_thread(command, guest, "migrate", "up")
    await asyncio.to_thread(command, guest, "admin", "create", EMAIL, "correct horse battery")
    address = await woken(place, guest)
    # they are encrypted when they are saved
    headers = {"authorization": await sign_in(guest, address)}
    async with httpx.AsyncClient(
        verify=False, base_url=f"http://{address}", headers=headers, trust_env=False
    ) as client:
        assert (await client.patch("/api/settings", json={"meta": {"appName": "Sealed"}})).status_code == 200
    await asleep(place, guest)
    raw = sqlite3.connect(guest.data_folder / "data.db").execute("SELECT value FROM _params").fetchone()[0]
    assert not raw.startswith("{"), "the settings are encrypted"
    token = made_at_rest(guest, new_id())
    other = place.add(release="0.22.27", folder=guest.folder)
    with pytest.raises(SettingsEncrypted, match="secrets NAME set PB_ENCRYPTION_KEY"):
        made_at_rest(other, new_id(), "bob@example.org")
    wrong = place.add(release="0.22.27", folder=guest.folder, secrets={"PB_ENCRYPTION_KEY": KEY[::-1]})
    with pytest.raises(SettingsEncrypted, match="another key"):
        made_at_rest(wrong, new_id(), "bob@example.org")
    address = await woken(place, guest)
    assert await settings_of(address, token)


def command(guest: Guest, *words: str) -> None:
    flags = [f"--dir={guest.data_folder}", *guest.key_flags]
    subprocess.run([guest.executable, *words, *flags], env=guest.environment, check=True, capture_output=True)


CHILD = """
import sys, threading, os, signal
from pathlib import Path
from pocketfleet.runtime import superusers
import sqlite3
path, point, record_id = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
connection = sqlite3.connect(path, isolation_level=None)
connection.row_factory = sqlite3.Row
seen = []
def trace(statement):
    seen.append(statement)
    if statement.startswith(point):
        os.kill(os.getpid(), signal.SIGKILL)
connection.set_trace_callback(trace)
if sys.argv[4] == "make":
    superusers.make(connection, record_id, "ana@example.org")
else:
    superusers.remove(connection, record_id)
"""


@pytest.mark.parametrize("point, verb", [("INSERT", "make"), ("DELETE FROM _otps", "remove"), ("COMMIT", "remove")])
async def test_killed_in_the_middle_it_is_done_or_not_done(place: House, point: str, verb: str) -> None:
    guest = await place.add_claimed()
    record_id = new_id()
    if verb == "remove":
        made_at_rest(guest, record_id)
    done = await asyncio.to_thread(child, guest.data_folder / "data.db", point, record_id, verb)
    assert done == -signal.SIGKILL
    with superusers.at_rest(guest) as connection:
        there = superusers.ids(connection)
        assert len(there) == (1 if verb == "make" else 2), "nothing of it was done"
    token = made_at_rest(guest, record_id)
    address = await woken(place, guest)
    assert await settings_of(address, token)


def child(path: Path, point: str, record_id: str, verb: str) -> int:
    words = [sys.executable, "-c", CHILD, str(path), point, record_id, verb]
    return subprocess.run(words, env=dict(os.environ)).returncode


async def test_an_upgrade_across_the_rewrite_keeps_ours_known(place: House) -> None:
    old = await place.add_claimed(release="0.22.27")
    record_id = new_id()
    made_at_rest(old, record_id)
    await woken(place, old)
    await asleep(place, old)
    new = dataclasses.replace(old, release=NEWEST, executable=executable(NEWEST))
    place.guests[old.instance_id] = new
    address = await woken(place, new)
    with superusers.awake(new) as connection:
        there = superusers.find(connection, record_id, "nobody@example.org")
        assert there is not None
        assert there.email == ANA
        token = superusers.token(new, connection, there, life=600)
    assert await settings_of(address, token)
