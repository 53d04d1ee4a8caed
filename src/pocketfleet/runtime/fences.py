"""A thread that the kernel keeps inside one folder: for libraries that open files by path, which is SQLite.

A tenant may exchange a folder for a link between our look and SQLite's opening. In here that leads nowhere: Landlock
(Linux 5.13) judges what a path has led to, needs no rights, and holds for one thread. Where the kernel does not have it
whoever opens must compare what was opened with what was meant.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sqlite3
import threading
from collections.abc import Callable
from functools import cache
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

#: Seconds that opening may take. A tenant may put a FIFO in a file's place right then, and opening it waits for ever.
PATIENCE = 30.0
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # on every architecture
_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
#: Rights that each version of Landlock can hold back: thirteen, then renaming, truncating, ioctl of devices.
_HELD_BACK = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
#: WRITE_FILE | READ_FILE | READ_DIR | REMOVE_FILE | MAKE_REG | TRUNCATE: what SQLite does to a database and beside it.
_GIVEN = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 8 | 1 << 14
_libc = ctypes.CDLL(None, use_errno=True)
#: Threads that wait for ever, by the folder that they are fenced in.
_stuck: dict[tuple[int, int], threading.Thread] = {}


class _Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr`, its first version."""

    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _Beneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr`."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def fenced(folder: int, work: Callable[[], Answer], patience: float = PATIENCE) -> Answer:
    """What `work` answers, in a thread of its own that opens files in this open folder alone; or its error.

    What it has opened may be used outside. Raises TimeoutError where it waits for ever; for as long as that thread
    does, nothing more is tried in this folder.
    """
    known = os.fstat(folder)
    key = (known.st_dev, known.st_ino)
    if (before := _stuck.get(key)) is not None and before.is_alive():
        raise TimeoutError(errno.ETIMEDOUT, "an earlier opening of it still waits")
    _stuck.pop(key, None)
    _seed(os.getpid())
    doing = _Doing(folder, work)
    thread = threading.Thread(target=doing, name="fenced", daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        _stuck[key] = thread
        raise TimeoutError(errno.ETIMEDOUT, "it did not open")
    return doing.result()


@cache
def version() -> int:
    """Of the kernel's Landlock, 0 where it has none."""
    found = _libc.syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)
    return max(0, int(found))


class _Doing(Generic[Answer]):
    """One piece of work and how it went."""

    def __init__(self, folder: int, work: Callable[[], Answer]) -> None:
        # its own: a thread that is given up must not find another folder under the number
        self._folder = os.dup(folder)
        self._work = work
        self._answers: list[Answer] = []
        self._error: BaseException | None = None

    def __call__(self) -> None:
        """In the thread."""
        try:
            if version():
                _restrict(self._folder)
            self._answers.append(self._work())
        except BaseException as error:
            self._error = error
        finally:
            os.close(self._folder)

    def result(self) -> Answer:
        """Once the thread has ended."""
        if self._error is not None:
            raise self._error
        return self._answers[0]


def _restrict(folder: int) -> None:
    """This thread, for ever. Raises OSError."""
    held_back = _HELD_BACK[min(version(), max(_HELD_BACK))]
    rules = _Ruleset(held_back)
    ruleset = _checked(_libc.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), 0))
    try:
        given = _Beneath(_GIVEN & held_back, folder)
        _checked(_libc.syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(given), 0))
        _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc.syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer


@cache
def _seed(pid: int) -> None:
    """SQLite opens /dev/urandom once in a process, which it could not in here: its random numbers would be poor."""
    with sqlite3.connect(":memory:") as opened:
        opened.execute("SELECT random()").fetchone()
    opened.close()
