"""The first superuser, made on data at rest, before PocketBase ever serves: nobody can claim a new instance."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
import string
import subprocess
from pathlib import Path

from pocketfleet.domain.redaction import redact
from pocketfleet.errors import DiskTrouble, ReleaseUnusable
from pocketfleet.runtime.guest import Guest, make_folders
from pocketfleet.runtime.lock import Lock, lock_path, take_lock
from pocketfleet.runtime.still_files import open_at_rest, plain

#: Seconds that one of PocketBase's commands may take: system migrations of old data included.
_COMMAND_SECONDS = 120
_LETTERS = string.ascii_letters + string.digits

_log = logging.getLogger(__name__)


async def create_superuser(guest: Guest, email: str, password_hash: str, *, lock: Lock | None = None) -> None:
    """A superuser with this address and bcrypt hash, in data that may be new or not. The instance must be asleep.

    1 folders, 2 PocketBase's own command with a throwaway random password, 3 the hash in its place by SQL. Killed at
    any point and called again it ends the same. `lock`: the instance's, where the caller holds it already.
    Raises ReleaseUnusable with PocketBase's words, InstanceInUse, DiskTrouble.
    """
    _log.info("creating the superuser", extra={"instance": guest.instance_id})
    make_folders(guest.folder)
    if lock is not None:
        await asyncio.to_thread(_create, guest, email, password_hash, lock)
    else:
        with await take_lock(lock_path(guest.run_folder, guest.instance_id), patience=10) as own:
            await asyncio.to_thread(_create, guest, email, password_hash, own)
    _log.info("superuser created", extra={"instance": guest.instance_id})


def _create(guest: Guest, email: str, password_hash: str, lock: Lock) -> None:
    table, column = ("_superusers", "password") if guest.has_superusers else ("_admins", "passwordHash")
    password = "".join(secrets.choice(_LETTERS) for _ in range(40))
    _check_plain(guest)
    if guest.has_superusers:
        _run(guest, lock, "superuser", "upsert", email, password)
    else:
        _run(guest, lock, "migrate", "up")
        verb = "update" if _exists(guest, email) else "create"
        _run(guest, lock, "admin", verb, email, password)
    _set_hash(guest, table, column, email, password_hash)


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


def _run(guest: Guest, lock: Lock, *arguments: str) -> None:
    """Run a command that ends by itself. It inherits the lock: whoever comes after our death waits for its end.

    Hooks and user migrations are left out: they are for the first start, and their code must not see the password.
    """
    nowhere = Path("/nonexistent")
    flags = [f"--dir={guest.data_folder}", f"--hooksDir={nowhere}", f"--migrationsDir={nowhere}", *guest.key_flags]
    try:
        done = subprocess.run(
            [str(guest.executable), *arguments, *flags, "--automigrate=false"],
            cwd=guest.folder,
            env=guest.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_COMMAND_SECONDS,
            pass_fds=(lock.descriptor,),
            check=False,
        )
    except OSError as error:
        raise ReleaseUnusable(f"PocketBase {guest.release} cannot be run here: {error.strerror}.") from error
    except subprocess.TimeoutExpired:
        raise ReleaseUnusable(f"PocketBase {guest.release} did not end within {_COMMAND_SECONDS} s.") from None
    text = redact(done.stdout.decode(errors="replace")).strip()
    # exit codes lie below 0.40: an error is said in words, with code 0
    if done.returncode != 0 or text.startswith("Error:") or "\nError:" in text:
        raise ReleaseUnusable(f"PocketBase {guest.release} could not make the superuser: {text[-500:]}")
