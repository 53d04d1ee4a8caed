"""Runs inside an instance, as a program that its tenant brought along. `python attacker.py TRICK JSON` prints JSON.

Standard library alone. Nothing here is a test: it says what happened, and the tests judge.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)


def _word(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _outcome(act: Callable[..., object], *given: object) -> str:
    """ "done", or the name of the error."""
    try:
        act(*given)
    except OSError as error:
        return _word(error)
    return "done"


def read(paths: list[str]) -> dict[str, str]:
    """Open each of these files or folders."""

    def look(path: str) -> None:
        if os.path.isdir(path):
            os.listdir(path)
        else:
            with open(path, "rb") as opened:
                opened.read(1)

    return {path: _outcome(look, path) for path in paths}


def write(paths: list[str]) -> dict[str, str]:
    """Make a file at each of these places, or write to what is there."""

    def spoil(path: str) -> None:
        with open(path, "ab") as opened:
            opened.write(b"x")

    return {path: _outcome(spoil, path) for path in paths}


def connect(targets: list[str]) -> dict[str, list[object]]:
    """What comes of a connection to each `host:port`, and the seconds that it took."""
    results: dict[str, list[object]] = {}
    for target in targets:
        host, _, port = target.rpartition(":")
        began = time.monotonic()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET

        def reach(family: int = family, host: str = host, port: str = port) -> None:
            with socket.socket(family) as opened:
                opened.settimeout(3)
                opened.connect((host, int(port)))

        results[target] = [_outcome(reach), round(time.monotonic() - began, 2)]
    return results


def unix(paths: list[str]) -> dict[str, str]:
    """Connect to unix sockets; `@` begins an abstract one."""

    def reach(path: str) -> None:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.connect("\0" + path[1:] if path.startswith("@") else path)

    return {path: _outcome(reach, path) for path in paths}


def processes(pids: list[int]) -> dict[str, Any]:
    """Who is to be seen, and what comes of killing these."""
    seen = {pid: open(f"/proc/{pid}/cmdline").read().split("\0")[0] for pid in os.listdir("/proc") if pid.isdigit()}
    killed = {pid: _outcome(os.kill, pid, signal.SIGKILL) for pid in pids if str(pid) not in seen}
    return {"seen": seen, "killed": killed}


def kill_all(_: object) -> None:
    """Everybody that may be killed."""
    os.kill(-1, signal.SIGKILL)


def fork(most: int) -> dict[str, Any]:
    """As many processes as there can be, up to `most`; all of them end again."""
    children: list[int] = []
    error = ""
    try:
        while len(children) < most:
            pid = os.fork()
            if pid == 0:
                time.sleep(20)
                os._exit(0)
            children.append(pid)
    except OSError as failed:
        error = _word(failed)
    time.sleep(1)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return {"forked": len(children), "error": error}


def remember(count: int) -> dict[str, int]:
    """Take so many bytes of memory, and use them."""
    taken = [bytearray(1 << 20) for _ in range(count >> 20)]
    return {"taken": len(taken) << 20}


def fill(order: dict[str, int]) -> dict[str, str]:
    """Write files with a name, and one that has none any more but stays open for a while."""
    with open("junk", "wb") as named, open("ghost", "wb", buffering=0) as nameless:
        os.unlink("ghost")
        outcome = _outcome(lambda: named.write(b"x" * order["named"]))
        ghostly = _outcome(nameless.write, b"x" * order["nameless"])
        if order["nameless"] and os.fork() == 0:
            os.setsid()
            for number in range(3):
                os.close(number)
            time.sleep(order["seconds"])
            os._exit(0)
    return {"named": outcome, "nameless": ghostly}


def pour(count: int) -> dict[str, Any]:
    """Write up to so many bytes to one file, as fast as that goes; how many went, and why no more."""
    chunk, poured, outcome = b"x" * (1 << 20), 0, "done"
    with open("junk", "wb", buffering=0) as opened:
        while poured < count and outcome == "done":
            try:
                poured += opened.write(chunk)
            except OSError as error:
                outcome = _word(error)
    return {"poured": poured, "outcome": outcome}


def litter(count: int) -> dict[str, Any]:
    """Make up to so many files with nothing in them; how many, and why no more."""
    os.makedirs("litter", exist_ok=True)
    made, outcome = 0, "done"
    while made < count and outcome == "done":
        outcome = _outcome(lambda number=made: os.close(os.open(f"litter/{number}", os.O_CREAT | os.O_WRONLY)))
        made += outcome == "done"
    return {"made": made, "outcome": outcome}


def uncount(project: int) -> dict[str, Any]:
    """Have one's files counted by another project, or what is made from now on by none."""
    found: dict[str, Any] = {}
    for name in (".", "pb_data/data.db"):
        opened = os.open(name, os.O_RDONLY)
        try:
            flags, size, extents, known, share = struct.unpack("=IIIII8x", fcntl.ioctl(opened, 0x801C581F, bytes(28)))
            found[name] = {"project": known, "handed down": bool(flags & 0x200)}
            for what, given in {
                "another": (flags, size, extents, project, share),
                "none": (flags, size, extents, 0, share),
                "no longer handed down": (flags & ~0x200, size, extents, known, share),
            }.items():
                packed = struct.pack("=IIIII8x", *given)
                found[name][what] = _outcome(fcntl.ioctl, opened, 0x401C5820, packed)
        finally:
            os.close(opened)
    return found


