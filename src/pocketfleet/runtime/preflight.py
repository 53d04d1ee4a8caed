"""What would keep a guest from starting, found before it is spawned, with the next step in plain words."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

from pocketfleet.errors import AddressTaken, DiskTrouble, ReleaseUnusable
from pocketfleet.runtime.guest import Guest

#: Below this many free bytes SQLite cannot even keep its shared memory and write-ahead log.
FREE_BYTES = 2 * 1024 * 1024


def check(guest: Guest) -> None:
    """Some dozen microseconds. Raises ReleaseUnusable, DiskTrouble."""
    _check_executable(guest)
    _check_folder(guest)
    _check_space(guest.folder)


def disk_trouble(error: OSError, path: Path) -> DiskTrouble:
    """The typed error for what the system said about a path."""
    words = {
        errno.ENOSPC: "The disk is full: free some space, then try again.",
        errno.EDQUOT: "The disk quota is used up: free some space, then try again.",
        errno.EROFS: "The disk is mounted read-only: check it, and mount it for writing.",
        errno.EACCES: f"Check the owner and the permissions of {path}.",
        errno.ENOENT: "It is not there: restore it from a backup, or create the instance again.",
    }
    what = words.get(error.errno or 0, f"The system says: {error.strerror}.")
    return DiskTrouble(f"{path} cannot be used. {what}", path=str(path))


def _check_executable(guest: Guest) -> None:
    if not os.access(guest.executable, os.X_OK):
        raise ReleaseUnusable(
            f"The executable of PocketBase {guest.release} is missing or cannot be run: {guest.executable}. "
            f"Remove that folder and fetch it again: `pocketfleet releases --refresh`.",
            release=guest.release,
        )


def _check_folder(guest: Guest) -> None:
    for folder in (guest.folder, guest.data_folder):
        if folder.is_symlink():
            raise DiskTrouble(f"{folder} is a symbolic link; put the folder itself there.", path=str(folder))
        if not folder.is_dir():
            raise disk_trouble(OSError(errno.ENOENT, os.strerror(errno.ENOENT)), folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            code = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
            raise disk_trouble(OSError(code, os.strerror(code)), folder)


def _check_space(folder: Path) -> None:
    disk = os.statvfs(folder)
    if disk.f_bavail * disk.f_frsize < FREE_BYTES or (disk.f_files and not disk.f_favail):
        raise disk_trouble(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), folder)


def check_address(guest: Guest) -> None:
    """Whether nobody else of this network listens there. Raises AddressTaken."""
    with socket.socket() as probe:
        # as PocketBase itself binds: connections that linger from its former life do not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((guest.address, guest.port))
        except OSError as error:
            raise AddressTaken(
                f"PocketBase cannot listen at {guest.listens_at}: {error.strerror}. Another program is probably there: "
                f"`ss -ltnp 'sport = :{guest.port}'` names it. End it, or set POCKETFLEET_GUEST_PORT to a free port.",
                address=guest.listens_at,
            ) from error
