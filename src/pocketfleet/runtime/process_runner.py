"""The plain runner: a PocketBase as an ordinary process in a session of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pocketfleet.config import Config
from pocketfleet.errors import PocketfleetError, ReleaseUnusable
from pocketfleet.runtime import preflight, processes, raw_output
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.lock import Lock, is_held, lock_path, take_lock
from pocketfleet.runtime.processes import Pidfd
from pocketfleet.runtime.records import RunRecord, RunRecords
from pocketfleet.runtime.runner import ExitCode, Running

#: Seconds that a guest which is just dying gets to let go of its lock: its first thread may be gone before the rest.
_DYING_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watched:
    """A living guest. `child` is None for one that a former node started: its exit code is not ours to know."""

    pidfd: Pidfd
    ended: asyncio.Future[ExitCode]
    child: subprocess.Popen[bytes] | None


class ProcessRunner:
    """Guests outlive this process; the lock they inherited and the record in `run/` lead the next one to them."""

    def __init__(self, config: Config) -> None:
        self._run_folder = config.run
        self._records = RunRecords(config.run)
        self._watched: dict[int, _Watched] = {}

    def recorded(self) -> list[str]:
        """See Runner."""
        return self._records.ids()

    async def start(self, guest: Guest, lock: Lock) -> Running:
        """See Runner. The record comes first, so that a guest spawned by a node killed right then is found."""
        preflight.check(guest)
        record = RunRecord(guest.instance_id, guest.release, guest.listens_at, datetime.now(UTC).isoformat())
        try:
            self._records.write(record)
            child = _spawn(guest, lock)
        except OSError as error:
            self._records.remove(guest.instance_id)
            raise _spawn_trouble(guest, error) from error
        try:
            self._records.write(replace(record, pid=child.pid, start_time=processes.start_time(child.pid) or 0))
        except OSError as error:
            # found by its lock should we be killed, so nothing is lost but time
            _log.warning("no record written: %s", error.strerror, extra={"instance": guest.instance_id})
        return self._watch(replace(record, pid=child.pid), child)

    async def adopt(self, instance_id: str) -> Running | None:
        """See Runner. Adopted is who has the recorded pid, start time and lock; or who holds the lock of a start."""
        record = self._records.read(instance_id)
        path = lock_path(self._run_folder, instance_id)
        pid = self._find(record, path) if record and is_held(path) else None
        if record and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                return self._watch(replace(record, pid=pid), None)
        with contextlib.suppress(PocketfleetError):
            (await take_lock(path, _DYING_SECONDS)).close()
            self._records.remove(instance_id)
        return None

    def ended(self, running: Running) -> asyncio.Future[ExitCode]:
        """See Runner."""
        return self._watched[running.pid].ended

    def signal(self, running: Running, number: signal.Signals) -> None:
        """See Runner. Through the pidfd, so never to a successor of the same number."""
        watched = self._watched.get(running.pid)
        if watched is not None:
            watched.pidfd.signal(number)

    def forget(self, running: Running) -> None:
        """See Runner."""
        self._watched.pop(running.pid, None)
        self._records.remove(running.instance_id)

    def _find(self, record: RunRecord, path: Path) -> int | None:
        lock = path.stat()
        if record.pid:
            same = processes.start_time(record.pid) == record.start_time
            return record.pid if same and processes.has_open(record.pid, lock) else None
        found = [pid for pid in processes.holders(path) if _is(pid, record)]
        return found[0] if len(found) == 1 else None

    def _watch(self, record: RunRecord, child: subprocess.Popen[bytes] | None) -> Running:
        pidfd = Pidfd(record.pid)
        watched = _Watched(pidfd, asyncio.get_running_loop().create_future(), child)

        def ended() -> None:
            if not watched.ended.done():
                watched.ended.set_result(child.wait() if child else None)

        pidfd.on_end(ended)
        self._watched[record.pid] = watched
        return Running(record.instance_id, record.release, record.address, record.pid, record.awake_since)


def _spawn(guest: Guest, lock: Lock) -> subprocess.Popen[bytes]:
    """0.2 ms whatever our own size: CPython forks by vfork here, and unlike os.posix_spawn it can change directory.

    Nothing but the standard streams and the lock is handed down.
    """
    with _standard_streams(guest) as (stdin, stdout, stderr):
        return subprocess.Popen(
            guest.command,
            cwd=guest.folder,
            env=guest.environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=(lock.descriptor,),
        )


@contextlib.contextmanager
def _standard_streams(guest: Guest) -> Iterator[tuple[int, int, int]]:
    with contextlib.ExitStack() as opened:

        def keep(descriptor: int) -> int:
            opened.callback(os.close, descriptor)
            return descriptor

        stdin = keep(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        stdout, stderr = (keep(raw_output.open_for_guest(guest.log_folder, name)) for name in raw_output.STREAMS)
        yield stdin, stdout, stderr


def _spawn_trouble(guest: Guest, error: OSError) -> PocketfleetError:
    if error.filename in (str(guest.executable), guest.executable):
        reason = f"PocketBase {guest.release} cannot be run here: {error.strerror} ({guest.executable})."
        return ReleaseUnusable(f"{reason} Fetch a build for this machine.", release=guest.release)
    return preflight.disk_trouble(error, guest.log_folder if error.filename is None else error.filename)


def _is(pid: int, record: RunRecord) -> bool:
    command = processes.command_of(pid)
    return "serve" in command[1:2] and record.address in command
