"""Control groups: memory, processors and processes of each instance, in version 2 or, where a machine has only that, 1.

They lie below `pocketfleet-<mark>` at the top, not below whoever started node: a guest outlives its node, and its
limits hold on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.errors import SandboxUnavailable

CONTROLLERS = ("memory", "pids", "cpu")
#: Microseconds in which a quota of processor time is counted.
_PERIOD = 100_000
#: Bytes: version 1 has no word for any number but the largest one, in pages.
_UNLIMITED = 2**62
#: Seconds in which what was killed is gone, and in which a file system is mounted anew.
_DYING = 2.0
_MOUNTING = 10.0
#: Moving one thread instead of a process spares the kernel a wait for all processors, which is 11 ms here (Linux 6.18,
#: cgroup_procs_write_start in kernel/cgroup/cgroup.c). Version 2 knows no such way; see `quicken`.
_JOINED_BY = {1: "tasks", 2: "cgroup.procs"}


class Cgroups:
    """The groups of one home; a file call or some for every verb."""

    def __init__(self, mark: str, tops: dict[str, Path], *, version: int) -> None:
        """`tops`: where each controller's groups begin; one place for all of them in version 2."""
        self._name = f"pocketfleet-{mark}"
        self._tops = tops
        self._version = version

    @classmethod
    def found(cls, mark: str) -> Cgroups:
        """What this machine has. Raises SandboxUnavailable."""
        mounts = _mounts()
        for place, kind, _ in mounts:
            if kind == "cgroup2" and set(CONTROLLERS) <= _words(Path(place) / "cgroup.controllers"):
                return cls(mark, dict.fromkeys(CONTROLLERS, Path(place)), version=2)
        old = {
            name: Path(place)
            for place, kind, options in mounts
            if kind == "cgroup"
            for name in CONTROLLERS
            if name in options.split(",")
        }
        if set(old) != set(CONTROLLERS):
            missing = ", ".join(sorted(set(CONTROLLERS) - set(old)))
            raise SandboxUnavailable(f"This machine has no control groups for {missing}; mount cgroup2.")
        return cls(mark, old, version=1)

    def prepare(self) -> None:
        """The home's own group. Raises SandboxUnavailable where we may not make one."""
        try:
            if self._version == 2:
                _hand_down(self._tops["memory"])
            for top in self._all():
                (top / self._name).mkdir(exist_ok=True)
            if self._version == 2:
                _hand_down(self._tops["memory"] / self._name)
        except OSError as error:
            raise SandboxUnavailable(
                f"Control groups cannot be made: {error.strerror} ({error.filename}). Run pocketfleet as root of the "
                "machine, or of a container with a writable cgroup file system."
            ) from error

    def quicken(self) -> bool:
        """Spare whoever joins a group the wait for all processors, until the next boot; whether that is so now.

        In version 2 alone, and from Linux 6.0 on (Documentation/admin-guide/cgroup-v2.rst, favordynmods): 0.6 ms
        instead of some 10. Starting and ending a process takes a little longer then, on the whole machine.
        """
        if self._version != 2:
            return False
        top = self._tops["memory"]
        if not _is_quick(top):
            # through mount(8), which keeps the options that are set: the call alone would take them away
            command = ["mount", "-o", "remount,favordynmods", str(top)]
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(command, capture_output=True, check=False, timeout=_MOUNTING)
        return _is_quick(top)

    def make(self, instance_id: str, limits: GuestLimits) -> list[Path]:
        """A new group with these limits; the files that a process with one thread writes 0 to, to be in it.

        What is left in one of the same name is killed: the caller holds the instance's lock. Raises OSError.
        """
        self.remove(instance_id)
        for folder in self._folders(instance_id):
            folder.mkdir()
        bound = _bound_2 if self._version == 2 else _bound_1
        bound({name: self._folder(name, instance_id) for name in CONTROLLERS}, limits)
        self.share(instance_id, limits)
        return [folder / _JOINED_BY[self._version] for folder in self._folders(instance_id)]

    def share(self, instance_id: str, limits: GuestLimits) -> None:
        """Its processor time: of all limits the one that a living instance can be held to without ending it.

        Raises OSError, FileNotFoundError where it has no group.
        """
        write = _share_2 if self._version == 2 else _share_1
        write(self._folder("cpu", instance_id), limits)

    def ended_for_memory(self, instance_id: str) -> bool:
        """Whether something in it was ended for lack of memory since it was made."""
        name = "memory.events" if self._version == 2 else "memory.oom_control"
        with contextlib.suppress(OSError):
            for line in (self._folder("memory", instance_id) / name).read_text().splitlines():
                word, _, number = line.partition(" ")
                if word == "oom_kill" and number != "0":
                    return True
        return False

    def memory_limit(self, instance_id: str) -> int:
        """Bytes that it may use as long as this group is there; 0 for any number, and where nobody can tell."""
        name = "memory.max" if self._version == 2 else "memory.limit_in_bytes"
        with contextlib.suppress(OSError, ValueError):
            limit = int((self._folder("memory", instance_id) / name).read_text())
            return limit if limit < _UNLIMITED else 0
        return 0

    def processes(self, instance_id: str) -> list[int]:
        """Pids of all that is in it."""
        return [int(pid) for pid in _words(self._folder("pids", instance_id) / "cgroup.procs")]

    def remove(self, instance_id: str, *, patience: float = _DYING) -> None:
        """Whatever is in it is killed; it is gone. Raises OSError where that takes longer than `patience` seconds."""
        give_up = time.monotonic() + patience
        for folder in self._folders(instance_id):
            _remove(folder, give_up)

    def present(self) -> set[str]:
        """Ids of the instances that have one."""
        found: set[str] = set()
        for top in self._all():
            with contextlib.suppress(FileNotFoundError):
                found |= {path.name for path in (top / self._name).iterdir() if path.is_dir()}
        return found

    def sweep(self, living: Iterable[str]) -> None:
        """None is left but those of instances that run, and what does not go. Raises OSError."""
        for instance_id in self.present() - set(living):
            with contextlib.suppress(OSError):
                self.remove(instance_id)

    def close(self) -> None:
        """The home's own group goes, if nothing is in it."""
        for top in self._all():
            with contextlib.suppress(OSError):
                (top / self._name).rmdir()

    def _all(self) -> list[Path]:
        return list(dict.fromkeys(self._tops.values()))

    def _folders(self, instance_id: str) -> list[Path]:
        return [top / self._name / instance_id for top in self._all()]

    def _folder(self, controller: str, instance_id: str) -> Path:
        return self._tops[controller] / self._name / instance_id


