"""How one PocketBase is locked in: the chain of programs that leads to it, each giving up what it does not need.

`sh` joins the control groups and lowers the limits that belong to a process, `setpriv` becomes the instance's user with
no rights left, `bwrap` makes the namespaces, and PocketBase sees what is bound there. The lock and the two output files
are all that is handed down.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.lock import Lock
from pocketfleet.runtime.sandbox.contents import READABLE, linked_with
from pocketfleet.runtime.sandbox.filter import program
from pocketfleet.runtime.sandbox.threads import enter_network, in_own_thread, leave_mounts, mount_memory, mount_open

#: Where the executable is, inside, and in which folder instances are: `ps` on the host shows whose a process is.
_EXECUTABLE, _INSTANCES = Path("/pocketbase"), Path("/instances")
#: A folder that every machine has and that bwrap does not need; in the launching thread's own mounts something else.
_STAGE = "/tmp"  # noqa: S108 - nobody else sees it
_TMP_BYTES = 64 * 1024**2
#: Rather a guest than the edge, where the whole machine is short of memory.
_KILLED_RATHER = 500
#: Control groups, then limits in the units of ulimit, then the command.
_JOIN = f"""
while [ "$1" != -- ]; do echo 0 > "$1" || exit 126; shift; done; shift
while [ "$1" != -- ]; do ulimit "$1" "$2" || exit 126; shift 2; done; shift
echo {_KILLED_RATHER} > /proc/self/oom_score_adj
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Programs:
    """The three that lead to PocketBase, as absolute paths."""

    sh: str
    setpriv: str
    bwrap: str


@dataclass(frozen=True, slots=True)
class Cell:
    """Where one command runs. `network` is a descriptor of its namespace; None for one without any way."""

    guest: Guest
    groups: Sequence[Path]
    network: int | None
    resolvers: Sequence[str]


def as_seen_inside(guest: Guest) -> Guest:
    """The same with the paths that it sees."""
    folder = _INSTANCES / guest.instance_id
    return replace(guest, executable=_EXECUTABLE, folder=folder)


def launch(
    programs: Programs,
    cell: Cell,
    command: Sequence[str],
    environment: Mapping[str, str],
    lock: Lock,
    streams: tuple[int, int, int],
    status: int,
) -> subprocess.Popen[bytes]:
    """Start a command of PocketBase's in its cell; its outermost process, which ends with it. Some milliseconds.

    `status`: a descriptor that bwrap tells the first inner process's pid. Raises OSError.
    """
    libraries = linked_with(cell.guest.executable)
    flags = [*_flags(cell, libraries), "--info-fd", str(status)]
    with _in_memory("filter", program()) as rules, contextlib.ExitStack() as opened:
        flags += ["--seccomp", str(rules), "--clearenv"]
        for name, value in environment.items():
            flags += ["--setenv", name, value]
        # by descriptor, so that neither secrets nor the host's paths stand in a command line
        given = opened.enter_context(_in_memory("flags", b"".join(os.fsencode(flag) + b"\0" for flag in flags)))
        chain = _chain(programs, cell, given, command)
        start = _starter(chain, streams, (lock.descriptor, rules, given, status))
        return in_own_thread(lambda: _from_inside(cell, programs.bwrap, start))


