"""How much the kernel lets an instance's files grow, where the file system counts by projects and holds to limits.

Storage is measured every few seconds, and what may be written in between is bounded here. The limit is what the kernel
counts now and what the instance may have besides, so it does not matter what else it counts: files that were replaced
and are not removed yet, blocks that are not full.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import struct
from pathlib import Path

from pocketfleet.runtime.sizes import Room

#: Bytes that it may grow beyond its storage: the limit is what was measured, and this alone is the kernel's to refuse.
#: Rather an orderly end at the limit than writes that fail, so it must be possible to be over it.
SLACK = 64 * 1024**2
#: The same in files and folders.
_SLACK_NAMES = 10_000

#: quotactl(2) by descriptor, Linux 5.14 and later; the number is the same on x86-64 and aarch64.
_QUOTACTL_FD = 443
_PROJECTS = 2
_GET, _SET, _STATE = 0x800007, 0x800008, 0x5808
#: linux/quota.h, struct if_dqblk: hard, soft limit of blocks, bytes, hard, soft limit of names, names, times, valid.
_LIMITS = struct.Struct("=8QI4x")
_BLOCK = 1024
_SET_BYTES, _SET_NAMES = 1, 4
#: linux/dqblk_xfs.h, struct fs_quota_statv: its first bytes, and how large it is; projects are counted, and held.
_STATE_BEGINS, _STATE_SIZE, _STATE_VERSION = struct.Struct("=bBH"), 184, 1
_COUNTED_AND_HELD = 1 << 4 | 1 << 5

_libc = ctypes.CDLL(None, use_errno=True)
_log = logging.getLogger(__name__)


class Quotas:
    """The limits of one home's instances; every verb is one call or two of the kernel's, and blocks for no time."""

    def __init__(self, folder: Path) -> None:
        """`folder`: where the instances' folders are."""
        self._folder = folder
        self._opened = -1
        self.works = False

    def prepare(self) -> None:
        """See whether this file system has them."""
        self.close()
        self._opened = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        state = ctypes.create_string_buffer(_STATE_BEGINS.pack(_STATE_VERSION, 0, 0), _STATE_SIZE)
        try:
            self._call(_STATE, 0, state)
        except OSError as error:
            _log.info("no project quotas at %s: %s", self._folder, error.strerror)
            return
        _, _, flags = _STATE_BEGINS.unpack_from(state.raw)
        self.works = flags & _COUNTED_AND_HELD == _COUNTED_AND_HELD
        _log.info("project quotas at %s: %s", self._folder, "on" if self.works else "not held to")

    def hold(self, project: int, room: Room | None) -> None:
        """A project may grow by that much from now on, and by some more; None for any.

        Tried, and written to the log where it does not go: it is measured all the same.
        """
        if not self.works:
            return
        try:
            used, count = self._used(project)
            if room is None:
                self._set(project, 0, 0)
            else:
                # 0 is no limit for the kernel
                most = (used + room.bytes + SLACK, count + room.names + _SLACK_NAMES)
                self._set(project, *(max(1, each) for each in most))
        except OSError as error:
            _log.warning("storage of project %d not held by the file system: %s", project, error.strerror)

    def close(self) -> None:
        """Limits that are set stay."""
        self.works = False
        if self._opened >= 0:
            os.close(self._opened)
            self._opened = -1

    def _used(self, project: int) -> tuple[int, int]:
        """Bytes and names that the kernel counts."""
        found = ctypes.create_string_buffer(_LIMITS.size)
        try:
            self._call(_GET, project, found)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return 0, 0  # of this project there is nothing yet (XFS)
        numbers = _LIMITS.unpack(found.raw)
        return numbers[2], numbers[5]

    def _set(self, project: int, size: int, names: int) -> None:
        blocks = -(-size // _BLOCK)
        given = _LIMITS.pack(blocks, 0, 0, names, 0, 0, 0, 0, _SET_BYTES | _SET_NAMES)
        self._call(_SET, project, ctypes.create_string_buffer(given, _LIMITS.size))

    def _call(self, command: int, project: int, data: ctypes.Array[ctypes.c_char]) -> None:
        number = command << 8 | _PROJECTS
        if _libc.syscall(_QUOTACTL_FD, self._opened, ctypes.c_uint(number), ctypes.c_uint(project), data) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
