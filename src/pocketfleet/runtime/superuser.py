"""The first superuser, made on data at rest, before PocketBase ever serves: nobody can claim a new instance."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
import string
from pathlib import Path

from pocketfleet.domain.redaction import redact
from pocketfleet.errors import DiskTrouble, ReleaseUnusable
from pocketfleet.runtime.commands import Commander, PlainCommander
from pocketfleet.runtime.guest import Guest, make_folders
from pocketfleet.runtime.lock import Lock, lock_path, take_lock
from pocketfleet.runtime.still_files import open_at_rest, plain

_LETTERS = string.ascii_letters + string.digits

_log = logging.getLogger(__name__)


async def create_superuser(
    guest: Guest, email: str, password_hash: str, *, lock: Lock | None = None, commander: Commander | None = None
) -> None:
    """A superuser with this address and bcrypt hash, in data that may be new or not. The instance must be asleep.

    1 folders, 2 PocketBase's own command with a throwaway random password, 3 the hash in its place by SQL. Killed at
    any point and called again it ends the same. `lock`: the instance's, where the caller holds it already.
    `commander`: who runs PocketBase's commands; without one they are plain processes.
    Raises ReleaseUnusable with PocketBase's words, InstanceInUse, DiskTrouble.
    """
    _log.info("creating the superuser", extra={"instance": guest.instance_id})
    make_folders(guest.folder)
    by = commander or PlainCommander()
    if lock is not None:
        await _create(by, guest, email, password_hash, lock)
    else:
        with await take_lock(lock_path(guest.run_folder, guest.instance_id), patience=10) as own:
            await _create(by, guest, email, password_hash, own)
    _log.info("superuser created", extra={"instance": guest.instance_id})


async def _create(by: Commander, guest: Guest, email: str, password_hash: str, lock: Lock) -> None:
    table, column = ("_superusers", "password") if guest.has_superusers else ("_admins", "passwordHash")
    password = "".join(secrets.choice(_LETTERS) for _ in range(40))
    _check_plain(guest)
    if guest.has_superusers:
        await _run(by, guest, lock, "superuser", "upsert", email, password)
    else:
        await _run(by, guest, lock, "migrate", "up")
        verb = "update" if await asyncio.to_thread(_exists, guest, email) else "create"
        await _run(by, guest, lock, "admin", verb, email, password)
    await asyncio.to_thread(_set_hash, guest, table, column, email, password_hash)


def _check_plain(guest: Guest) -> None:
    """PocketBase's own command follows links: what it will open is the tenant's own. Raises DiskTrouble."""
    for name in ("data.db", "auxiliary.db", "logs.db"):
        try:
            with plain(guest.data_folder / name, guest.folder):
                pass
        except FileNotFoundError:
            continue
        except OSError as error:
            path = guest.data_folder / name
            raise DiskTrouble(
                f"{path} is a link of some kind; put the database itself there.", path=str(path)
            ) from error


def _exists(guest: Guest, email: str) -> bool:
    with open_at_rest(guest.data_folder / "data.db", guest.folder) as database:
        return database.execute("SELECT 1 FROM _admins WHERE email = ?", [email]).fetchone() is not None


def _set_hash(guest: Guest, table: str, column: str, email: str, password_hash: str) -> None:
    with open_at_rest(guest.data_folder / "data.db", guest.folder) as database:
        try:
            changed = database.execute(
                f"UPDATE {table} SET {column} = ?, tokenKey = ? WHERE email = ?",  # noqa: S608 - names of our own
                [password_hash, "".join(secrets.choice(_LETTERS) for _ in range(50)), email],
            ).rowcount
        except sqlite3.Error as error:
            raise ReleaseUnusable(f"The superuser's password could not be set: {error}.") from error
    if changed != 1:
        raise ReleaseUnusable(f"PocketBase {guest.release} said that it made the superuser, but did not.")


async def _run(by: Commander, guest: Guest, lock: Lock, *arguments: str) -> None:
    """Without hooks and user migrations: they are for the first start, and their code must not see the password."""
    nowhere, data = Path("/nonexistent"), by.seen(guest).data_folder
    flags = [f"--dir={data}", f"--hooksDir={nowhere}", f"--migrationsDir={nowhere}", *guest.key_flags]
    done = await by.run(guest, lock, [*arguments, *flags, "--automigrate=false"])
    text = redact(done.text).strip()
    # exit codes lie below 0.40: an error is said in words, with code 0
    if done.code != 0 or text.startswith("Error:") or "\nError:" in text:
        raise ReleaseUnusable(f"PocketBase {guest.release} could not make the superuser: {text[-500:]}")
