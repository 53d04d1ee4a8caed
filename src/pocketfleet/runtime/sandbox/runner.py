"""The sandbox's runner: a PocketBase in its cell, with limits and a network, found again through what is around it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pocketfleet.config import Config
from pocketfleet.domain.addresses import user_of
from pocketfleet.domain.guest_limits import GuestLimits, mebibytes
from pocketfleet.errors import PocketfleetError, ReleaseUnusable
from pocketfleet.runtime import preflight, processes, raw_output
from pocketfleet.runtime.commands import COMMAND_SECONDS, Done, not_ending, not_runnable
from pocketfleet.runtime.confines import Confines
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.local_runner import LocalRunner, Spawned, Watched, standard_streams
from pocketfleet.runtime.lock import Lock
from pocketfleet.runtime.owners import own
from pocketfleet.runtime.processes import Pidfd
from pocketfleet.runtime.records import RunRecord
from pocketfleet.runtime.runner import Ending, Running
from pocketfleet.runtime.sandbox.cgroups import Cgroups
from pocketfleet.runtime.sandbox.firewall import Firewall
from pocketfleet.runtime.sandbox.jail import (
    Cell,
    Programs,
    as_seen_inside,
    becoming,
    go_environment,
    joining,
    launch,
)
from pocketfleet.runtime.sandbox.networks import Networks
from pocketfleet.runtime.sandbox.rule_changes import RuleChanges
from pocketfleet.runtime.sandbox.walls import Walls

#: Seconds that bwrap may take to make the namespaces, and the pause between two looks whether PocketBase is there.
_LAUNCH_SECONDS = 20.0
_LOOK_EVERY = 0.0003
#: Seconds in which the outer process tells the exit code of a PocketBase that has ended.
_TELLING_SECONDS = 0.2
#: Seconds after a start in which no network is made for those to come.
_REFILL_AFTER = 1.0
#: Seconds that an adopted guest's outer process gets to be gone with it; everybody waits meanwhile.
_PARTING_SECONDS = 0.02
#: Seconds between two looks whether the rules are there: where others always change theirs, and where nobody does.
_RULES_AT_MOST_EVERY = 1.0
_RULES_AT_LEAST_EVERY = 60.0
#: Bytes of what a command printed that are read.
_MOST_OUTPUT = 100_000
#: What stands beside a clone: a Python with some threads, a thread for each open request.
_COMPANY, _COMPANY_BYTES = 40, 64 * 1024**2
_CHILD = re.compile(rb'"child-pid": *(\d+)[^\d]')

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What the sandbox works with on this machine; see rights.py."""

    programs: Programs
    cgroups: Cgroups
    networks: Networks
    firewall: Firewall
    walls: Walls


