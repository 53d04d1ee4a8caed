"""The program beside a rehearsed PocketBase: starts it, leads requests to it, and takes in the mail and web it sends.

Run by path with `python -I -S`, so it imports the standard library alone, and little of it. It stands in the same
(empty) network as PocketBase but, unlike PocketBase, sees the machine's files: that is how a unix socket of the host
reaches a port inside. Its own standard input carries orders, its standard output one JSON document a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_PIECE = 65536
#: Bytes of a request's head or a mail that are looked at.
_HEAD = 16384
#: Attempts that are told one by one; more are only counted by what they would have said.
_MOST_ATTEMPTS = 500
#: Receivers of a mail that are told.
_MOST_RECEIVERS = 50
#: Bytes of PocketBase's output that are kept.
_MOST_OUTPUT = 16 * 1024 * 1024
#: prctl(2)
_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Answers PocketBase's exit code, as a shell would put it; 125 where it could not be started."""
    order = json.loads(sys.stdin.buffer.readline())
    _die_with_parent(order["plain"])
    os.chdir(order["control"])
    tell = _Teller()
    _listen(socket.AF_INET, (order["address"], order["mail_port"]), lambda peer: _take_mail(peer, tell))
    _listen(socket.AF_INET, (order["address"], order["web_port"]), lambda peer: _take_web(peer, tell))
    target = (order["address"], order["port"])
    _listen(socket.AF_UNIX, "socket", lambda peer: _forward(peer, target))
    output = os.open("output", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        child, pid, status = _start(order)
        _become(order["user"])
    except (OSError, ValueError) as error:
        tell("failed", text=str(error))
        return 125
    tell("started", pid=pid)
    threading.Thread(target=_obey, args=(child, pid), daemon=True).start()
    printing = threading.Thread(target=_keep_output, args=(child.stdout, output), daemon=True)
    printing.start()
    with status:
        code = child.wait()
    # what it started itself may still hold the pipe
    printing.join(1.0)
    tell("ended", code=code if code <= 128 else 128 - code)
    return 0


class _Teller:
    """One line a time, from whichever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = 0

    def __call__(self, kind: str, **facts: Any) -> None:
        with self._lock, contextlib.suppress(OSError):
            os.write(1, json.dumps({"kind": kind, **facts}).encode() + b"\n")

    def attempt(self, kind: str, **facts: Any) -> None:
        self._told += 1
        if self._told <= _MOST_ATTEMPTS:
            self(kind, **facts)


def _die_with_parent(plain: bool) -> None:
    """bubblewrap sees to it; without one it is for us to ask. Standard input ends as well when the parent dies."""
    if plain:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _start(order: dict[str, Any]) -> tuple[subprocess.Popen[bytes], int, Any]:
    """The child, PocketBase's own pid, and what must stay open until the child has ended.

    With bubblewrap between us, bubblewrap tells the pid, and later the exit code, to a pipe: closed, it would end it.
    """
    reading, writing = os.pipe()
    rules = os.open(os.devnull if order["plain"] else "filter", os.O_RDONLY)
    names = {"{status}": str(writing), "{filter}": str(rules)}
    handed, environment = [writing, rules], order["environment"]
    if order["user"] is not None:
        handed.append(_in_memory(environment))
        names["{environment}"] = str(handed[-1])
        environment = {"PATH": os.defpath, "LD_LIBRARY_PATH": order["libraries"]}
    child = subprocess.Popen(
        [names.get(part, part) for part in order["command"]],
        cwd=order["cwd"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=handed,
        preexec_fn=lambda: _limit(order),
    )
    for each in handed:
        os.close(each)
    status = open(reading, "rb")  # noqa: PTH123, SIM115
    line = b"" if order["plain"] else status.readline()
    if not line and not order["plain"]:
        raise OSError(f"its sandbox did not start: {child.communicate()[0].decode(errors='replace').strip()[-300:]}")
    return child, json.loads(line)["child-pid"] if line else child.pid, status


def _become(user: int | None) -> None:
    """All is opened: from here on, what PocketBase sends is read with no more rights than it has itself."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)


def _in_memory(environment: dict[str, str]) -> int:
    """As bubblewrap's flags, at the end of nobody's command line."""
    flags = ["--clearenv", *(part for item in environment.items() for part in ("--setenv", *item))]
    descriptor = os.memfd_create("environment")
    os.write(descriptor, b"".join(os.fsencode(flag) + b"\0" for flag in flags))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _keep_output(printed: Any, output: int) -> None:
    """Into a file, up to so many bytes; all else is read and forgotten, since a full pipe would hold PocketBase up."""
    left = _MOST_OUTPUT
    while piece := os.read(printed.fileno(), _PIECE):
        with contextlib.suppress(OSError):
            os.write(output, piece[:left])
        left = max(0, left - len(piece))


def _limit(order: dict[str, Any]) -> None:
    if order["plain"]:
        _die_with_parent(True)
    for name, limit in order["limits"].items():
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def _obey(child: subprocess.Popen[bytes], pid: int) -> None:
    """`term` and `kill`, a line each; the end of the input is the end of everything."""
    for line in sys.stdin.buffer:
        if line == b"term\n":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if line == b"kill\n":
            child.kill()
    child.kill()
    child.wait()
    os._exit(0)


def _listen(family: int, address: Any, take: Callable[[socket.socket], None]) -> None:
    server = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(address)
    server.listen(64)

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:  # no more descriptors: some are given back soon
                time.sleep(0.05)
                continue
            try:
                threading.Thread(target=_guarded, args=(take, peer), daemon=True).start()
            except RuntimeError:  # no more threads: PocketBase has started as many processes as it may
                peer.close()

    threading.Thread(target=serve, daemon=True).start()


def _guarded(take: Callable[[socket.socket], None], peer: socket.socket) -> None:
    with peer, contextlib.suppress(OSError):
        take(peer)


def _forward(peer: socket.socket, target: tuple[str, int]) -> None:
    # create_connection would load a codec, from where the instance's user may not read
    with socket.socket() as guest:
        guest.connect(target)
        guest.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_pump, args=(guest, peer), daemon=True)
        back.start()
        _pump(peer, guest)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _take_web(peer: socket.socket, tell: _Teller) -> None:
    """A proxy that notes what is asked for and hangs up: to PocketBase as if there were no network."""
    peer.settimeout(5)
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD and (piece := peer.recv(_PIECE)):
        head += piece
    method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    target = rest.partition(" ")[0].partition("?")[0]
    if method:
        tell.attempt("web", method=method[:10], target=target[:300])