def _from_inside(cell: Cell, bwrap: str, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """In a thread of its own: the instance's user cannot pass through our folders, so what it needs is brought near."""
    leave_mounts()
    with contextlib.ExitStack() as opened:

        def keep(path: Path, flags: int) -> int:
            descriptor = os.open(path, flags | os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            opened.callback(os.close, descriptor)
            return descriptor

        folder = keep(cell.guest.folder, os.O_DIRECTORY)
        files = {"pocketbase": keep(cell.guest.executable.resolve(), 0), "bwrap": keep(Path(bwrap).resolve(), 0)}
        # a wheel brings what bwrap is linked with, and finds it by where it lies
        files |= {f"lib/{Path(each).name}": keep(Path(each).resolve(), 0) for each in linked_with(Path(bwrap))[1:]}
        mount_memory(_STAGE, "mode=0755,size=256k")
        stage = Path(_STAGE)
        for name in ("instance", "lib"):
            (stage / name).mkdir()
        mount_open(folder, f"{_STAGE}/instance")
        for name, descriptor in files.items():
            (stage / name).touch()
            mount_open(descriptor, f"{_STAGE}/{name}")
        (stage / "resolv.conf").write_text("".join(f"nameserver {each}\n" for each in cell.resolvers))
        (stage / "hosts").write_text("127.0.0.1 localhost\n")
    for name in ("resolv.conf", "hosts"):
        (stage / name).chmod(0o444)
    if cell.network is not None:
        enter_network(cell.network)
    return start()


def _starter(
    chain: Sequence[str], streams: tuple[int, int, int], handed: tuple[int, ...]
) -> Callable[[], subprocess.Popen[bytes]]:
    stdin, stdout, stderr = streams
    return lambda: subprocess.Popen(
        chain,
        cwd="/",
        env={"PATH": os.defpath, "LANG": "C.UTF-8", "LD_LIBRARY_PATH": f"{_STAGE}/lib"},
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        pass_fds=handed,
    )


def joining(programs: Programs, groups: Sequence[Path], limits: GuestLimits) -> list[str]:
    """The beginning of a command that root runs in these control groups and within the limits of a process."""
    return [programs.sh, "-c", _JOIN, "sh", *map(str, groups), "--", *_ulimits(limits), "--"]


def becoming(programs: Programs, user: int) -> list[str]:
    """The beginning of a command that root runs as this user, with nothing left to give up."""
    who = ["--reuid", str(user), "--regid", str(user), "--clear-groups"]
    return [programs.setpriv, *who, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]


def go_environment(limits: GuestLimits) -> dict[str, str]:
    """What Go is told of the limits."""
    return {"GOMEMLIMIT": str(limits.go_memory)} if limits.memory else {}


def _chain(programs: Programs, cell: Cell, given: int, command: Sequence[str]) -> list[str]:
    guest = cell.guest
    return [
        *joining(programs, cell.groups, guest.limits),
        *becoming(programs, guest.user),
        *(f"{_STAGE}/bwrap", "--args", str(given), "--", *command),
    ]


def _ulimits(limits: GuestLimits) -> list[str]:
    """No more than we have ourselves: raising them takes a right that root of a container may lack."""
    flags = ["-c", "0"]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits.open_files:
        flags += ["-n", str(min(limits.open_files, most) if most != resource.RLIM_INFINITY else limits.open_files)]
    if limits.file_bytes:
        flags += ["-f", str(limits.file_bytes // 512)]
    return flags


def _flags(cell: Cell, libraries: Sequence[str]) -> list[str]:
    inside = str(as_seen_inside(cell.guest).folder)
    spaces = ["--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    spaces += ["--unshare-cgroup-try", "--cap-drop", "ALL", "--new-session", "--hostname", "pocketbase"]
    if cell.network is None:
        spaces += ["--unshare-net"]
    flags = [*spaces, "--proc", "/proc", "--dev", "/dev", "--size", str(_TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108
    for path in [*libraries, *READABLE]:
        flags += ["--ro-bind-try", path, path]
    for name in ("resolv.conf", "hosts"):
        flags += ["--ro-bind", f"{_STAGE}/{name}", f"/etc/{name}"]
    flags += ["--ro-bind", f"{_STAGE}/pocketbase", str(_EXECUTABLE), "--bind", f"{_STAGE}/instance", inside]
    return [*flags, "--remount-ro", "/", "--remount-ro", "/dev", "--chdir", inside]


@contextlib.contextmanager
def _in_memory(name: str, content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
