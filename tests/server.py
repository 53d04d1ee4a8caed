"""A whole pocketfleet for tests and benchmarks: `pocketfleet serve` as a process, on a home and ports of its own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from pocketfleet.config import Config
from pocketfleet.errors import SandboxUnavailable
from pocketfleet.runtime.sandbox import rights
from tests.pocketbases import NEWEST, executable
from tests.ports import free_port

MODULES = {"node": "pocketfleet.node", "control": "pocketfleet.control", "edge": "haproxy"}
EMAIL = "owner@example.org"
PASSWORD = "correct horse battery"


class Server:
    """`pocketfleet serve`, with ways to talk to it as a user does and to kill what it is made of."""

    def __init__(
        self,
        home: Path,
        *,
        versions: Sequence[str] = (NEWEST,),
        counted: bool = True,
        extra_environment: Mapping[str, str] | None = None,
        **settings: object,
    ) -> None:
        """`versions` lie in a folder that is the only source of releases, unless the settings say otherwise.

        `counted`: starts are written down by a wrapper, which costs each a millisecond; else `starts` is 0. The wrapper
        is a script that writes outside, so the sandbox is off then; else it is on where this machine can.
        """
        self.home = home
        self.port = int(str(settings.pop("port", 0))) or free_port()
        self.starts_file = home.with_name(home.name + "-starts")
        releases = home.with_name(home.name + "-releases")
        for version in versions:
            make = _counting_executable if counted else _plain_executable
            make(releases / version / "pocketbase", executable(version), self.starts_file)
        self.releases = releases
        defaults: dict[str, object] = {
            "home": home,
            "port": self.port,
            "guest_port": free_port(),
            "release_sources": "folder",
            "release_folder": releases,
            "first_instance": "",
            "log_level": "DEBUG",
            "sandbox": "off" if counted else "auto",
        }
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("POCKETFLEET_")}
        self.environment |= {f"POCKETFLEET_{key.upper()}": str(value) for key, value in (defaults | settings).items()}
        self.environment |= extra_environment or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.output = home.with_name(home.name + "-output")

    # --- its life ----------------------------------------------------------------------------------------------

    def start(self, timeout: float = 60, *, catalogue: bool = True) -> Server:
        """Start it and wait until it greets and, with `catalogue`, knows releases."""
        self._lay_tables()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pocketfleet", "serve"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = self.process
        until(lambda: "Next:" in self.said() or process.poll() is not None, timeout, "the greeting")
        if process.poll() is not None:
            raise AssertionError(f"serve ended with {process.returncode}:\n{self.said()}\n{self.diagnosis()}")
        if catalogue:
            until(lambda: bool(self.api.get("/releases").json()["items"]), 30, "releases in the catalogue")
        return self

    def _lay_tables(self) -> None:
        """A fresh home gets its tables from a copy: making them takes a second, dozens of times in a suite.

        No row is in it, so everything else of a first start happens.
        """
        path = self.home / "control.sqlite3"
        if not self.environment.get("POCKETFLEET_DATABASE_URL") and not path.exists():
            with contextlib.suppress(OSError):
                shutil.copyfile(_empty_tables(), path)

    def stop(self) -> int:
        """SIGTERM, as a service manager would; answers the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        return code

    def kill_all(self) -> None:
        """SIGKILL to serve, edge, node and control at once, guests live on."""
        assert self.process is not None
        serve = psutil.Process(self.process.pid)
        ours = [serve]
        for name in MODULES:
            with contextlib.suppress(LookupError):
                process = psutil.Process(self.pid(name))
                ours += [process, *(process.children() if name == "edge" else [])]
        for process in ours:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(10)
        self.process = None

    def drop(self, everybody: Sequence[psutil.Process]) -> None:
        """SIGKILL to all of these, which are its `leftovers`, and to what runs in its sandbox."""
        for process in everybody:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everybody, timeout=10)
        if self.process is not None:
            self.process.wait(10)
            self.process = None
        self._clear_sandbox()

    def clean(self) -> None:
        """End everything that is left of it, guests included, and remove its files."""
        with contextlib.suppress(Exception):
            self.stop()
        self.drop(self.leftovers())
        for path in (self.home, self.releases):
            shutil.rmtree(path, ignore_errors=True)
        self.output.unlink(missing_ok=True)
        self.starts_file.unlink(missing_ok=True)

    def _clear_sandbox(self) -> None:
        """What the next start on this home would sweep, there being none: a test may have killed everything."""
        with contextlib.suppress(SandboxUnavailable, OSError):
            means = rights.means(Config(home=self.home))
            means.cgroups.sweep(())
            means.cgroups.close()
            means.firewall.unload()

    def leftovers(self) -> list[psutil.Process]:
        """Processes that have this home in their command line or environment."""
        mark = str(self.home)
        # those in the sandbox have no path of ours in their command line
        guests = {pid for path in self.home.glob("instances/*") for pid in self.guest_pids(path.name)}
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                named = any(mark in word for word in process.cmdline())
                ours = named or process.pid in guests or process.environ().get("POCKETFLEET_HOME") == mark
                if ours and process.pid != os.getpid():
                    found.append(process)
        return found

    def said(self) -> str:
        """What serve has printed so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def diagnosis(self) -> str:
        """The ends of our own processes' logs, for a failed test."""
        parts = []
        for path in sorted((self.home / "logs").glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-30:]
            parts.append(f"--- {path.name}\n" + "\n".join(lines))
        return "\n".join(parts)

    # --- what it is made of ------------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        """The pid of `node`, `control` or `edge` (HAProxy's master)."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if any(MODULES[name] in word for word in child.cmdline()[:4]):
                    return child.pid
        raise LookupError(f"{name} does not run")

    def kill(self, name: str) -> None:
        """SIGKILL to one of our processes; for the edge to HAProxy's master and all its workers."""
        process = psutil.Process(self.pid(name))
        victims = [process, *(process.children() if name == "edge" else [])]
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()

    def reload_edge(self) -> None:
        """HAProxy reads its configuration anew, as an operator's change makes it; old workers end in their own time."""
        master = psutil.Process(self.pid("edge"))
        before = {worker.pid for worker in master.children()}

        def reloaded() -> bool:
            return bool({worker.pid for worker in master.children()} - before)

        # a master that has only just started itself does not hear it yet
        for _ in range(4):
            master.send_signal(signal.SIGUSR2)
            with contextlib.suppress(AssertionError):
                until(reloaded, 10, "a new worker of the edge")
                return
        raise AssertionError("the edge does not reload")

    def revived(self, name: str, before: int, timeout: float = 30) -> None:
        """Wait until `node`, `control` or `edge` runs as another process than `before` and answers."""

        def answers() -> bool:
            with contextlib.suppress(LookupError, psutil.Error, OSError, httpx.HTTPError):
                if self.pid(name) == before:
                    return False
                if name == "node":
                    with socket.socket(socket.AF_UNIX) as probe:
                        probe.connect(str(self.home / "edge" / "gate.sock"))
                    return True
                return self.api.get("/server").status_code == 200
            return False

        until(answers, timeout, f"{name} to run again")

    def kill_guest(self, instance_id: str) -> None:
        """SIGKILL to the instance's PocketBase, as the kernel does when memory runs out."""
        pids = self.guest_pids(instance_id)
        assert pids, f"no PocketBase of {instance_id} runs\n{self.diagnosis()}"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def folder(self, instance_id: str) -> Path:
        """The instance's own folder."""
        return self.home / "instances" / instance_id

    def seen_inside(self, instance_id: str) -> Path:
        """The instance's own folder as its PocketBase sees it; a rehearsal's sees it elsewhere."""
        return Path("/instances") / instance_id if "Isolation   on" in self.said() else self.folder(instance_id)

    def put(self, instance_id: str, path: str, text: str) -> None:
        """Write a file of the tenant's, such as `pb_hooks/main.pb.js`."""
        target = self.folder(instance_id) / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)

    def guest_pids(self, instance_id: str) -> list[int]:
        """Pids of the running PocketBases of one instance."""
        # in the sandbox the folder is seen without what is before it
        mark = f"instances/{instance_id}"
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                words = process.cmdline()
                if (
                    process.status() != psutil.STATUS_ZOMBIE
                    and any(mark in word for word in words)
                    and "serve" in words[1:2]
                ):
                    found.append(process.pid)
        return found

    def starts(self, instance_id: str) -> int:
        """How often PocketBase was started to serve this instance, counted outside of pocketfleet."""
        if not self.starts_file.exists():
            return 0
        mark = f"instances/{instance_id}/"
        return sum(mark in line and " serve " in line for line in self.starts_file.read_text().splitlines())

    # --- how one talks to it -----------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """The operator's token of this start."""
        return str(json.loads((self.home / "operator.json").read_text())["token"])

    @property
    def api(self) -> httpx.Client:
        """The REST API, through the edge, signed in as the operator."""
        headers = {"authorization": f"Bearer {self.token}"}
        return self._client(f"localhost:{self.port}", headers=headers, path="/api/v1")

    def client(self, label: str, **options: Any) -> httpx.Client:
        """A client of one instance, by name or id, through the edge."""
        return self._client(f"{label}.localhost:{self.port}", **options)

    def _client(
        self, host: str, *, headers: Mapping[str, str] | None = None, path: str = "", **options: Any
    ) -> httpx.Client:
        options = {"timeout": 60, "trust_env": False, "verify": False} | options
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}{path}", headers={"host": host, **(headers or {})}, **options
        )

    def raw(self, request: bytes, timeout: float = 10) -> bytes:
        """What the edge answers to these very bytes until it closes or is silent for `timeout` seconds."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout) as connection:
            connection.sendall(request)
            answer = b""
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while piece := connection.recv(65536):
                    answer += piece
        return answer

    def edge_says(self, command: str) -> str:
        """HAProxy's answer to a command of its Runtime API."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.home / "edge" / "runtime.sock"))
            connection.sendall(command.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer.decode()

    def log(self, reference: str, tail: int = 1000) -> list[dict[str, Any]]:
        """The newest lines of an instance's log."""
        answer = self.api.get(f"/instances/{reference}/logs", params={"tail": tail})
        assert answer.status_code == 200, answer.text
        lines: list[dict[str, Any]] = answer.json()["items"]
        return lines

    def cli(
        self,
        *words: str,
        check: bool = True,
        given: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """The command line, as the operator on this machine; with another `environment`, as somebody else."""
        done = subprocess.run(
            [sys.executable, "-m", "pocketfleet", *words],
            env=self.environment if environment is None else dict(environment),
            capture_output=True,
            text=True,
            input=given,
            timeout=300,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}\n{self.diagnosis()}"
            )
        return done

    def create(self, name: str, version: str = NEWEST) -> dict[str, Any]:
        """A ready instance with the superuser EMAIL and PASSWORD."""
        answer = self.api.post(
            "/instances", json={"name": name, "range": version, "email": EMAIL, "password": PASSWORD}
        )
        assert answer.status_code == 202, answer.text
        self.finished(answer.json()["operation"]["id"])
        return self.show(name)

    def finished(self, operation_id: str, state: str = "succeeded", timeout: float = 60) -> dict[str, Any]:
        """Wait for an operation's end and require how it ended."""
        operation: dict[str, Any] = {}

        def ended() -> bool:
            operation.update(self.api.get(f"/operations/{operation_id}").json())
            return operation["state"] not in ("pending", "running")

        until(ended, timeout, f"the end of operation {operation_id}")
        assert operation["state"] == state, f"{operation}\n{self.diagnosis()}"
        return operation

    def show(self, reference: str) -> dict[str, Any]:
        """One instance as the API shows it."""
        answer = self.api.get(f"/instances/{reference}")
        assert answer.status_code == 200, answer.text
        content: dict[str, Any] = answer.json()
        return content

    def reaches(self, reference: str, state: str, timeout: float = 30) -> None:
        """Wait until the instance is in this state."""
        until(lambda: self.show(reference)["state"] == state, timeout, f"{reference} to be {state}")


def until(condition: Callable[[], bool], timeout: float, what: str) -> None:
    """Wait for a condition. Raises AssertionError with what was waited for.

    It is asked for every 20 ms, and more and more seldom: a question is work for the server that is waited for.
    """
    deadline, pause = time.monotonic() + timeout, 0.02
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain for {what}")
        time.sleep(pause)
        pause = min(1.2 * pause, 0.25)


@contextlib.contextmanager
def running(**settings: Any) -> Iterator[Server]:
    """A started server, removed with everything of it afterwards."""
    home = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    server = Server(home, **settings)
    try:
        yield server.start()
    finally:
        server.clean()


def superuser_token(client: httpx.Client, version: str, email: str = EMAIL, password: str = PASSWORD) -> str:
    """Sign in to an instance's PocketBase as superuser, as its admin page does."""
    before = tuple(map(int, version.split(".")[:2])) < (0, 23)
    path = "/api/admins/auth-with-password" if before else "/api/collections/_superusers/auth-with-password"
    answer = client.post(path, json={"identity": email, "password": password})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["token"])