def _is_quick(top: Path) -> bool:
    return any(
        (place, kind) == (str(top), "cgroup2") and "favordynmods" in options.split(",")
        for place, kind, options in _mounts()
    )


def _mounts() -> list[list[str]]:
    """Where each file system is mounted, its kind and its options."""
    return [line.split()[1:4] for line in Path("/proc/self/mounts").read_text().splitlines()]


def _hand_down(folder: Path) -> None:
    """Groups below get the controllers."""
    missing = set(CONTROLLERS) - _words(folder / "cgroup.subtree_control")
    if missing:
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in sorted(missing)))


def _bound_2(folders: dict[str, Path], limits: GuestLimits) -> None:
    folder = folders["memory"]
    if limits.memory:
        (folder / "memory.max").write_text(str(limits.memory))
        # no memory.oom.group: a program of a hook's that takes too much is ended alone, as in version 1
        _if_there(folder / "memory.swap.max", "0")
    if limits.processes:
        (folder / "pids.max").write_text(str(limits.processes))


def _share_2(folder: Path, limits: GuestLimits) -> None:
    (folder / "cpu.weight").write_text(str(limits.cpu_weight))
    (folder / "cpu.max").write_text(f"{int(limits.cpus * _PERIOD) or 'max'} {_PERIOD}")


def _bound_1(folders: dict[str, Path], limits: GuestLimits) -> None:
    if limits.memory:
        (folders["memory"] / "memory.limit_in_bytes").write_text(str(limits.memory))
        # there only where swap is counted
        _if_there(folders["memory"] / "memory.memsw.limit_in_bytes", str(limits.memory))
    if limits.processes:
        (folders["pids"] / "pids.max").write_text(str(limits.processes))


def _share_1(folder: Path, limits: GuestLimits) -> None:
    (folder / "cpu.shares").write_text(str(max(2, limits.cpu_weight * 1024 // 100)))
    _if_there(folder / "cpu.cfs_period_us", str(_PERIOD))
    _if_there(folder / "cpu.cfs_quota_us", str(int(limits.cpus * _PERIOD) or -1))


def _if_there(path: Path, text: str) -> None:
    if path.exists():
        path.write_text(text)


def _remove(folder: Path, give_up: float) -> None:
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > give_up:
                raise
        _kill_all(folder)
        time.sleep(0.002)


def _kill_all(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for pid in _words(folder / "cgroup.procs"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def _words(path: Path) -> set[str]:
    with contextlib.suppress(OSError):
        return set(path.read_text().split())
    return set()
