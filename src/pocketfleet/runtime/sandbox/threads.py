"""What one thread alone may become: a member of other namespaces, in which a child can then be started.

Linux keeps namespaces by thread, so a thread that ends afterwards changes nothing for the rest of this process.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: sched.h and sys/mount.h
NEW_NETWORK = 0x40000000
_NEW_MOUNTS = 0x00020000
_NO_SETUID, _NO_DEVICES, _BIND, _RECURSIVE, _SLAVE = 2, 4, 4096, 16384, 1 << 19

_libc = ctypes.CDLL(None, use_errno=True)


def in_own_thread(work: Callable[[], T]) -> T:
    """What `work` answers, in a thread of its own that ends with it; 0.1 ms. Raises what it raises."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="sandbox", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def leave_network() -> int:
    """This thread moves to a new network namespace; a descriptor of it."""
    _check(_libc.unshare(NEW_NETWORK))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter_network(descriptor: int) -> None:
    """This thread moves to that network namespace."""
    _check(_libc.setns(descriptor, NEW_NETWORK))


def leave_mounts() -> None:
    """This thread sees the same files, and mounts in secret from now on."""
    _check(_libc.unshare(_NEW_MOUNTS))
    _check(_libc.mount(None, b"/", None, _SLAVE | _RECURSIVE, None))


def mount_memory(folder: str, options: str) -> None:
    """An empty file system in memory."""
    flags = _NO_SETUID | _NO_DEVICES
    _check(_libc.mount(b"memory", folder.encode(), b"tmpfs", flags, options.encode()))


def mount_open(descriptor: int, target: str) -> None:
    """What an open descriptor stands for, opened by this thread since it left the others' mounts, at another place."""
    _check(_libc.mount(f"/proc/self/fd/{descriptor}".encode(), target.encode(), None, _BIND, None))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