def _take_mail(peer: socket.socket, tell: _Teller) -> None:
    """As much of SMTP as PocketBase speaks: the mail is taken, its receivers and subject noted, and it goes nowhere."""
    peer.settimeout(5)
    receivers: list[str] = []
    lines = peer.makefile("rb")

    def say(text: str) -> None:
        peer.sendall(text.encode() + b"\r\n")

    say("220 rehearsal")
    while line := lines.readline(_HEAD):
        verb = line[:4].upper().strip()
        if verb == b"RCPT" and len(receivers) < _MOST_RECEIVERS:
            receivers.append(line.partition(b":")[2].decode("latin-1").strip().strip("<>")[:200])
        if verb == b"QUIT":
            return say("221 bye")
        if verb == b"DATA":
            say("354 go on")
            tell.attempt("mail", to=receivers, subject=_read_subject(lines))
            receivers = []
        say("250 rehearsal")
    return None


def _read_subject(lines: Any) -> str:
    """Reads a whole mail."""
    subject, in_head = "", True
    while (line := lines.readline(_HEAD)) and line.rstrip(b"\r\n") != b".":
        in_head = in_head and line.strip() != b""
        if in_head and line[:8].lower() == b"subject:":
            subject = line[8:].decode("latin-1").strip()[:200]
    return subject


if __name__ == "__main__":
    sys.exit(main())