class SandboxRunner(LocalRunner):
    """Starts a guest in a cell of its own. Its home's rules are loaded before anything else."""

    sandboxed = True

    def __init__(self, config: Config, means: Means) -> None:
        super().__init__(config)
        self._config = config
        self._means = means
        #: the first process of a guest's own namespace, with which everything in it ends; by PocketBase's pid
        self._inner: dict[int, Pidfd] = {}
        self._refilling: asyncio.Task[None] | None = None
        self.walls = means.walls

    def prepare(self) -> None:
        """Before anything is adopted or started: rules, groups, and nothing left of what died with a former node.

        Blocks for some 50 ms. Raises SandboxUnavailable.
        """
        self._means.firewall.load(self._config.sandbox_allowed, self._config.sandbox_refused_ports)
        self._means.cgroups.prepare()
        self._means.cgroups.quicken()
        records = [record for each in self.recorded() if (record := self._records.read(each)) is not None]
        living = {record.instance_id for record in records if _may_live(record)}
        self.walls.open(_project(record) for record in records if record.instance_id not in living)
        with contextlib.suppress(OSError):
            self._means.cgroups.sweep(living)

    def close(self) -> None:
        """No guest runs: what was made for them goes. With guests that live on, only what nobody uses."""
        self.walls.close()
        self._means.networks.close()
        if not self.recorded():
            # of a start that failed there may be one yet
            with contextlib.suppress(OSError):
                self._means.cgroups.sweep(())
            self._means.cgroups.close()
            if not self._means.cgroups.present():
                self._means.firewall.unload()

    async def guard(self) -> None:
        """The rules stay, whoever flushes this host's; without an end."""
        changes = RuleChanges()
        try:
            while True:
                await asyncio.to_thread(self._means.firewall.keep)
                await asyncio.sleep(_RULES_AT_MOST_EVERY)
                await changes.next(_RULES_AT_LEAST_EVERY)
        finally:
            changes.close()

    def make_ready(self) -> None:
        """Networks for the next wakes, soon and in the background."""
        if self._refilling is None or self._refilling.done():
            self._refilling = asyncio.create_task(self._refill())

    def processes(self, instance_id: str) -> list[int]:
        """Pids of all that an instance runs."""
        return self._means.cgroups.processes(instance_id)

    def seen(self, guest: Guest) -> Guest:
        """See Commander."""
        return as_seen_inside(guest)

    def share(self, instance_id: str, limits: GuestLimits) -> None:
        """Hold an instance that runs to its limits of processor time; three files, so it blocks for no time worth it.

        All others count from its next start: less memory or fewer threads than it uses now would end it.
        """
        try:
            self._means.cgroups.share(instance_id, limits)
        except FileNotFoundError:
            pass  # it has just ended
        except OSError as error:
            _log.warning("processor time not limited: %s", error.strerror, extra={"instance": instance_id})

    async def run(self, guest: Guest, lock: Lock, arguments: Sequence[str]) -> Done:
        """See Commander: in the same cell, and without any network."""
        return await asyncio.to_thread(self._run, guest, lock, arguments)

    @contextlib.asynccontextmanager
    async def confined(self, name: str, guest: Guest) -> AsyncIterator[Confines | None]:
        """See Commander: groups of its own beside those of instances, swept as theirs should we die."""
        programs, cgroups = self._means.programs, self._means.cgroups
        try:
            groups = await asyncio.to_thread(cgroups.make, name, _with_company(guest.limits))
            yield Confines(
                join=tuple(joining(programs, groups, guest.limits)),
                become=tuple(becoming(programs, guest.user)),
                bwrap=Path(programs.bwrap),
                user=guest.user,
                environment=go_environment(guest.limits),
                cause=lambda: _too_much(guest.limits.memory) if cgroups.ended_for_memory(name) else "",
            )
        finally:
            try:
                await asyncio.to_thread(cgroups.remove, name)
            except OSError as error:
                # the next node takes it away
                _log.warning("control group not removed: %s", error.strerror, extra={"instance": guest.instance_id})

    def _check(self, guest: Guest) -> None:
        preflight.check(guest)

    async def _spawn(self, guest: Guest, lock: Lock) -> Spawned:
        spawned, inner = await asyncio.to_thread(self._launch, guest, lock)
        self._inner[spawned.pid] = inner
        self.make_ready()
        return spawned

    def _trouble(self, guest: Guest, error: OSError) -> PocketfleetError:
        return preflight.disk_trouble(error, guest.log_folder if error.filename is None else error.filename)

    def forget(self, running: Running) -> None:
        """See Runner."""
        super().forget(running)
        if (inner := self._inner.pop(running.pid, None)) is not None:
            inner.close()
        try:
            self._means.cgroups.remove(running.instance_id, patience=_PARTING_SECONDS)
        except OSError as error:
            # the next start, or the next node, takes it away
            _log.warning("control group not removed: %s", error.strerror, extra={"instance": running.instance_id})

    def _find(self, record: RunRecord, path: Path) -> int | None:
        pid = super()._find(record, path)
        if pid is None or (inner := _parent(pid)) is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            self._inner[pid] = Pidfd(inner)
            self.walls.found(record.instance_id, _project(record))
            return pid
        return None

    def _bury(self, watched: Watched) -> None:
        """1 our child tells the exit code; 2 what PocketBase had started is ended; 3 the result."""
        loop = asyncio.get_running_loop()
        if watched.child is None:
            self._end_the_rest(watched, None)
            return
        child, outer = watched.child, Pidfd(watched.child.pid)

        def told() -> None:
            timer.cancel()
            outer.close()
            code = child.wait() if child.poll() is not None else None
            self._end_the_rest(watched, _code(code))

        timer = loop.call_later(_TELLING_SECONDS, told)
        outer.on_end(told)

    def _end_the_rest(self, watched: Watched, code: int | None) -> None:
        inner = self._inner.pop(watched.pidfd.pid, None)

        def gone() -> None:
            # by the kernel's hand: what else it ended in there before is another story
            killed = code in (None, -signal.SIGKILL)
            for_memory = killed and self._means.cgroups.ended_for_memory(watched.instance_id)
            cause = _too_much(self._means.cgroups.memory_limit(watched.instance_id)) if for_memory else ""
            self.walls.end(watched.instance_id)
            if not watched.ended.done():
                watched.ended.set_result(Ending(code, cause, for_memory))

        if inner is None:
            gone()
            return
        inner.signal(signal.SIGKILL)
        inner.on_end(gone)

    # Launching, in a thread

    def _launch(self, guest: Guest, lock: Lock) -> tuple[Spawned, Pidfd]:
        # first of all what may be left of the guest before is ended, so that nobody changes files under our hands
        groups = self._means.cgroups.make(guest.instance_id, guest.limits)
        own(guest.folder, guest.user)
        network = self._means.networks.take(guest.address)
        try:
            self.walls.begin(guest)
            cell = Cell(guest, groups, network.descriptor, self._config.sandbox_resolvers)
            with standard_streams(guest) as streams:
                return self._launch_in(cell, lock, streams)
        except BaseException:
            self.walls.end(guest.instance_id)
            raise
        finally:
            network.close()

    def _launch_in(self, cell: Cell, lock: Lock, streams: tuple[int, int, int]) -> tuple[Spawned, Pidfd]:
        inside = as_seen_inside(cell.guest)
        told, tell = os.pipe2(os.O_CLOEXEC)
        try:
            try:
                environment = inside.environment | go_environment(cell.guest.limits)
                child = launch(self._means.programs, cell, inside.command, environment, lock, streams, tell)
            finally:
                os.close(tell)
            return _found(cell.guest, child, told)
        finally:
            os.close(told)

    def _run(self, guest: Guest, lock: Lock, arguments: Sequence[str]) -> Done:
        command = [str(as_seen_inside(guest).executable), *arguments]
        with tempfile.TemporaryFile() as said, _opened(os.devnull, os.O_RDWR) as nothing:
            try:
                groups = self._means.cgroups.make(guest.instance_id, guest.limits)
                own(guest.folder, guest.user)
                self.walls.begin(guest)
                cell = Cell(guest, groups, None, ())
                environment = as_seen_inside(guest).environment | go_environment(guest.limits)
                streams = (nothing, said.fileno(), said.fileno())
                child = launch(self._means.programs, cell, command, environment, lock, streams, nothing)
                code = child.wait(COMMAND_SECONDS)
            except OSError as error:
                raise not_runnable(guest, error) from error
            except subprocess.TimeoutExpired:
                raise not_ending(guest) from None
            finally:
                # what it may have left running goes with it
                self._means.cgroups.remove(guest.instance_id)
                self.walls.end(guest.instance_id)
            said.seek(0)
            return Done(code, said.read(_MOST_OUTPUT).decode(errors="replace"))

    async def _refill(self) -> None:
        if not self._means.networks.is_low:
            # the guest that has just been started needs the processors more
            await asyncio.sleep(_REFILL_AFTER)
        try:
            await asyncio.to_thread(self._means.networks.refill)
        except OSError as error:
            _log.warning("no network lies ready: %s", error.strerror)