def notes_collection(version: str) -> Mapping[str, Any]:
    """The body that makes a public collection `notes` with one text field, in this release's own form."""
    field = {"name": "text", "type": "text"}
    fields = {"schema": [field]} if version.startswith("0.22.") else {"fields": [field]}
    rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
    return {"name": "notes", "type": "base", **fields, **rules}


def make_notes(client: httpx.Client, version: str) -> None:
    """Sign in and make the collection `notes`."""
    token = superuser_token(client, version)
    answer = client.post("/api/collections", json=notes_collection(version), headers={"authorization": token})
    assert answer.status_code == 200, answer.text


@functools.cache
def _empty_tables() -> Path:
    """A database with every table and no row, made once in each process of tests."""
    folder = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("POCKETFLEET_")}
    environment |= {"POCKETFLEET_HOME": str(folder), "DJANGO_SETTINGS_MODULE": "pocketfleet.web.settings"}
    command = [sys.executable, "-m", "django", "migrate", "--verbosity", "0", "--no-input"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return folder / "control.sqlite3"


def _counting_executable(path: Path, real: Path, starts: Path) -> None:
    """A release's executable that writes down each call before it becomes the real one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$$ $*" >> {starts}\nexec {real} "$@"\n')
    path.chmod(0o755)


def _plain_executable(path: Path, real: Path, _: Path) -> None:
    """A release's executable itself, as users have it: for measuring time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.hardlink_to(real)
    except OSError:
        shutil.copy2(real, path)
