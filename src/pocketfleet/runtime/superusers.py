"""The superusers that pocketfleet makes for people in an instance's data: found, made, taken away, and their tokens.

A connection is to its `data.db`: at rest to write (`at_rest`, under the instance's lock), or of an awake one to read.
Each change is one transaction, so that a kill leaves all of it or nothing. No password is ever kept: it is hashed and
forgotten. All of these block.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import bcrypt

from pocketfleet.domain.admin_pages import must_renew
from pocketfleet.domain.secrets import ENCRYPTION_KEY
from pocketfleet.errors import DiskTrouble, SnapshotUnusable
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.sealed_settings import unsealed
from pocketfleet.runtime.still_files import open_at_rest
from pocketfleet.runtime.tables import opened, settings_in, tables
from pocketfleet.runtime.tokens import admin_token, record_token

_NEW, _OLD = "_superusers", "_admins"
_LETTERS = string.ascii_letters + string.digits
#: Tables of PocketBase's own whose rows belong to a record of an auth collection.
_DEPENDENTS = ("_authOrigins", "_externalAuths", "_mfas", "_otps")
#: Of a random password of 238 bits, which no cost makes any harder to guess.
_COST = 4
#: Seconds that a token of ours, for one request to PocketBase's API, is good for.
_ERRAND_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Superuser:
    """One that is there; `record` is what PocketBase's API shows of it."""

    record_id: str
    email: str
    token_key: str = field(repr=False)
    record: dict[str, Any] = field(repr=False)


class Removal(Enum):
    """What became of a superuser that had to go."""

    GONE = "gone"
    #: it was the only one: without any, whoever comes first could claim the instance; nobody can sign in with it
    LOCKED = "locked"
    ABSENT = "absent"


@contextlib.contextmanager
def at_rest(guest: Guest) -> Iterator[sqlite3.Connection]:
    """Its data, to be read and written. The caller holds the lock. Raises DiskTrouble with SQLite's words."""
    try:
        with open_at_rest(guest.data_folder / "data.db", guest.folder) as connection:
            connection.row_factory = sqlite3.Row
            yield connection
    except sqlite3.Error as error:
        raise DiskTrouble(f"The superusers of this instance cannot be changed: {error}.") from error


@contextlib.contextmanager
def awake(guest: Guest) -> Iterator[sqlite3.Connection]:
    """Its data, to be read while PocketBase runs on it. Raises SnapshotUnusable with SQLite's words."""
    with opened(guest.folder, live=True) as connection:
        yield connection


def find(connection: sqlite3.Connection, record_id: str, email: str) -> Superuser | None:
    """The superuser with this id, whatever its address is by now; else the one with this address, in whatever case."""
    query = f"SELECT * FROM {_table(connection)} WHERE id = ? OR lower(email) = lower(?)"  # noqa: S608
    row = connection.execute(f"{query} ORDER BY id = ? DESC, email = ? DESC", [record_id, email] * 2).fetchone()
    return _superuser(connection, row) if row is not None else None


def ids(connection: sqlite3.Connection) -> set[str]:
    """Of all superusers."""
    return {str(row[0]) for row in connection.execute(f"SELECT id FROM {_table(connection)}")}  # noqa: S608


def make(connection: sqlite3.Connection, record_id: str, email: str) -> Superuser:
    """The superuser with this id or, made by somebody else, with this address; made where there is neither."""
    if (there := find(connection, record_id, email)) is not None:
        return there
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
    table = _table(connection)
    values: dict[str, object] = {
        "id": record_id,
        "email": email,
        "tokenKey": _random(50),
        "created": now,
        "updated": now,
    }
    values |= {"password": _nobodys_hash(), "verified": 1} if table == _NEW else {"passwordHash": _nobodys_hash()}
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))  # noqa: S608
    made = find(connection, record_id, email)
    if made is None:
        raise DiskTrouble(f"The superuser {email} was written, but is not there.")
    return made


def readdress(connection: sqlite3.Connection, record_id: str, email: str) -> None:
    """Give one of ours, if it is there, this address. Where somebody else made one with it, that one takes its place:
    ours goes."""
    there = find(connection, record_id, email)
    if there is None or there.record_id != record_id or there.email.lower() == email.lower():
        return
    table = _table(connection)
    taken = connection.execute(f"SELECT 1 FROM {table} WHERE lower(email) = lower(?)", [email]).fetchone()  # noqa: S608
    if taken is not None:
        remove(connection, record_id)
    else:
        connection.execute(f"UPDATE {table} SET email = ? WHERE id = ?", [email, record_id])  # noqa: S608