def _project(record: RunRecord) -> int:
    """What its files are counted by: its user's number."""
    return user_of(record.address.partition(":")[0])


def _found(guest: Guest, child: subprocess.Popen[bytes], told: int) -> tuple[Spawned, Pidfd]:
    """PocketBase itself and the first process of its namespace, once they are there. Ends them if they never are."""
    give_up = time.monotonic() + _LAUNCH_SECONDS
    inner = _inner_pid(told, give_up)
    try:
        # pinned before it is looked at: nobody reaps it but bwrap, which would have told
        pidfd = Pidfd(inner) if inner else None
        while pidfd is not None and time.monotonic() < give_up and child.poll() is None:
            if pid := _only_child(inner):
                return Spawned(pid, child), pidfd
            time.sleep(_LOOK_EVERY)
    except ProcessLookupError:
        pidfd = None
    if pidfd is not None:
        pidfd.signal(signal.SIGKILL)
        pidfd.close()
    child.kill()
    child.wait()
    raise ReleaseUnusable(f"PocketBase {guest.release} cannot be run here: {_last_words(guest)}", release=guest.release)


def _inner_pid(told: int, give_up: float) -> int:
    """What bwrap says of its child; 0 where it ended before."""
    text = b""
    poll = select.poll()
    poll.register(told, select.POLLIN)
    while not (found := _CHILD.search(text)):
        if not poll.poll(max(0, give_up - time.monotonic()) * 1000):
            return 0
        piece = os.read(told, 4096)
        if not piece:
            return 0
        text += piece
    return int(found[1])


def _only_child(pid: int) -> int:
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return int(words[0]) if words else 0


def _parent(pid: int) -> int | None:
    """The process that this one's namespace began with, whose end ends all of it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        for line in Path(f"/proc/{parent}/status").read_text().splitlines():
            if line.startswith("NSpid:") and line.split()[-1] == "1" and len(line.split()) > 2:
                return parent
    return None


def _may_live(record: RunRecord) -> bool:
    """Whether it is ours to adopt, if its lock says so, too."""
    return record.sandboxed and (not record.pid or processes.start_time(record.pid) == record.start_time)


def _code(code: int | None) -> int | None:
    """bwrap tells of a signal as a shell does."""
    return 128 - code if code is not None and code > 128 else code


def _with_company(limits: GuestLimits) -> GuestLimits:
    """What a rehearsal's own program and both bubblewraps use comes on top: the clone has what its instance has."""
    memory = limits.memory + _COMPANY_BYTES if limits.memory else 0
    return replace(limits, memory=memory, processes=limits.processes + _COMPANY if limits.processes else 0)


def _too_much(limit: int) -> str:
    """As the end of "PocketBase was ended: ...": the limit is the one that it had, whatever is set by now."""
    much = f"than the {mebibytes(limit)} of memory that" if limit else "memory than"
    return f"it, or a program that it had started, used more {much} this instance may have"


def _last_words(guest: Guest) -> str:
    said = b""
    for name in raw_output.STREAMS:
        said += raw_output.RawStream(raw_output.raw_path(guest.log_folder, name)).last_bytes(500)
    return said.decode(errors="replace").strip().removeprefix("bwrap: ")[-300:] or "the sandbox ended without a word."


@contextlib.contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
