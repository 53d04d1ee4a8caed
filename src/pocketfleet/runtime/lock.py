"""One writer per instance: a flock that the guest inherits and that dies with it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from pathlib import Path
from types import TracebackType

from pocketfleet.errors import DiskTrouble, InstanceInUse
from pocketfleet.runtime import processes

_log = logging.getLogger(__name__)


class Lock:
    """A held lock. The descriptor is close-on-exec here; a runner hands it down explicitly."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def close(self) -> None:
        """Let go of our own share of it; a guest that inherited it goes on holding it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def remove(self) -> None:
        """Take the file away while it is held: the instance is gone for good."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def lock_path(run_folder: Path, instance_id: str) -> Path:
    """Where an instance's lock lies."""
    return run_folder / f"{instance_id}.lock"


def try_lock(path: Path) -> Lock | None:
    """The lock, or None while anybody holds it. Raises DiskTrouble where the file cannot be made."""
    while True:
        try:
            # to read alone: a guest inherits it, and could fill the disk through it
            descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise DiskTrouble(f"The lock {path} cannot be opened: {error.strerror}. Check that disk.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_at(descriptor, path):
            return Lock(path, descriptor)
        os.close(descriptor)  # removed by whoever held it before: take the new file


def is_held(path: Path) -> bool:
    """Whether anybody holds it."""
    lock = try_lock(path)
    if lock is not None:
        lock.close()
    return lock is None


async def take_lock(path: Path, patience: float) -> Lock:
    """The lock. Whoever else holds it gets `patience` seconds to let go, and is killed then.

    Nothing but a guest, what a guest started, or a command of a node that was killed can hold it from outside
    this process. Raises InstanceInUse where this very process holds it, or a holder cannot be found or killed.
    """
    give_up = time.monotonic() + patience
    # a flock of another process cannot be waited for without a thread
    while (lock := try_lock(path)) is None and time.monotonic() < give_up:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    if lock is None:
        await _kill_holders(path)
        lock = try_lock(path)
    if lock is None:
        raise InstanceInUse(f"Something still works on this instance's files and holds {path}; try again later.")
    return lock


async def _kill_holders(path: Path) -> None:
    wanted = path.stat()
    for pid in processes.holders(path):
        command = " ".join(processes.command_of(pid))[:200]
        _log.warning("killing what is left pid=%d: %s", pid, command, extra={"instance": path.stem})

        def holds(pid: int = pid) -> bool:
            return processes.has_open(pid, wanted)

        await processes.kill(pid, holds)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