def calls(numbers: list[int]) -> dict[int, str]:
    """What each system call answers to nonsense."""
    results = {}
    for number in numbers:
        ctypes.set_errno(0)
        result = _libc.syscall(number, -1, -1, -1, -1, -1, -1)
        results[number] = errno.errorcode.get(ctypes.get_errno(), "?") if result == -1 else "done"
    return results


def powers(_: object) -> dict[str, Any]:
    """What its user is and may."""
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines())
    families = {}
    for family in range(46):
        families[family] = _outcome(socket.socket, family, socket.SOCK_RAW)
    return {
        "user": os.getuid(),
        "status": {name: status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs")},
        "seccomp": status["Seccomp"],
        "root": _outcome(lambda: os.setuid(0)),
        "give away": _outcome(lambda: os.chown(".", 0, 0)),
        "device": _outcome(lambda: os.mknod("disk", 0o60600, os.makedev(254, 0))),
        "user namespace": _outcome(lambda: _call(_libc.unshare(0x10000000))),
        "clone": _outcome(lambda: _call(_libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0))),
        "typing": _outcome(lambda: fcntl.ioctl(0, 0x5412, b"x")),
        "netlink": _outcome(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()),
        "netfilter": _outcome(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12).close()),
        "families": families,
        "interfaces": [name for _, name in socket.if_nameindex()],
        "sysctl": _outcome(lambda: open("/proc/sys/net/ipv4/ip_forward", "w").close()),
    }


def inherited(_: object) -> dict[str, list[str]]:
    """What PocketBase's open descriptors lead to, and whether folders or files outside can be had through them."""
    pid = os.getppid()
    found: dict[str, list[str]] = {"open": [], "written": [], "climbed": []}
    for name in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{name}"
        target = os.readlink(path)
        found["open"].append(target)
        if target.startswith("/instances/") or not target.startswith("/"):
            continue
        if target != "/dev/null" and _outcome(os.open, path, os.O_WRONLY) == "done":
            found["written"].append(target)
        if _outcome(os.listdir, f"{path}/..") == "done":
            found["climbed"].append(target)
    return found


def link(order: dict[str, str]) -> dict[str, str]:
    """Put symbolic links there, by name: what they lead to."""
    return {name: _outcome(os.symlink, order[name], name) for name in order}


def _call(result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), "")


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](json.loads(sys.argv[2]))))
