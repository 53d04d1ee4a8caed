"""A tenant's folder full of traps: whatever of ours works in it reads and writes nothing outside, and ends."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.config import Config
from pocketfleet.errors import DiskTrouble, PocketfleetError, SnapshotUnusable
from pocketfleet.operations import files
from pocketfleet.rehearsal.lint import sources
from pocketfleet.runtime import beneath, fences, inspect, request_log, still_files, superusers, switching_off
from pocketfleet.runtime.archives import write_backup
from pocketfleet.runtime.changes import changes_between
from pocketfleet.runtime.disk import exchange
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.guest import Guest, make_folders
from pocketfleet.runtime.sizes import measure_folder
from pocketfleet.runtime.snapshots import SnapshotStore
from pocketfleet.runtime.superuser import create_superuser
from pocketfleet.runtime.taking import fingerprints
from tests.pocketbases import NEWEST, executable

#: Stands in everything that is not the tenant's.
CANARY = "canary7f3a"
MINE, OTHER = "mineaaaaaaaaaaa", "otheraaaaaaaaaa"
#: What a failure may be; anything else is a mistake.
REFUSALS = (PocketfleetError, OSError, sqlite3.Error)


@dataclass(frozen=True)
class Town:
    """A home with a tenant, a neighbour, and a file of the machine's."""

    home: Path

    @property
    def config(self) -> Config:
        return Config(home=self.home)

    @property
    def mine(self) -> Path:
        return self.home / "instances" / MINE

    @property
    def other(self) -> Path:
        return self.home / "instances" / OTHER

    @property
    def guest(self) -> Guest:
        return Guest(
            MINE, NEWEST, Path("/none"), self.mine, "127.0.0.1", 8090, {}, False, self.home / "logs", self.home / "run"
        )

    def contents(self) -> dict[str, str]:
        """Of all files that are not the tenant's."""
        tops = (self.other, self.home / "machine")
        found = [path for top in tops for path in top.rglob("*") if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def outside(self) -> dict[str, tuple[Any, ...]]:
        """All that is not the tenant's, as it is now."""
        found = {}
        for top in (self.other, self.home / "machine"):
            for path in sorted([top, *top.rglob("*")]):
                known = path.lstat()
                content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
                times = () if path.is_dir() and path == top else (known.st_mtime_ns,)
                found[str(path)] = (known.st_mode, known.st_uid, known.st_size, content, *times)
        return found

    def written(self) -> Iterator[Path]:
        """Files of ours that something could have been copied into."""
        for name in ("snapshots", "backups", "brought", "quarantine", "logs", "run"):
            for path in (self.home / name).rglob("*"):
                if path.is_file() and not path.is_symlink() and path.lstat().st_nlink == 1:
                    yield path


def run_pocketbase(folder: Path, email: str) -> None:
    """Real data with one superuser."""
    command = [str(executable()), "superuser", "upsert", email, "correct horse battery", f"--dir={folder / 'pb_data'}"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two instances of a real PocketBase, made once; and a file of the machine's."""
    town = Town(tmp_path_factory.mktemp("town"))
    for folder, email in ((town.mine, "me@example.org"), (town.other, f"{CANARY}@example.org")):
        make_folders(folder)
        run_pocketbase(folder, email)
        own = email.partition("@")[0]
        for name in ("pb_hooks/main.pb.js", "pb_migrations/1_a.js", "pb_public/index.html", "pb_data/storage/c/r/f"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"// {own}\n")
    (town.home / "machine").mkdir()
    (town.home / "machine" / "secret.pb.js").write_text(f"// {CANARY}\n")
    return town.home


@pytest.fixture
def town(model: Path, home: Path) -> Town:
    return fresh(model, home / "town")


def fresh(model: Path, home: Path) -> Town:
    shutil.copytree(model, home, symlinks=True)
    (home / "run").mkdir()
    return Town(home)


# What a tenant puts in a place of its own


def replaced(path: Path) -> Path:
    """The place is free, and its folder is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def at_neighbours(town: Town, place: str) -> Path:
    """What lies there at the neighbour's; the machine's file where nothing does."""
    there = town.other / place
    return there if there.exists() else town.home / "machine" / "secret.pb.js"


def bind(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def link(town: Town, place: str) -> None:
    replaced(town.mine / place).symlink_to(at_neighbours(town, place))


def relative(town: Town, place: str) -> None:
    path = replaced(town.mine / place)
    path.symlink_to(os.path.relpath(at_neighbours(town, place), path.parent))


def hard(town: Town, place: str) -> None:
    replaced(town.mine / place).hardlink_to(at_neighbours(town, place))


def root(town: Town, place: str) -> None:
    replaced(town.mine / place).symlink_to(town.home)


def loop(town: Town, place: str) -> None:
    replaced(town.mine / place).symlink_to(".")


def dangling(town: Town, place: str) -> None:
    """Whoever creates what is missing would create it at the neighbour's."""
    replaced(town.mine / place).symlink_to(town.other / "pb_data" / "made-by-mistake")


def fifo(town: Town, place: str) -> None:
    os.mkfifo(replaced(town.mine / place))


def unix_socket(town: Town, place: str) -> None:
    bind(replaced(town.mine / place))


def device(town: Town, place: str) -> None:
    """It never ends."""
    os.mknod(replaced(town.mine / place), 0o020666, os.makedev(1, 5))


TRAPS = [
    *((trap, "pb_data/data.db") for trap in (link, relative, hard, dangling, fifo, unix_socket, device)),
    *((trap, "pb_data/data.db-wal") for trap in (link, dangling, fifo)),
    (link, "pb_data/data.db-shm"),
    (dangling, "pb_data/data.db-journal"),
    (hard, "pb_data/auxiliary.db"),
    *((trap, "pb_data") for trap in (link, root, loop)),
    *((trap, "pb_hooks") for trap in (root, fifo)),
    *((trap, "pb_hooks/main.pb.js") for trap in (link, hard, fifo, device)),
    (relative, "pb_data/storage"),
    (link, "pb_data/storage/c/r/f"),
    (root, "pb_public"),
]
if os.geteuid() != 0:
    TRAPS = [(trap, place) for trap, place in TRAPS if trap is not device]


# What of ours works there


def snapshot(town: Town, *, awake: bool) -> Any:
    taken = asyncio.run(SnapshotStore(town.config).take(MINE, "one", release=NEWEST, awake=awake))
    target = town.home / "backups" / "one.zip"
    asyncio.run(write_backup(SnapshotStore(town.config).path(MINE, "one"), target, full=True))
    return taken


def put_back(town: Town) -> Any:
    """A snapshot of before the trap takes the place of what is there, then quarantine and the end."""
    store = SnapshotStore(town.config)
    shutil.copytree(town.home / "kept", store.path(MINE, "kept").parent)
    return asyncio.run(store.put_back(MINE, "kept"))


def read_live(town: Town) -> Any:
    seen: list[Any] = []
    for read in (inspect.settings, inspect.counts, inspect.collections, inspect.sqlite_master, inspect.recognise):
        with contextlib.suppress(*REFUSALS):
            seen.append(read(town.mine, live=True))
    with contextlib.suppress(*REFUSALS):
        seen.append(list(inspect.request_log(town.mine)))
    with contextlib.suppress(*REFUSALS):
        seen.append(inspect.digests(town.mine))
    with contextlib.suppress(*REFUSALS), superusers.awake(town.guest) as connection:
        seen.append(str(superusers.find(connection, "", f"{CANARY}@example.org")))
        seen.append(superusers.errand_token(town.guest, connection))
    return seen


def superuser_at_rest(town: Town) -> Any:
    with superusers.at_rest(town.guest) as connection:
        made = superusers.make(connection, "a" * 15, "new@example.org")
        found = superusers.find(connection, "", f"{CANARY}@example.org")
        superusers.remove(connection, "a" * 15)
        return made.record, found


def settings_at_rest(town: Town) -> Any:
    switching_off.write_settings(town.mine, "{}")
    request_log.put_in_order(town.mine)


def print_of_it(town: Town) -> Any:
    """Not that of the neighbour's file."""
    found = fingerprints(town.mine, live=True)
    content = hashlib.sha256(f"// {CANARY}\n".encode()).digest()
    assert found["hooks"] != hashlib.sha256(b"main.pb.js\0" + content + b"\0").hexdigest()
    return found


def sum_of_it(town: Town) -> Any:
    return measure_folder(town.mine, Errand()).bytes


def lint_it(town: Town) -> Any:
    return [list(sources(town.mine / name)) for name in ("pb_hooks", "pb_migrations")]


def compare(town: Town) -> Any:
    return changes_between(town.home / "kept" / "data", town.mine)


def delete(town: Town) -> Any:
    files.to_quarantine(town.config, MINE)
    files.from_quarantine(town.config, MINE)
    files.to_quarantine(town.config, MINE)
    files.purge_quarantine(town.config, MINE)
    assert not town.mine.exists()
    assert not (town.home / "quarantine" / MINE).exists()


OPERATIONS: dict[str, Callable[[Town], Any]] = {
    "snapshot asleep": lambda town: snapshot(town, awake=False),
    "snapshot awake": lambda town: snapshot(town, awake=True),
    "put back": put_back,
    "read": read_live,
    "superuser": superuser_at_rest,
    "settings": settings_at_rest,
    "fingerprint": print_of_it,
    "size": sum_of_it,
    "lint": lint_it,
    "compare": compare,
    "delete": delete,
    "make folders": lambda town: make_folders(town.mine),
}


@pytest.fixture(scope="module")
def kept(model: Path) -> Path:
    """The model with a snapshot of the tenant beside it."""
    town = Town(model)
    store = SnapshotStore(town.config)
    asyncio.run(store.take(MINE, "kept", release=NEWEST, awake=False))
    store.path(MINE, "kept").parent.rename(model / "kept")
    shutil.rmtree(model / "snapshots")
    return model


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_trap_in_every_place(kept: Path, home: Path, name: str) -> None:
    for number, (trap, place) in enumerate(TRAPS):
        town = fresh(kept, home / str(number))
        trap(town, place)
        before = town.outside()
        answer: Any = None
        with contextlib.suppress(*REFUSALS):
            answer = OPERATIONS[name](town)
        where = f"{trap.__name__} at {place}"
        assert CANARY not in repr(answer), where
        assert town.outside() == before, where
        leaks = [str(path) for path in town.written() if CANARY.encode() in path.read_bytes()]
        assert leaks == [], where
        shutil.rmtree(town.home)


async def test_pocketbases_own_command_which_follows_links_is_not_even_run(model: Path, home: Path) -> None:
    never = dataclasses.replace(Town(home / "0").guest, executable=Path("/bin/false"))
    for number, (trap, place) in enumerate(TRAPS):
        if place in ("pb_data", "pb_data/data.db", "pb_data/auxiliary.db"):
            town = fresh(model, home / str(number))
            trap(town, place)
            guest = dataclasses.replace(never, folder=town.mine, run_folder=town.home / "run")
            before = town.outside()
            with pytest.raises((DiskTrouble, OSError)):
                await create_superuser(guest, "new@example.org", "$2y$")
            assert town.outside() == before


def test_without_traps_everything_works(kept: Path, home: Path) -> None:
    """Otherwise all of the above could pass because nothing does anything."""
    told = {}
    for number, (name, operation) in enumerate(OPERATIONS.items()):
        told[name] = operation(fresh(kept, home / str(number)))
    assert len(told["read"]) == 9
    assert "me@example.org" not in repr(told["superuser"])
    assert told["snapshot awake"].counts["_superusers"] == told["snapshot asleep"].counts["_superusers"] == 1
    assert told["lint"][0] == [("main.pb.js", "// me\n")]
    assert told["compare"].nothing


# What is exchanged between our look and our opening


def into_links(town: Town) -> None:
    """All of the tenant's data for the neighbour's, by one rename."""
    (town.mine / "link").symlink_to(town.other / "pb_data")
    exchange(town.mine / "link", town.mine / "pb_data")


@pytest.mark.parametrize("landlock", [True, False])
@pytest.mark.parametrize("name", ["read", "superuser", "settings", "snapshot awake", "compare"])
def test_exchanged_right_before_sqlite_opens_it(
    kept: Path, home: Path, name: str, landlock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the kernel's fence nothing is opened; without, what was opened is not used."""
    if landlock and not fences.version():
        pytest.skip("this kernel has no Landlock")
    if not landlock:
        monkeypatch.setattr(fences, "version", lambda: 0)
    town = fresh(kept, home / "town")
    shutil.copyfile(town.other / "pb_data" / "data.db", town.other / "pb_data" / "auxiliary.db")
    before, contents = town.outside(), town.contents()
    opened: list[int] = []

    def exchanged(folder: int, work: Callable[[], Any], patience: float = 5.0) -> Any:
        if not opened:
            into_links(town)
        opened.append(folder)
        return fences.fenced(folder, work, patience)

    monkeypatch.setattr(still_files, "fenced", exchanged)
    answer: Any = None
    with contextlib.suppress(*REFUSALS):
        answer = OPERATIONS[name](town)
    assert opened, "it was opened, and exchanged right before"
    assert CANARY not in repr(answer)
    assert [str(path) for path in town.written() if CANARY.encode() in path.read_bytes()] == []
    if landlock:
        assert town.outside() == before
    # without it SQLite may make its shared memory beside what it opened, which nothing then uses
    assert contents.items() <= town.contents().items()


def test_a_fifo_put_there_meanwhile_holds_up_this_instance_alone(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    path = town.mine / "pb_data" / "data.db"

    def exchanged(folder: int, work: Callable[[], Any], patience: float = 5.0) -> Any:
        if path.exists() and not path.is_fifo():
            path.rename(town.mine / "away")
            os.mkfifo(path)
        return fences.fenced(folder, work, 0.2)

    with monkeypatch.context() as patched:
        patched.setattr(still_files, "fenced", exchanged)
        with pytest.raises(SnapshotUnusable):
            inspect.counts(town.mine, live=True)
    path.rename(town.mine / "fifo")
    (town.mine / "away").rename(path)
    with pytest.raises(SnapshotUnusable):
        inspect.counts(town.mine, live=True)
    assert inspect.counts(town.other, live=True)["_superusers"] == 1
    os.close(os.open(town.mine / "fifo", os.O_WRONLY))
    for thread in list(fences._stuck.values()):
        thread.join(10)
    assert inspect.counts(town.mine, live=True)["_superusers"] == 1


@contextlib.contextmanager
def swapping(town: Town, *places: str) -> Iterator[list[int]]:
    """A tenant that exchanges its own for links to the neighbour's, as fast as it can."""
    over = threading.Event()
    swaps = [0]
    for number, place in enumerate(places):
        (town.mine / f"link{number}").symlink_to(town.other / place)

    def swap() -> None:
        while not over.is_set():
            for number, place in enumerate(places):
                exchange(town.mine / f"link{number}", town.mine / place)
                swaps[0] += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield swaps
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    "name, openat2",
    [
        *((name, True) for name in ("read", "fingerprint", "size", "lint", "compare", "snapshot awake")),
        *((name, False) for name in ("fingerprint", "lint", "read")),
    ],
)
def test_raced_by_a_tenant_that_exchanges_names(
    kept: Path, home: Path, name: str, openat2: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not openat2:
        monkeypatch.setattr(beneath, "_knows_openat2", lambda: False)
    town = fresh(kept, home / "town")
    own = OPERATIONS["size"](town)
    before = town.outside()
    places = ("pb_data", "pb_hooks", "pb_migrations", "pb_public") if name != "snapshot awake" else ("pb_public",)
    with swapping(town, *places) as swaps:
        until = time.monotonic() + 0.25
        rounds = 0
        while time.monotonic() < until or rounds < 3:
            answer: Any = None
            with contextlib.suppress(*REFUSALS):
                answer = OPERATIONS[name](town)
            rounds += 1
            assert CANARY not in repr(answer)
            if name == "size":
                assert answer <= own
            shutil.rmtree(town.home / "snapshots", ignore_errors=True)
            (town.home / "backups" / "one.zip").unlink(missing_ok=True)
    assert swaps[0] > rounds
    assert [str(path) for path in town.written() if CANARY.encode() in path.read_bytes()] == []
    assert town.outside() == before
