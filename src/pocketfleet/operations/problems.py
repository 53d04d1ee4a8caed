"""What is written into the journal when a step fails."""

from __future__ import annotations

import errno
import sqlite3
from typing import Any

from pocketfleet.domain.redaction import redact_all
from pocketfleet.errors import DiskTrouble, PocketfleetError, Unexpected

_DISK = {
    errno.ENOSPC: "The disk is full. Free some space and try again.",
    errno.EDQUOT: "The disk quota is used up. Free some space and try again.",
    errno.EROFS: "The disk is read-only. Mount it writable and try again.",
    errno.EACCES: "pocketfleet may not write there. Give the folder to the user that runs it, and try again.",
    errno.EPERM: "pocketfleet may not write there. Give the folder to the user that runs it, and try again.",
    errno.EIO: "The disk reports errors. Check it before anything else.",
}
#: What SQLite says of a full disk: where it writes, and where it opens a database, which takes some room of its own.
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)


def problem_of(error: Exception, operation_id: str) -> dict[str, Any]:
    """problem+json of whatever a step raised; what is not ours to explain is `unexpected`, its trace in our log.

    Redacted: PocketBase's own words may be among it.
    """
    problem: dict[str, Any] = redact_all(as_ours(error, operation_id).as_problem())
    return problem


def is_full(error: BaseException) -> bool:
    """Whether nothing but room on the disk is missing, so that the same will work once somebody has made some."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(cause, sqlite3.Error) and getattr(cause, "sqlite_errorcode", 0) in _FULL:
            return True
        if isinstance(cause, DiskTrouble) and "free" in cause.facts:
            return True
        cause = cause.__cause__
    return False


def must_go_on(error: BaseException) -> bool:
    """Whether what was being undone is half undone, or lacks nothing but room: nobody may be let at it as it is, so it
    is tried until it works, by the next node as well."""
    return is_full(error) or (isinstance(error, DiskTrouble) and "half_undone" in error.facts)


def as_ours(error: Exception, operation_id: str) -> PocketfleetError:
    """The typed error that stands for what was raised."""
    if isinstance(error, PocketfleetError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" ({error.filename})" if error.filename else ""
        return DiskTrouble(_DISK[error.errno] + where)
    if is_full(error):
        return DiskTrouble(_DISK[errno.ENOSPC])
    return Unexpected(
        f"{type(error).__name__} in operation {operation_id}; pocketfleet's own log says where. Please report it.",
        operation=operation_id,
    )
