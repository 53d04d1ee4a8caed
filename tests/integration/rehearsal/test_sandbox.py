"""The sandbox: what PocketBase sees of the machine and the world in it, and that it ends with whoever started it."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.errors import ReleaseUnusable
from pocketfleet.rehearsal import sandbox
from pocketfleet.rehearsal.boot import boot
from pocketfleet.rehearsal.clone import Release, Surroundings, make_clone
from pocketfleet.rehearsal.replay import Client
from pocketfleet.rehearsal.sandbox import Attempt, Confined, choose_place
from pocketfleet.runtime.confines import Confines
from pocketfleet.runtime.guest import make_folders
from pocketfleet.runtime.sandbox.runner import SandboxRunner
from tests.integration.runtime.rooms import house
from tests.pocketbases import executable
from tests.sandboxes import left_of
from tests.sandboxes import needs_sandbox as needs_cells

#: Handlers share nothing with the file they stand in.
ATTEMPT = 'const attempt = (what) => { try { return "" + what() } catch (error) { return "" + error } }'
HOOKS = """
routerAdd("GET", "/look", (e) => {
  ATTEMPT
  return e.json(200, {
    root: $os.readDir("/").map((entry) => entry.name()),
    passwd: attempt(() => $os.readFile("/etc/passwd").length),
    parent: attempt(() => $os.readFile("/proc/1/root" + "/etc/passwd").length),
    environment: Object.keys(process.env),
    run: attempt(() => $os.cmd("/bin/true").run()),
    write: attempt(() => $os.writeFile("/usr/here", "x", 0o600)),
    own: attempt(() => $os.writeFile("pb_data/here", "x", 0o600)),
  })
})
routerAdd("GET", "/reach", (e) => {
  ATTEMPT
  const found = {}
  for (const url of e.request.url.query().get("urls").split(",")) {
    found[url] = attempt(() => $http.send({url: url, timeout: 5}).statusCode)
  }
  return e.json(200, found)
})
routerAdd("GET", "/mail", (e) => {
  ATTEMPT
  const message = new MailerMessage({
    from: {address: "a@example.com"}, to: [{address: "b@example.com"}, {address: "c@example.com"}], subject: "Good day",
  })
  return e.json(200, {sent: attempt(() => $app.newMailClient().send(message))})
})
routerAdd("GET", "/me", (e) => {
  ATTEMPT
  return e.json(200, {status: attempt(() => toString($os.readFile("/proc/self/status")))})
})
routerAdd("GET", "/bomb", (e) => {
  ATTEMPT
  const said = []
  for (let i = 0; i < 100; i++) {
    const flags = ["--http=127.0.0.1:" + (9000 + i), "--dir=/tmp/" + i]
    said.push(attempt(() => $os.cmd("/pocketbase", "serve", ...flags).start()))
  }
  return e.json(200, {said: said})
})
routerAdd("GET", "/hog", (e) => {
  const held = []
  for (let i = 0; i < 100000; i++) held.push("x".repeat(1000) + i + new Array(10000).join("y" + i))
  return e.json(200, {held: held.length})
})
routerAdd("GET", "/gulp", (e) => e.json(200, {held: "x".repeat(900 * 1000 * 1000).length}))
""".replace("ATTEMPT", ATTEMPT)
#: What a process writes to, to be in a control group.
JOINED = ("tasks", "cgroup.procs")
OLD_HOOKS = (
    HOOKS.replace("(e) =>", "(c) =>")
    .replace("e.json", "c.json")
    .replace("e.request.url.query()", "c.request().url.query()")
)

needs_sandbox = pytest.mark.skipif(not sandbox.available()[0], reason=f"no sandbox here: {sandbox.available()[1]}")


LIMITS = GuestLimits(memory=400 * 1024**2, cpus=1.5, processes=80)
#: Namespaces alone, and what holds instances besides.
LOCKED = [pytest.param(False, marks=needs_sandbox), pytest.param(True, marks=needs_cells)]


@asynccontextmanager
async def confines(home: Path, held: bool) -> AsyncIterator[Confines | None]:
    """Those of an instance under the sandbox; None where it is about namespaces alone."""
    if not held:
        yield None
        return
    async with house(home / "held", sandboxed=True) as made:
        assert isinstance(made.runner, SandboxRunner)
        async with made.runner.confined("rehearsal-one", made.add(limits=LIMITS)) as found:
            yield found
        assert not [path for path in left_of(made.config.home) if Path(path, "rehearsal-one").exists()]


@asynccontextmanager
async def running(
    home: Path, release: str, *, sandboxed: bool, held: bool = False
) -> AsyncIterator[tuple[Confined, Any]]:
    """A PocketBase with hooks in its room, and how to ask it."""
    async with confines(home, held) as found, _running(home, release, sandboxed, found) as started:
        yield started


@asynccontextmanager
async def _running(
    home: Path, release: str, sandboxed: bool, held: Confines | None
) -> AsyncIterator[tuple[Confined, Any]]:
    source = home / "snapshot"
    make_folders(source)
    (source / "pb_hooks" / "main.pb.js").write_text(OLD_HOOKS if release.startswith("0.22.") else HOOKS)
    # its first start makes the settings that are neutralised
    place = choose_place(sandboxed=sandboxed, confines=held)
    first = await make_clone(source, home / "first", Release(release, executable(release)), Surroundings({}), place)
    start, confined = await boot(first)
    assert start.answered, start
    assert confined is not None
    await confined.stop()
    clone = await make_clone(first.folder, home / "second", first.release, Surroundings({"SECRET": "x"}), place)
    start, confined = await boot(clone)
    assert confined is not None, start
    client = Client(confined.socket, patience=20)
    try:
        yield confined, lambda path: asyncio.to_thread(client.ask, "GET", path)
    finally:
        client.close()
        await confined.close()


@pytest.mark.parametrize("held", LOCKED)
@pytest.mark.parametrize("release", ["0.22.27", "0.40.6"])
async def test_nothing_of_the_machine_is_there(home: Path, release: str, held: bool) -> None:
    async with running(home, release, sandboxed=True, held=held) as (_, ask):
        seen = (await ask("/look")).content()
    libraries = {"lib", "lib64"} if release == "0.22.27" else set()
    assert set(seen["root"]) - libraries <= {"dev", "etc", "instance", "pocketbase", "proc", "tmp", "usr"}
    assert "no such file" in seen["passwd"]
    assert "no such file" in seen["parent"]
    assert "no such file" in seen["run"]
    assert "read-only file system" in seen["write"]
    assert "rror" not in seen["own"]
    assert set(seen["environment"]) == {
        "SECRET",
        "PATH",
        "HOME",
        "LANG",
        "TZ",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "PWD",
        *(["GOMEMLIMIT"] if held else []),
    } & set(seen["environment"])


@pytest.mark.parametrize(
    "release, sandboxed, held",
    [
        ("0.22.27", False, False),
        ("0.40.6", False, False),
        pytest.param("0.22.27", True, False, marks=needs_sandbox),
        pytest.param("0.40.6", True, False, marks=needs_sandbox),
        pytest.param("0.40.6", True, True, marks=needs_cells),
    ],
)
async def test_what_is_sent_is_noted_and_goes_nowhere(home: Path, release: str, sandboxed: bool, held: bool) -> None:
    urls = ["https://example.org/charge?key=1", "http://example.org/path?token=2", "http://10.1.2.3:99/x"]
    async with running(home, release, sandboxed=sandboxed, held=held) as (confined, ask):
        reached = (await ask(f"/reach?urls={','.join(map(quote, urls))}")).content()
        mailed = (await ask("/mail")).content()
        assert all("EOF" in answer for answer in reached.values()), reached
        assert "rror" not in mailed["sent"]
        await confined.stop()
    assert set(confined.attempts) == {
        Attempt("web", "example.org:443", "CONNECT"),
        Attempt("web", "http://example.org/path", "GET"),
        Attempt("web", "http://10.1.2.3:99/x", "GET"),
        Attempt("mail", "b@example.com, c@example.com", "Good day"),
    }


@pytest.mark.parametrize("held", LOCKED)
async def test_past_the_proxy_there_is_no_network(home: Path, held: bool) -> None:
    """Go never asks a proxy for its own machine, and hooks may take proxies away: the namespace must hold alone."""
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, running(home, "0.40.6", sandboxed=True, held=held) as (_, ask):
        reached = (await ask(f"/reach?urls=http://127.0.0.1:{port}/")).content()
    assert all("connection refused" in answer for answer in reached.values()), reached


@needs_sandbox
async def test_a_hog_ends_without_taking_the_machine_along(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MEMORY_BYTES", 300 * 1024**2)
    async with running(home, "0.40.6", sandboxed=True) as (confined, ask):
        answer = await ask("/hog")
        assert answer.status in (0, 400, 500)
        async with asyncio.timeout(10):
            assert await confined.ended != 0
    assert "fatal error" in confined.output()


@needs_cells
async def test_a_hog_is_ended_for_memory_as_its_instance_would_be(home: Path) -> None:
    async with running(home, "0.40.6", sandboxed=True, held=True) as (confined, ask):
        assert confined.cause() == ""
        await ask("/gulp")
        async with asyncio.timeout(20):
            assert await confined.ended in (None, -9)
        assert "more than the 400 MiB of memory that this instance may have" in confined.cause()


@needs_cells
async def test_a_clone_is_its_instance_s_user_with_its_instance_s_limits(home: Path) -> None:
    async with running(home, "0.40.6", sandboxed=True, held=True) as (confined, ask):
        held = confined.room.place.confines
        assert held is not None
        status = dict(line.split(":\t", 1) for line in (await ask("/me")).content()["status"].splitlines())
        inside = {pid for pid in processes_of(confined.room.folder) if "/pocketbase" in _trace(pid)}
        groups = [Path(part).parent for part in held.join if Path(part).is_absolute() and Path(part).name in JOINED]
        said = (await ask("/bomb")).content()["said"]
        most = {int(path.read_text()) for group in groups for path in group.glob("pids.max")}
        now = {int(path.read_text()) for group in groups for path in group.glob("pids.current")}
        owners = {path.lstat().st_uid for path in [confined.room.folder, *confined.room.folder.rglob("*")]}
    assert (status["CapEff"], status["NoNewPrivs"], status["Seccomp"]) == ("0" * 16, "1", "2")
    assert inside
    assert owners == {held.user}
    # and some more for what stands beside it
    assert most == {LIMITS.processes + 40}
    assert now <= set(range(1, LIMITS.processes + 41))
    assert any("resource temporarily unavailable" in word for word in said), said


@needs_cells
async def test_a_sandbox_that_does_not_come_about_is_no_fault_of_the_release(home: Path) -> None:
    make_folders(home / "instance")
    async with confines(home, True) as found:
        assert found is not None
        broken = replace(found, become=("/bin/false",))
        room = sandbox.make_room(
            executable("0.40.6"), home / "instance", home / "room", choose_place(sandboxed=True, confines=broken)
        )
        with pytest.raises(ReleaseUnusable, match="sandbox did not start"):
            await Confined.start(room, [], {})
        assert not sandbox.available(broken)[0]
        assert sandbox.available(found) == (True, "")


@pytest.mark.parametrize(
    "kind", [pytest.param("alone", marks=needs_sandbox), "plain", pytest.param("held", marks=needs_cells)]
)
def test_killed_parents_leave_nothing_running(home: Path, kind: str) -> None:
    parent = stay(home, [sys.executable], kind)
    assert len(processes_of(home)) >= 2
    parent.kill()
    parent.wait()
    assert gone(home)


@needs_sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_root() -> None:
    """As nobody, from a folder that nobody may reach, by an interpreter that nobody may run."""
    python = shutil.which(f"python{sys.version_info.major}.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no interpreter that others may run")
    nobody = pwd.getpwnam("nobody").pw_uid
    home = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    try:
        os.chown(home, nobody, nobody)
        shutil.copy(executable("0.40.6"), home / "pocketbase")
        parent = stay(home, ["setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups", python], "alone")
        held = processes_of(home)
        assert len(held) >= 2
        assert {(Path("/proc") / str(pid)).stat().st_uid for pid in held} == {nobody}
        parent.kill()
        parent.wait()
        assert gone(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_where_it_cannot_run_it_says_why(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    refusing = home / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: Creating new namespace failed: Operation not permitted' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(sandbox, "bwrap_path", lambda: refusing)
    can, why = sandbox.available()
    assert not can
    assert "Creating new namespace failed" in why
    assert "unprivileged user namespaces" in why


async def test_what_cannot_be_executed_is_said(home: Path) -> None:
    make_folders(home / "instance")
    broken = home / "pocketbase"
    broken.write_text("no program")
    broken.chmod(0o755)
    room = sandbox.make_room(broken, home / "instance", home / "room", sandbox.choose_place(sandboxed=False))
    with pytest.raises(ReleaseUnusable, match="cannot be run here"):
        await Confined.start(room, [], {})


def stay(home: Path, interpreter: list[str], kind: str) -> subprocess.Popen[str]:
    """A program that holds a rehearsed PocketBase; ready."""
    program = home / "pocketbase" if (home / "pocketbase").exists() else executable("0.40.6")
    make_folders(home / "snapshot")
    if os.geteuid() == 0:
        owner = home.stat()
        for path in [home / "snapshot", *(home / "snapshot").iterdir()]:
            os.chown(path, owner.st_uid, owner.st_gid)
    arguments = [str(home / "snapshot"), str(home / "work"), "0.40.6", str(program), kind]
    parent = subprocess.Popen(
        [*interpreter, "-m", "tests.integration.rehearsal.rooms", *arguments],
        cwd=Path(__file__).resolve().parents[3],
        env={
            "PATH": os.defpath,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    return parent


def processes_of(home: Path) -> set[int]:
    """Living processes, but for this one, that have something of this folder open, or in their command line."""
    return {pid for pid in _pids() if pid != os.getpid() and str(home) in _trace(pid)}


def gone(home: Path) -> bool:
    """Whether all of them end soon."""
    end = time.monotonic() + 10
    while processes_of(home) and time.monotonic() < end:
        time.sleep(0.02)
    return not processes_of(home)


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _trace(pid: int) -> str:
    found = []
    try:
        if (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return ""
        found.append((Path("/proc") / str(pid) / "cmdline").read_bytes().decode(errors="replace"))
        links = [Path(f"/proc/{pid}/cwd"), *Path(f"/proc/{pid}/fd").iterdir()]
        found += [str(link.readlink()) for link in links]
    except OSError:
        pass
    return "\n".join(found)
