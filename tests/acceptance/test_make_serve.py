"""A newcomer's first minutes: clone, `make serve`, a first PocketBase; again; Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.ports import free_port
from tests.server import superuser_token, until

ROOT = Path(__file__).resolve().parents[2]
#: Seconds for virtual environment, locked dependencies, release and first instance on a slow machine.
FIRST = 300

pytestmark = pytest.mark.timeout(FIRST + 120)


class Newcomer:
    """Somebody with a fresh clone and an empty home."""

    def __init__(self, place: Path) -> None:
        self.clone = place / "pocketfleet"
        self.home = place / "home"
        self.home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.clone)], check=True)
        self.port = free_port()
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("POCKETFLEET_", "VIRTUAL_ENV", "XDG_", "DJANGO_", "PYTEST_"))
        }
        # what is set up for pip on this machine stays, though HOME is another one
        config = Path.home() / ".config" / "pip" / "pip.conf"
        if config.exists():
            self.environment.setdefault("PIP_CONFIG_FILE", str(config))
        self.environment.setdefault("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip"))
        self.environment |= {
            "HOME": str(self.home),
            "POCKETFLEET_PORT": str(self.port),
            "POCKETFLEET_GUEST_PORT": str(free_port()),
        }
        self.output = place / "output"
        self.process: subprocess.Popen[bytes] | None = None

    def make_serve(self, timeout: float) -> float:
        """Type `make serve` and wait for the greeting; answers the seconds that took."""
        began = time.monotonic()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                ["make", "serve"],
                cwd=self.clone,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = self.process
        until(lambda: "Next:" in self.said() or process.poll() is not None, timeout, f"the greeting: {self.said()}")
        assert process.poll() is None, self.said()
        return time.monotonic() - began

    def ctrl_c(self) -> int:
        """What a terminal does: SIGINT to the whole foreground group."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGINT)
        code = self.process.wait(60)
        self.process = None
        return code

    def said(self) -> str:
        """What stood on the terminal so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def leftovers(self) -> list[psutil.Process]:
        """Processes that run from the clone or keep something in the home."""
        marks = (str(self.clone), str(self.home))
        found = []
        for process in psutil.process_iter():
            try:
                words = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if process.pid != os.getpid() and any(mark in words for mark in marks):
                found.append(process)
        return found

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line, typed in the clone."""
        return subprocess.run(
            [".venv/bin/pocketfleet", *words],
            cwd=self.clone,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def client(self, label: str) -> httpx.Client:
        """A client of one host below localhost, or of the dashboard for ""."""
        host = f"{label}.localhost:{self.port}" if label else f"localhost:{self.port}"
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers={"host": host}, trust_env=False, timeout=60
        )


@pytest.fixture(scope="module")
def newcomer() -> Iterator[Newcomer]:
    """One clone for all; removed with everything that runs from it."""
    if shutil.which("git") is None or shutil.which("make") is None:
        pytest.skip("SKIPPED LOUDLY: the journey of a fresh clone needs git and make")
    place = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    somebody = Newcomer(place)
    try:
        yield somebody
    finally:
        for process in somebody.leftovers():
            process.kill()
        shutil.rmtree(place, ignore_errors=True)


def test_from_a_clone_to_the_first_answer(newcomer: Newcomer) -> None:
    newcomer.make_serve(FIRST)
    said = newcomer.said()
    assert f"http://localhost:{newcomer.port}" in said, said
    assert (newcomer.home / ".pocketfleet" / "control.sqlite3").exists()

    address = re.search(rf"http://(\S+)\.localhost:{newcomer.port}", said)
    superuser = re.search(r"Superuser\s+(\S+)\s+Password\s+(\S+)", said)
    release = re.search(r"PocketBase (\d+\.\d+\.\d+)", said)
    assert address, said
    assert superuser, said
    assert release, said
    with newcomer.client(address[1]) as client:
        assert client.get("/api/health").status_code == 200
        assert superuser_token(client, release[1], superuser[1], superuser[2])


def test_the_sign_in_link_works_once(newcomer: Newcomer) -> None:
    link = re.search(rf"Sign in\s+http://localhost:{newcomer.port}(\S+)", newcomer.said())
    assert link, newcomer.said()
    page = {"accept": "text/html"}
    with newcomer.client("") as browser, newcomer.client("") as thief:
        assert browser.get(link[1], headers=page, follow_redirects=True).status_code == 200
        assert browser.get("/", headers=page).status_code == 200
        assert thief.get(link[1], headers=page, follow_redirects=True).status_code != 500
        assert thief.get("/", headers=page).status_code in (302, 303), "the link signed somebody in twice"


def test_the_next_command_is_one_that_works(newcomer: Newcomer) -> None:
    words = re.search(r"Next: (.+?)\s{2,}", newcomer.said())
    assert words, newcomer.said()
    command, *rest = words[1].split()
    assert command == ".venv/bin/pocketfleet", words[1]
    done = newcomer.command(*rest)
    assert done.returncode == 0, done.stdout + done.stderr
    with newcomer.client(rest[-1]) as client:
        assert client.get("/api/health").status_code == 200


def test_ctrl_c_leaves_no_process_and_a_second_start_takes_seconds(newcomer: Newcomer) -> None:
    newcomer.ctrl_c()
    assert [process.cmdline() for process in newcomer.leftovers()] == []
    assert "Traceback" not in newcomer.said()
    took = newcomer.make_serve(60)
    assert took < 20, f"the second `make serve` took {took:.0f} s"
    with newcomer.client("hello") as client:
        assert client.get("/api/health").status_code == 200
    assert "Superuser" not in newcomer.said(), "a second first instance"
    newcomer.ctrl_c()
    assert [process.cmdline() for process in newcomer.leftovers()] == []
