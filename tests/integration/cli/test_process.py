"""The command line as a process: how fast it starts, where it connects, what it leaves on its streams."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.unit.cli.conftest import instance, operation

COMMAND = [sys.executable, "-m", "pocketfleet"]


class Fleet(BaseHTTPRequestHandler):
    """Has one instance, and makes another."""

    def do_GET(self) -> None:
        """A page, or the events of an operation."""
        if self.path.endswith("/events"):
            step = {"name": "release", "state": "running", "progress": 0.5, "message": "fetching half of it"}
            states = [operation("running", steps=[step]), operation()]
            events = [f"event: operation\ndata: {json.dumps(state)}\n\n" for state in states]
            return self._send(200, "text/event-stream", "".join(events).encode())
        if self.path.endswith("/instances/abcdefghij12345"):
            return self._send(200, "application/json", json.dumps(instance()).encode())
        return self._send(200, "application/json", json.dumps({"items": [instance()], "total": 1}).encode())

    def do_POST(self) -> None:
        """A new instance."""
        self.rfile.read(int(self.headers["content-length"]))
        superuser = {"email": "admin@shop.localhost", "password": "generated-once"}
        made = {"instance": instance(), "operation": operation("pending", steps=[]), "superuser": superuser}
        self._send(202, "application/json", json.dumps(made).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


class OnSix(ThreadingHTTPServer):
    """The same on ::1."""

    address_family = socket.AF_INET6


def serving(kind: type[ThreadingHTTPServer], address: str) -> Iterator[int]:
    with kind((address, 0), Fleet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def port() -> Iterator[int]:
    """A server on 127.0.0.1."""
    yield from serving(ThreadingHTTPServer, "127.0.0.1")


@pytest.fixture
def port_on_six() -> Iterator[int]:
    """A server on ::1 alone."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        yield from serving(OnSix, "::1")
    except OSError:
        pytest.skip("no IPv6 here")


def environment(home: Path, url: str) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    (home / "operator.json").write_text(json.dumps({"url": url, "token": "pfo_x"}))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("POCKETFLEET_", "XDG_"))}
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    return kept | proxies | {"POCKETFLEET_HOME": str(home), "HOME": str(home), "COLUMNS": "120"}


def run(words: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("host", ["localhost", "fleet.localhost", "fleet.test"])
def test_the_server_of_this_machine_is_found_without_dns_or_proxy(host: str, port: int, tmp_path: Path) -> None:
    done = run(["list", "--json"], environment(tmp_path / "h", f"http://{host}:{port}"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["name"] == "shop"


def test_a_server_on_ipv6_alone_is_found(port_on_six: int, tmp_path: Path) -> None:
    done = run(["list", "--json"], environment(tmp_path / "h", f"http://localhost:{port_on_six}"))
    assert done.returncode == 0, done.stderr


def test_nobody_there_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        start = time.monotonic()
        done = run(["list"], environment(tmp_path / "h", f"http://localhost:{unheard.getsockname()[1]}"))
    assert done.returncode == 1
    assert "Nothing answers" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - start < 10


def test_a_list_takes_no_more_than_a_blink(port: int, tmp_path: Path) -> None:
    env = environment(tmp_path / "h", f"http://localhost:{port}")
    bare, listed = [], []
    for _ in range(5):
        bare.append(processor_seconds([sys.executable, "-c", "import typer, pydantic"], env))
        listed.append(processor_seconds([*COMMAND, "list"], env))
    # processor time, since it hardly waits for anything; where that, too, is slow, three times what Typer alone takes
    assert min(listed) < max(0.4, 3 * min(bare))


def processor_seconds(command: list[str], env: dict[str, str]) -> float:
    """What a process took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("words", [["--version"], ["list"]])
def test_nothing_heavy_is_imported(words: list[str], port: int, tmp_path: Path) -> None:
    env = environment(tmp_path / "h", f"http://localhost:{port}")
    code = (
        "import sys; sys.argv[1:] = sys.argv[2:]\n"
        "from pocketfleet.cli.app import run\n"
        "run()\n"
        "heavy = {'django', 'pygments', 'bcrypt', 'uvicorn', 'pocketfleet.serve', 'nodesemver', 'asyncio'}\n"
        "print('heavy', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "x", *words], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "heavy []", done.stderr


def test_a_closed_pipe_is_no_crash(port: int, tmp_path: Path) -> None:
    env = environment(tmp_path / "h", f"http://localhost:{port}")
    shell = " ".join([*COMMAND, "list", "--json", "|", "true"])
    done = subprocess.run(["bash", "-c", shell], env=env, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def on_a_terminal(words: list[str], env: dict[str, str]) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *words], env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        pieces = []
        try:
            while piece := os.read(ours, 65536):
                pieces.append(piece)
        except OSError:  # Linux ends a terminal with EIO
            pass
        process.wait(30)
    os.close(ours)
    return b"".join(pieces).decode()


def test_a_terminal_gets_a_table_with_colours_unless_it_wants_none(port: int, tmp_path: Path) -> None:
    env = environment(tmp_path / "h", f"http://localhost:{port}") | {"TERM": "xterm-256color"}
    coloured = on_a_terminal(["list"], env)
    assert re.search(r"\x1b\[[0-9;]*m", coloured)
    assert "shop" in coloured
    without = on_a_terminal(["list"], env | {"NO_COLOR": "1"})
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", without)
    assert "shop" in without
    assert "\x1b" not in on_a_terminal(["list", "--json"], env)


def test_a_terminal_sees_the_steps_of_an_operation_live(port: int, tmp_path: Path) -> None:
    env = environment(tmp_path / "h", f"http://localhost:{port}") | {"TERM": "xterm-256color"}
    shown = on_a_terminal(["create", "shop"], env)
    assert "fetching half of it" in shown
    assert "generated-once" in shown
    elsewhere = run(["create", "shop"], env)
    assert "generated-once" in elsewhere.stdout
    assert elsewhere.stderr == ""


def test_the_shell_completes_verbs_and_names(port: int, tmp_path: Path) -> None:
    env = environment(tmp_path / "h", f"http://localhost:{port}")
    asked = {"_POCKETFLEET_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    verbs = run([], env | asked | {"COMP_WORDS": "pocketfleet sh"})
    assert verbs.stdout.split() == ["show"]
    names = run([], env | asked | {"COMP_WORDS": "pocketfleet show sh", "COMP_CWORD": "2"})
    assert names.stdout.split() == ["shop"]
