"""Runs edge, node and control together: starts them in order, restarts what dies, stops them in order."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
from rich.console import Console
from rich.markup import escape

from pocketfleet import __version__
from pocketfleet.config import Config
from pocketfleet.diagnostics import log_to_file, rotate_output
from pocketfleet.errors import DiskTrouble, HomeInUse, NotAnswering, PocketfleetError
from pocketfleet.plain_http import plain_client
from pocketfleet.routing import edge
from pocketfleet.runtime.sandbox import rights

log = logging.getLogger("pocketfleet.serve")

#: Seconds until a dead process is started again, by how often in a row it died young.
RESTART_AFTER = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
#: A process that lived this many seconds is no longer young.
YOUNG = 10.0
#: Seconds for control and node to answer the first time; migrations of a large database are before that.
READY_WITHIN = 60.0
#: inotify instances that are enough for most servers; kernels come with 128.
MANY_WATCHERS = 1024
#: Seconds between two looks for guests that ended after their node did.
REAP_EVERY = 2.0
#: Seconds between two looks whether what our processes print has grown too long.
ROTATE_EVERY = 10.0
#: Control's API, at its socket.
_CONTROL = "http://control/api/v1"
#: Seconds that requests under way get when everything stops.
LAST_REQUESTS = 2.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main(config: Config) -> int:
    """Run until SIGINT or SIGTERM; answers the exit code."""
    console = Console(stderr=False, highlight=False, soft_wrap=True)
    try:
        with _locked_home(config):
            return asyncio.run(Serve(config, console).run())
    except PocketfleetError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]✗[/red] {escape(error.detail)}")
        return 1


@dataclass
class Child:
    """One of our three processes, restarted whenever it ends unasked."""

    name: str
    argv: list[str]
    #: what it should get from us when serve itself is killed: node must not take its guests along
    on_our_death: signal.Signals
    log: Path
    process: asyncio.subprocess.Process | None = None
    began: float = 0.0
    died_young: int = 0

    async def start(self, environment: dict[str, str]) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches serve alone."""
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
                preexec_fn=_dies_with_us(self.on_our_death),
            )
        self.began = time.monotonic()

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it lives."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def ended(self, within: float) -> bool:
        """Whether it ended within so many seconds."""
        if self.process is None:
            return True
        try:
            await asyncio.wait_for(self.process.wait(), within)
        except TimeoutError:
            return False
        return True


