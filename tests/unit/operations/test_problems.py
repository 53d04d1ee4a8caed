"""What a failed step is taken for."""

from __future__ import annotations

import errno
import sqlite3

import pytest
from django.db import OperationalError

from pocketfleet.errors import DiskTrouble, SnapshotUnusable
from pocketfleet.operations.problems import is_full, problem_of


def of_sqlite(code: int) -> sqlite3.Error:
    """As sqlite3 raises it."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = code
    return error


def of_django(code: int) -> Exception:
    """As the ORM raises it."""
    try:
        raise OperationalError("disk I/O error") from of_sqlite(code)
    except OperationalError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        of_sqlite(sqlite3.SQLITE_FULL),
        of_sqlite(sqlite3.SQLITE_IOERR_SHMSIZE),
        of_django(sqlite3.SQLITE_FULL),
        of_django(sqlite3.SQLITE_IOERR_SHMSIZE),
        DiskTrouble("A copy takes 2 MB.", free=0),
    ],
)
def test_a_full_disk_is_told_as_one(error: Exception) -> None:
    """Opening a database takes room for its shared memory, and SQLite calls that an I/O error."""
    assert is_full(error)
    assert problem_of(error, "o")["code"] == "disk_trouble"


@pytest.mark.parametrize(
    "error, code",
    [
        (of_sqlite(sqlite3.SQLITE_CORRUPT), "unexpected"),
        (of_django(sqlite3.SQLITE_IOERR_READ), "unexpected"),
        (OSError(errno.EIO, "Input/output error"), "disk_trouble"),
        (SnapshotUnusable("It is damaged."), "snapshot_unusable"),
    ],
)
def test_other_trouble_is_no_full_disk(error: Exception, code: str) -> None:
    assert not is_full(error)
    assert problem_of(error, "o")["code"] == code
