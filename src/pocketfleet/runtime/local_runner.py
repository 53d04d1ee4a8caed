"""What all runners on this machine share: records, the lock that leads to a guest, adoption, watching for its end."""

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
from pocketfleet.errors import PocketfleetError
from pocketfleet.runtime import processes, raw_output
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.lock import Lock, is_held, lock_path, take_lock
from pocketfleet.runtime.processes import Pidfd
from pocketfleet.runtime.records import RunRecord, RunRecords
from pocketfleet.runtime.runner import Ending, Running

#: Seconds that a guest which is just dying gets to let go of its lock: its first thread may be gone before the rest.
_DYING_SECONDS = 0.5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Spawned:
    """What a runner has started: PocketBase's own pid, and our child, which may be another process around it."""

    pid: int
    child: subprocess.Popen[bytes]


@dataclass(slots=True)
class Watched:
    """A living guest. `child` is None for one that a former node started: its exit code is not ours to know."""

    instance_id: str
    pidfd: Pidfd
    ended: asyncio.Future[Ending]
    child: subprocess.Popen[bytes] | None


class LocalRunner:
    """Guests outlive this process; the lock they inherited and the record in `run/` lead the next one to them.

    A runner of one kind says how it spawns and what happens when a guest ends; the rest is here.
    """

    #: whether its guests are locked in; those of the other kind are not adopted but ended
    sandboxed = False

    def __init__(self, config: Config) -> None:
        self._run_folder = config.run
        self._records = RunRecords(config.run)
        self._watched: dict[int, Watched] = {}

    def recorded(self) -> list[str]:
        """See Runner."""
        return self._records.ids()

    async def start(self, guest: Guest, lock: Lock) -> Running:
        """See Runner. The record comes first, so that a guest spawned by a node killed right then is found."""
        self._check(guest)
        since = datetime.now(UTC).isoformat()
        record = RunRecord(guest.instance_id, guest.release, guest.listens_at, since, sandboxed=self.sandboxed)
        try:
            self._records.write(record)
            spawned = await self._spawn(guest, lock)
        except OSError as error:
            self._records.remove(guest.instance_id)
            raise self._trouble(guest, error) from error
        except PocketfleetError:
            self._records.remove(guest.instance_id)
            raise
        record = replace(record, pid=spawned.pid, start_time=processes.start_time(spawned.pid) or 0)
        try:
            self._records.write(record)
        except OSError as error:
            # found by its lock should we be killed, so nothing is lost but time
            _log.warning("no record written: %s", error.strerror, extra={"instance": guest.instance_id})
        return self._watch(record, spawned.child)

    async def adopt(self, instance_id: str) -> Running | None:
        """See Runner. Adopted is who has the recorded pid, start time and lock; or who holds the lock of a start."""
        record = self._records.read(instance_id)
        path = lock_path(self._run_folder, instance_id)
        ours = record is not None and record.sandboxed == self.sandboxed and is_held(path)
        pid = self._find(record, path) if record and ours else None
        if record and pid is not None:
            with contextlib.suppress(ProcessLookupError):
                return self._watch(replace(record, pid=pid), None)
        with contextlib.suppress(PocketfleetError):
            (await take_lock(path, _DYING_SECONDS if ours else 0)).close()
            self._records.remove(instance_id)
        return None

    def ended(self, running: Running) -> asyncio.Future[Ending]:
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

    # What a kind of runner does its own way

    def _check(self, guest: Guest) -> None:
        """Raises what keeps it from starting."""
        raise NotImplementedError

    async def _spawn(self, guest: Guest, lock: Lock) -> Spawned:
        """Start it. Raises OSError, PocketfleetError; then nothing runs."""
        raise NotImplementedError

    def _trouble(self, guest: Guest, error: OSError) -> PocketfleetError:
        """What `_spawn` met, with the next step."""
        raise NotImplementedError

    def _bury(self, watched: Watched) -> None:
        """PocketBase itself is dead: the result of `ended`, at once or soon."""
        watched.ended.set_result(Ending(watched.child.wait() if watched.child else None))

    # What is the same for all

    def _find(self, record: RunRecord, path: Path) -> int | None:
        lock = path.stat()
        if record.pid:
            same = processes.start_time(record.pid) == record.start_time
            return record.pid if same and processes.has_open(record.pid, lock) else None
        found = [pid for pid in processes.holders(path) if _is(pid, record)]
        return found[0] if len(found) == 1 else None

    def _watch(self, record: RunRecord, child: subprocess.Popen[bytes] | None) -> Running:
        pidfd = Pidfd(record.pid)
        ended = asyncio.get_running_loop().create_future()
        watched = self._watched[record.pid] = Watched(record.instance_id, pidfd, ended, child)
        pidfd.on_end(lambda: self._bury(watched))
        return Running(record.instance_id, record.release, record.address, record.pid, record.awake_since)


@contextlib.contextmanager
def standard_streams(guest: Guest) -> Iterator[tuple[int, int, int]]:
    """Descriptors of nothing to read, and of the two files that its output goes to. Raises OSError."""
    with contextlib.ExitStack() as opened:

        def keep(descriptor: int) -> int:
            opened.callback(os.close, descriptor)
            return descriptor

        stdin = keep(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        stdout, stderr = (keep(raw_output.open_for_guest(guest.log_folder, name)) for name in raw_output.STREAMS)
        yield stdin, stdout, stderr


def _is(pid: int, record: RunRecord) -> bool:
    command = processes.command_of(pid)
    return "serve" in command[1:2] and record.address in command