class Serve:
    """The three processes of one home."""

    def __init__(self, config: Config, console: Console) -> None:
        self.config = config
        self.console = console
        self.stopping = asyncio.Event()
        #: whether instances are locked in, and why not
        self.sandboxed, self.unsafe = rights.choose(config)
        # decided once, so that a node that is started again decides no other way
        chosen = {"POCKETFLEET_SANDBOX": "on" if self.sandboxed else "off"}
        self.environment = os.environ | config.environment() | chosen
        self.children: dict[str, Child] = {}
        #: children that had ended at the last look, and the timer of the next one
        self._ended: set[int] = set()

    async def run(self) -> int:
        """1 the edge's files and port, 2 tables, 3 operator's file, 4 all three, 5 the greeting; then watch; then stop.

        The port comes first: where it is taken, the next run must still be the first one.
        """
        self._catch_signals()
        _adopt_orphans()
        self._make_children()
        prepared = await self._prepare()
        if self.stopping.is_set():
            return 0
        self._write_operator_file()
        watchers = [
            asyncio.create_task(self._reap_orphans(), name="reap orphans"),
            asyncio.create_task(self._rotate_output(), name="rotate output"),
        ]
        try:
            for child in self.children.values():
                await child.start(self.environment)
                watchers.append(asyncio.create_task(self._watch(child), name=f"watch {child.name}"))
            await self._until_ready()
            await self._unless_stopped(self._greet(prepared))
            await self.stopping.wait()
        finally:
            self.stopping.set()
            for watcher in watchers:
                watcher.cancel()
            await self._stop()
        return 0

    # --- start -------------------------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stopping.set)

    async def _prepare(self) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *_python("pocketfleet.control", "prepare"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            start_new_session=True,
        )
        output, errors = await process.communicate()
        if process.returncode != 0:
            lines = errors.decode(errors="replace").strip().splitlines() or ["it ended without a word"]
            raise PocketfleetError(f"The database could not be made ready: {lines[-1]}")
        answer: dict[str, Any] = json.loads(output.decode().strip().splitlines()[-1])
        return answer

    def _write_operator_file(self) -> None:
        content = json.dumps({"url": self.config.public_url, "token": f"pfo_{secrets.token_urlsafe(32)}"})
        fresh = self.config.operator_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(content)
        fresh.rename(self.config.operator_file)

    def _make_children(self) -> None:
        logs = self.config.logs
        self.children = {
            child.name: child
            for child in (
                Child("edge", edge.prepare(self.config), signal.SIGTERM, logs / "edge.log"),
                Child("node", _python("pocketfleet.node"), signal.SIGKILL, logs / "node.err.log"),
                Child("control", _python("pocketfleet.control"), signal.SIGTERM, logs / "control.err.log"),
            )
        }

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        gate = str(self.config.gate_socket)
        while time.monotonic() < deadline and not self.stopping.is_set():
            if await self._control_answers() and await _accepts(gate):
                return
            await asyncio.sleep(0.02)
        if not self.stopping.is_set():
            raise NotAnswering(f"node or control did not answer; see {self.config.logs}/*.log for the reason.")

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Carry out what may take minutes where the network is slow: Ctrl-C ends it."""
        working = asyncio.create_task(work)
        stopped = asyncio.create_task(self.stopping.wait())
        await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in (working, stopped):
            task.cancel()
        await asyncio.gather(stopped, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await working

    async def _control_answers(self) -> bool:
        headers = {"host": self.config.domain}
        try:
            async with plain_client(_CONTROL, timeout=2, socket=self.config.control_socket, headers=headers) as client:
                answer = await client.get("/openapi.json")
                return answer.status_code == 200
        except httpx.HTTPError:
            return False

    async def _greet(self, prepared: dict[str, Any]) -> None:
        if self.stopping.is_set():
            return
        say = self.console.print
        command = _command()
        say(f"\n[bold]pocketfleet {__version__}[/bold] is running.\n")
        say(f"  Dashboard   [bold]{self.config.public_url}[/bold]")
        say(f"  Sign in     {prepared['link']}   [dim](works once, for an hour)[/dim]")
        say(f"  Data        {escape(str(self.config.home))}")
        if self.sandboxed:
            say("  Isolation   on: each instance has a user, a network and limits of its own\n")
        else:
            say("  Isolation   [yellow]none[/yellow]: instances run as your own user, so host only code that you trust")
            say(f"              ({escape(self.unsafe)})\n")
        # each user has as many: under the sandbox that is each instance
        if not self.sandboxed and (watchers := _inotify_instances()) < MANY_WATCHERS:
            say(f"  [yellow]Note[/yellow]        past {watchers} awake instances changed hooks go unseen;")
            say(f"              `sysctl fs.inotify.max_user_instances={MANY_WATCHERS}` lifts that\n")
        if prepared["first_run"] and self.config.first_instance:
            await FirstInstance(self.config, self.console).make()
        say(f"Next: [bold]{command} create shop[/bold]   [dim](Ctrl-C stops everything)[/dim]\n")

    # --- watch -------------------------------------------------------------------------------------------------

    async def _watch(self, child: Child) -> None:
        while child.process is not None:
            code = await child.process.wait()
            if self.stopping.is_set():
                return
            lived = time.monotonic() - child.began
            child.died_young = child.died_young + 1 if lived < YOUNG else 0
            delay = RESTART_AFTER[min(child.died_young, len(RESTART_AFTER) - 1)]
            self._warn(f"{child.name} ended ({_ending(code)}); starting it again. Its log: {child.log}")
            await asyncio.sleep(delay)
            await self._restart(child)

    async def _restart(self, child: Child) -> None:
        while not self.stopping.is_set():
            try:
                if child.name == "edge":
                    child.argv = edge.prepare(self.config)
                await child.start(self.environment)
                return
            except (OSError, PocketfleetError) as error:
                self._warn(f"{child.name} does not start: {error}")
                await asyncio.sleep(RESTART_AFTER[-1])

    def _warn(self, text: str) -> None:
        self.console.print(f"[yellow]![/yellow] {time.strftime('%H:%M:%S')} {escape(text)}")

    async def _reap_orphans(self) -> None:
        """Guests whose node died are our children now: without this they would stay zombies.

        Only those that were zombies at the look before: asyncio takes its own at once, and must get them first.
        """
        before: set[int] = set()
        while True:
            await asyncio.sleep(REAP_EVERY)
            zombies = _zombie_children()
            for pid in zombies & before:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - does not block
            before = zombies

    async def _rotate_output(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_EVERY)
            for child in self.children.values():
                try:
                    await asyncio.to_thread(rotate_output, child.log)
                except OSError as error:
                    log.warning("%s cannot be rotated: %s", child.log, error.strerror)

    # --- stop --------------------------------------------------------------------------------------------------

    async def _stop(self) -> None:
        """No new connections; requests under way end; guests end; control; then whatever of the edge is left."""
        if not self.children:
            return
        self.console.print("\nStopping ...")
        edge_child, node, control = (self.children[name] for name in ("edge", "node", "control"))
        edge_child.send(signal.SIGUSR1)
        await edge_child.ended(LAST_REQUESTS)
        node.send(signal.SIGTERM)
        await node.ended(self.config.stop_timeout + 10)
        control.send(signal.SIGTERM)
        edge_child.send(signal.SIGTERM)
        for child in (control, edge_child, node):
            if not await child.ended(5):
                child.send(signal.SIGKILL)
                await child.ended(5)
        self.config.operator_file.unlink(missing_ok=True)
        self.console.print("Stopped. Everything is kept; `make serve` goes on where it was.")


class FirstInstance:
    """What a newcomer sees at once: a PocketBase of their own, made at the first run."""

    def __init__(self, config: Config, console: Console) -> None:
        self._config = config
        self._console = console

    async def make(self) -> None:
        """Look for releases, create the instance, print its address; a failure is a warning, not the end."""
        token = json.loads(self._config.operator_file.read_text())["token"]
        headers = {"host": self._config.domain, "authorization": f"Bearer {token}"}
        async with plain_client(_CONTROL, timeout=30, socket=self._config.control_socket, headers=headers) as client:
            try:
                await self._make(client)
            except (httpx.HTTPError, PocketfleetError, KeyError, ValueError) as error:
                self._console.print(f"[yellow]![/yellow] The first instance was not made: {escape(str(error))}\n")

    async def _make(self, client: httpx.AsyncClient) -> None:
        with self._console.status("Looking for PocketBase's releases ..."):
            await self._wait(client, await self._post(client, "/releases/refresh", {}))
        with self._console.status("Making your first instance (fetches PocketBase, some 13 MB) ..."):
            answer = await self._post(client, "/instances", {"name": self._config.first_instance})
            try:
                await self._wait(client, answer)
            except (asyncio.CancelledError, httpx.HTTPError):
                # node goes on with it now or at the next start, and the password is never shown again
                self._tell(answer)
                raise
        self._tell(answer)

    def _tell(self, answer: dict[str, Any]) -> None:
        instance, superuser = answer["instance"], answer["superuser"]
        say = self._console.print
        say(f"  Your first instance: [bold]{instance['url']}[/bold]   PocketBase {instance['release']}")
        say(f"  Its admin page       {instance['url']}/_/")
        say(f"  Superuser            {superuser['email']}")
        say(f"  Password             {superuser['password']}   [dim](shown this once)[/dim]\n")

    async def _post(self, client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await client.post(path, json=body)
        content: dict[str, Any] = answer.json()
        if answer.is_error:
            raise PocketfleetError(str(content.get("detail", answer.text)))
        return content

    async def _wait(self, client: httpx.AsyncClient, answer: dict[str, Any]) -> None:
        operation = answer["operation"]
        while operation["state"] in ("pending", "running"):
            await asyncio.sleep(0.1)
            operation = (await client.get(f"/operations/{operation['id']}")).json()
        if operation["state"] != "succeeded":
            raise PocketfleetError(str(operation["error"].get("detail", operation["state"])))


@contextlib.contextmanager
def _locked_home(config: Config) -> Any:
    """The home with its folders, and nobody else on it. Raises HomeInUse, DiskTrouble."""
    try:
        for folder in (config.home, config.edge, config.logs, config.run, config.releases, config.instances):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        config.home.chmod(0o700)
        lock: IO[str] = (config.run / "serve.lock").open("w")
    except OSError as error:
        raise DiskTrouble(
            f"{config.home} cannot be used: {error.strerror}. Mend that, or set POCKETFLEET_HOME to another folder."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HomeInUse(
                f"pocketfleet already runs on {config.home}. Stop that one first, or set POCKETFLEET_HOME to another "
                "folder (and POCKETFLEET_PORT to another port)."
            ) from None
        log_to_file(config, "serve")
        yield


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _command() -> str:
    """How to call us from where we were called: as short as it works."""
    if Path(sys.argv[0]).name == "__main__.py":
        return "python -m pocketfleet"
    here = Path(sys.argv[0]).absolute()
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else "pocketfleet"


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _dies_with_us(number: signal.Signals) -> Callable[[], None]:
    libc = ctypes.CDLL(None, use_errno=True)
    ours = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != ours:
            os.kill(os.getpid(), number)

    return prepare


def _adopt_orphans() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _zombie_children() -> set[int]:
    """Pids of the children that have ended and were not waited for."""
    found = set()
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        for pid in children:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                found.add(int(pid))
    return found


def _inotify_instances() -> int:
    """How many the kernel gives to one user; each awake PocketBase takes one, and works on without it."""
    try:
        return int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    except (OSError, ValueError):
        return MANY_WATCHERS


async def _accepts(path: str) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True
