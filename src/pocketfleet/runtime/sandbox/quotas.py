"""The kernel's quotas of projects, where a file system counts by them and holds to limits: what is used, and set."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from pathlib import Path

from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.projects import hands_down
from pocketfleet.runtime.sizes import Amount

#: quotactl(2) by descriptor, Linux 5.14 and later; the number is the same on x86-64 and aarch64.
_QUOTACTL_FD = 443
_PROJECTS = 2
_GET, _SET, _STATE = 0x800007, 0x800008, 0x5808
#: linux/quota.h, struct if_dqblk: hard, soft limit of blocks, bytes, hard, soft limit of names, names, times, valid.
_LIMITS = struct.Struct("=8QI4x")
_BLOCK = 1024
_SET_BYTES, _SET_NAMES = 1, 4
#: linux/dqblk_xfs.h, struct fs_quota_statv: its first bytes, and how large it is; projects are counted, and held.
_STATE_BEGINS, _STATE_SIZE, _STATE_VERSION = struct.Struct("=bBH"), 160, 1
_COUNTED_AND_HELD = 1 << 4 | 1 << 5

_libc = ctypes.CDLL(None, use_errno=True)


class Quotas:
    """Those of one folder's file system. Every verb may wait for the disk. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened = -1

    def open(self) -> str:
        """See whether they work; why not, "" where they do."""
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in (self._folder.parent, self._folder):
            with opened_folder(each) as opened:
                if project := hands_down(opened):
                    return f"{each} is of project {project} itself"
        self._opened = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        state = ctypes.create_string_buffer(_STATE_BEGINS.pack(_STATE_VERSION, 0, 0), _STATE_SIZE)
        try:
            self._call(_STATE, 0, state)
        except OSError as error:
            return f"the file system says: {error.strerror}"
        _, _, flags = _STATE_BEGINS.unpack_from(state.raw)
        return "" if flags & _COUNTED_AND_HELD == _COUNTED_AND_HELD else "the file system does not hold projects to any"

    def used(self, project: int) -> Amount:
        """What the kernel counts."""
        found = ctypes.create_string_buffer(_LIMITS.size)
        try:
            self._call(_GET, project, found)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return Amount(0, 0)  # of this project there is nothing yet (XFS)
        numbers = _LIMITS.unpack(found.raw)
        return Amount(numbers[2], numbers[5])

    def hold(self, project: int, most: Amount | None) -> None:
        """No more than that from now on; None for any amount."""
        # 0 is no limit for the kernel
        size, names = (max(1, most.bytes), max(1, most.names)) if most is not None else (0, 0)
        given = _LIMITS.pack(-(-size // _BLOCK), 0, 0, names, 0, 0, 0, 0, _SET_BYTES | _SET_NAMES)
        self._call(_SET, project, ctypes.create_string_buffer(given, _LIMITS.size))

    def close(self) -> None:
        """Limits that are set stay."""
        if self._opened >= 0:
            os.close(self._opened)
            self._opened = -1

    def _call(self, command: int, project: int, data: ctypes.Array[ctypes.c_char]) -> None:
        number = command << 8 | _PROJECTS
        if _libc.syscall(_QUOTACTL_FD, self._opened, ctypes.c_uint(number), ctypes.c_uint(project), data) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
