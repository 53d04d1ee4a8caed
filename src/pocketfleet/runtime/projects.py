"""Projects, by which a file system counts whose room a file takes: what is marked, and what is made there afterwards.

A folder that is marked hands its project down to what is made in it. Into such a one the kernel lets nobody rename or
link what is another project's (EXDEV); out of it everything may go. Whoever owns a file may say what it is counted by,
unless they are in a user namespace: so every instance is in one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable

#: linux/fs.h: struct fsxattr (flags, extent size, extents, project, copy-on-write size, 8 bytes of nothing), the two
#: calls that read and write it, and the flag of folders that hand their project down.
_ATTRIBUTES = struct.Struct("=IIIII8x")
_GET, _SET = 0x801C581F, 0x401C5820
_HANDED_DOWN = 0x200
#: A file system without any, or without this call.
_UNKNOWN = {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}


def hands_down(folder: int) -> int:
    """The project that an open folder hands down; 0 for none, and where the file system knows none. Raises OSError."""
    try:
        flags, _, _, project, _ = _read(folder)
    except OSError as error:
        if error.errno in _UNKNOWN:
            return 0
        raise
    return project if flags & _HANDED_DOWN else 0


def mark(opened: int, project: int) -> None:
    """An open file or folder is of this project, and so is what is made in it from now on. Raises OSError."""
    flags, size, extents, known, share = _read(opened)
    wanted = flags | _HANDED_DOWN if stat.S_ISDIR(os.fstat(opened).st_mode) else flags
    if (known, flags) != (project, wanted):
        fcntl.ioctl(opened, _SET, _ATTRIBUTES.pack(wanted, size, extents, project, share))


def hand_down_nothing(opened: int) -> None:
    """Whatever project they are of, names may be moved into this open folder. Raises OSError."""
    flags, size, extents, project, share = _read(opened)
    if flags & _HANDED_DOWN:
        fcntl.ioctl(opened, _SET, _ATTRIBUTES.pack(flags & ~_HANDED_DOWN, size, extents, project, share))


def let_in(folder: int, move: Callable[[], None]) -> None:
    """What `move` does: it brings something of whichever project into this open folder. Raises OSError."""
    try:
        move()
        return
    except OSError as error:
        project = hands_down(folder) if error.errno == errno.EXDEV else 0
        if not project:
            raise
    hand_down_nothing(folder)
    try:
        move()
    finally:
        mark(folder, project)


def _read(opened: int) -> tuple[int, ...]:
    return _ATTRIBUTES.unpack(fcntl.ioctl(opened, _GET, bytes(_ATTRIBUTES.size)))