def remove(connection: sqlite3.Connection, record_id: str) -> Removal:
    """Take one of ours away, and with it every token and password that it had."""
    with _transaction(connection):
        there = ids(connection)
        if record_id not in there:
            return Removal.ABSENT
        if there == {record_id}:
            _lock(connection, record_id)
            return Removal.LOCKED
        # before 0.23 nothing belongs to an admin, and one of these tables has other columns
        for table in set(_DEPENDENTS) & set(tables(connection)) if _table(connection) == _NEW else ():
            connection.execute(f"DELETE FROM {table} WHERE recordRef = ?", [record_id])  # noqa: S608
        connection.execute(f"DELETE FROM {_table(connection)} WHERE id = ?", [record_id])  # noqa: S608
    return Removal.GONE


def sign_out(connection: sqlite3.Connection, record_id: str) -> None:
    """Make its tokens invalid; its password stays what it is."""
    query = f"UPDATE {_table(connection)} SET tokenKey = ? WHERE id = ?"  # noqa: S608
    connection.execute(query, [_random(50), record_id])


def token(guest: Guest, connection: sqlite3.Connection, superuser: Superuser, *, life: int) -> str:
    """A token of this superuser, good for so many seconds. Raises SettingsEncrypted (before 0.23), SnapshotUnusable."""
    try:
        if _table(connection) == _OLD:
            settings = unsealed(settings_in(connection), guest.secrets.get(ENCRYPTION_KEY, ""))
            return admin_token(superuser.record_id, superuser.token_key, settings, life=life)
        row = connection.execute("SELECT id, options FROM _collections WHERE name = ?", [_NEW]).fetchone()
        renewed = must_renew(guest.release)
        collection = {"id": row["id"], "options": json.loads(row["options"])}
        return record_token(superuser.record_id, collection, superuser.token_key, life=life, refreshable=renewed)
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotUnusable("The data says nothing of how superusers' tokens are signed.") from error


def errand_token(guest: Guest, connection: sqlite3.Connection, *, but: str = "") -> str | None:
    """A token of any other superuser than `but`, for a request of ours; None where there is none. Raises as `token`."""
    query = f"SELECT * FROM {_table(connection)} WHERE id <> ? ORDER BY created, id LIMIT 1"  # noqa: S608
    row = connection.execute(query, [but]).fetchone()
    if row is None:
        return None
    return token(guest, connection, _superuser(connection, row), life=_ERRAND_SECONDS)


def new_password() -> str:
    """One that is told to PocketBase and then forgotten."""
    return _random(40)


def _lock(connection: sqlite3.Connection, record_id: str) -> None:
    table = _table(connection)
    column = "password" if table == _NEW else "passwordHash"
    query = f"UPDATE {table} SET {column} = ?, tokenKey = ? WHERE id = ?"  # noqa: S608
    connection.execute(query, [_nobodys_hash(), _random(50), record_id])


def _superuser(connection: sqlite3.Connection, row: sqlite3.Row) -> Superuser:
    table = _table(connection)
    record = {name: row[name] for name in ("id", "email", "created", "updated")}
    if table == _OLD:
        record |= {"avatar": row["avatar"]}
    else:
        collection = connection.execute("SELECT id FROM _collections WHERE name = ?", [_NEW]).fetchone()
        record |= {"collectionId": collection["id"] if collection else "", "collectionName": _NEW}
        record |= {"emailVisibility": bool(row["emailVisibility"]), "verified": bool(row["verified"])}
    return Superuser(str(row["id"]), str(row["email"]), str(row["tokenKey"]), record)


def _table(connection: sqlite3.Connection) -> str:
    there = tables(connection)
    if _NEW in there:
        return _NEW
    if _OLD in there:
        return _OLD
    raise SnapshotUnusable("This data has no table of superusers, so it is not a PocketBase's that has ever run.")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _nobodys_hash() -> str:
    """Of a password that is forgotten at once."""
    return bcrypt.hashpw(new_password().encode(), bcrypt.gensalt(_COST)).decode()


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
