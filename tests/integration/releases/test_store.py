"""The store: sources in order, one fetch however many ask, nothing half there, and executables that are not right."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pocketfleet.config import Config
from pocketfleet.errors import DiskTrouble, ReleaseUnusable, SourceDown
from pocketfleet.runtime.sources import OfferedAt, Progress
from pocketfleet.runtime.store import ReleaseStore
from tests.integration.releases.wheels import everything_below, script, write_executable


class Shelf:
    """A source whose executables are given to it, and which can wait or fail."""

    def __init__(self, name: str = "folder") -> None:
        self.name = name
        self.content: bytes = script("0.40.6")
        self.error: Exception | None = None
        self.wait: asyncio.Event | None = None
        self.begun = asyncio.Event()
        self.fetched = 0

    async def offers(self) -> list[OfferedAt]:
        """One."""
        return [OfferedAt(self.name, "0.40.6")]

    async def fetch(self, offer: OfferedAt, into: Path, progress: Progress) -> Path:
        """Writes half, waits, writes the rest."""
        self.fetched += 1
        path = into / "found"
        path.write_bytes(self.content[:5])
        await progress(0.5, "half of it")
        self.begun.set()
        if self.wait is not None:
            await self.wait.wait()
        if self.error is not None:
            raise self.error
        path.write_bytes(self.content)
        return path


@pytest.fixture
def shelf() -> Shelf:
    """Holds a good one."""
    return Shelf()


@pytest.fixture
def store(home: Path, shelf: Shelf) -> ReleaseStore:
    """With that shelf alone."""
    return ReleaseStore(Config(home=home), [shelf])


def sha256(content: bytes) -> str:
    """Hexadecimal."""
    return hashlib.sha256(content).hexdigest()


async def silent(fraction: float | None, message: str) -> None:
    """Nobody looks."""


def offers(*names: str) -> list[OfferedAt]:
    """0.40.6 at these sources."""
    return [OfferedAt(name, "0.40.6") for name in names or ("folder",)]


async def test_what_was_fetched_is_whole_and_on_record(store: ReleaseStore, shelf: Shelf, home: Path) -> None:
    assert not store.has("0.40.6")
    with pytest.raises(ReleaseUnusable, match="not on this server"):
        store.path("0.40.6")
    fetched = await store.fetch("0.40.6", offers(), "", silent)
    assert (fetched.version, fetched.source, fetched.sha256) == ("0.40.6", "folder", sha256(shelf.content))
    assert fetched.path == store.path("0.40.6") == home / "releases" / "0.40.6" / "pocketbase"
    assert fetched.path.read_bytes() == shelf.content
    assert stat.S_IMODE(fetched.path.stat().st_mode) == 0o755
    noted = json.loads((fetched.path.parent / "release.json").read_text())
    assert noted == {"version": 1, "release": "0.40.6", "source": "folder", "sha256": fetched.sha256}
    assert everything_below(home / "releases") == ["0.40.6", "0.40.6/pocketbase", "0.40.6/release.json"]
    assert (await store.fetch("0.40.6", offers(), fetched.sha256, silent)) == fetched
    assert shelf.fetched == 1


async def test_one_fetch_however_many_ask_and_all_see_it_move(store: ReleaseStore, shelf: Shelf) -> None:
    shelf.wait = asyncio.Event()
    seen: list[int] = []

    def watcher(number: int) -> Progress:
        async def watch(fraction: float | None, message: str) -> None:
            seen.append(number)

        return watch

    tasks = [asyncio.create_task(store.fetch("0.40.6", offers(), "", watcher(number))) for number in range(5)]
    await shelf.begun.wait()
    shelf.wait.set()
    results = await asyncio.gather(*tasks)
    assert len(set(results)) == 1
    assert shelf.fetched == 1
    assert set(seen) == {0, 1, 2, 3, 4}


async def test_a_fetch_goes_on_while_anybody_waits_and_ends_when_nobody_does(
    store: ReleaseStore, shelf: Shelf, home: Path
) -> None:
    shelf.wait = asyncio.Event()
    first = asyncio.create_task(store.fetch("0.40.6", offers(), "", silent))
    second = asyncio.create_task(store.fetch("0.40.6", offers(), "", silent))
    await shelf.begun.wait()
    first.cancel()
    await asyncio.wait([first])
    assert len(everything_below(home / "releases")) == 2
    second.cancel()
    await asyncio.wait([second])
    assert everything_below(home / "releases") == []
    shelf.wait.set()
    await store.fetch("0.40.6", offers(), "", silent)
    assert shelf.fetched == 2


async def test_the_next_source_is_tried_and_all_reasons_are_told(home: Path) -> None:
    first, second = Shelf("pypi"), Shelf("github")
    store = ReleaseStore(Config(home=home), [first, second])
    first.error = SourceDown("no route to the index.")
    fetched = await store.fetch("0.40.6", offers("pypi", "github"), "", silent)
    assert fetched.source == "github"
    await store.discard("0.40.6")
    second.error = ZeroDivisionError("a bug")
    with pytest.raises(ReleaseUnusable) as caught:
        await store.fetch("0.40.6", offers("pypi", "github", "folder"), "", silent)
    assert "pypi: no route to the index." in caught.value.detail
    assert "github: ZeroDivisionError" in caught.value.detail
    assert everything_below(home / "releases") == []


async def test_without_an_offer_it_says_so(store: ReleaseStore) -> None:
    with pytest.raises(ReleaseUnusable, match="No source that is switched on offers it"):
        await store.fetch("0.40.6", offers("pypi"), "", silent)


@pytest.mark.parametrize(
    "content, words",
    [
        (script("0.40.5"), "0.40.5"),
        (script("0.40.60"), "0.40.60"),
        (script("0.40.6") + b"echo more\n", "does not say"),
        (b"#!/bin/sh\nexit 1\n", "nothing"),
        (b"\x7fELF garbage", "does not run on this machine"),
        (b"#!/nowhere/at/all\n", "does not run on this machine"),
    ],
)
async def test_an_executable_that_is_something_else_is_not_installed(
    store: ReleaseStore, shelf: Shelf, home: Path, content: bytes, words: str
) -> None:
    shelf.content = content
    with pytest.raises(ReleaseUnusable, match=words):
        await store.fetch("0.40.6", offers(), "", silent)
    assert everything_below(home / "releases") == []


async def test_the_environment_of_the_check_is_empty(
    store: ReleaseStore, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETFLEET_SECRET", "x")
    shelf.content = script("0.40.6", extra='[ -z "$POCKETFLEET_SECRET" ] || exit 1')
    await store.fetch("0.40.6", offers(), "", silent)


async def test_one_that_never_answers_is_given_up(
    store: ReleaseStore, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pocketfleet.runtime.store._ANSWER_TIMEOUT", 0.2)
    shelf.content = b"#!/bin/sh\nexec sleep 60\n"
    with pytest.raises(ReleaseUnusable, match="did not answer"):
        await store.fetch("0.40.6", offers(), "", silent)


async def test_the_first_one_wins_for_ever(store: ReleaseStore, shelf: Shelf, home: Path) -> None:
    with pytest.raises(ReleaseUnusable, match="not the one that was fetched first"):
        await store.fetch("0.40.6", offers(), sha256(b"another"), silent)
    assert everything_below(home / "releases") == []
    await store.fetch("0.40.6", offers(), sha256(shelf.content), silent)


async def test_a_damaged_one_is_noticed_and_fetched_anew(home: Path, shelf: Shelf) -> None:
    known = sha256(shelf.content)
    first = ReleaseStore(Config(home=home), [shelf])
    path = (await first.fetch("0.40.6", offers(), "", silent)).path
    path.write_bytes(script("0.40.6", extra="# damaged"))
    after_a_start = ReleaseStore(Config(home=home), [shelf])
    assert not await after_a_start.verify("0.40.6", known)
    assert not after_a_start.has("0.40.6")
    await after_a_start.fetch("0.40.6", offers(), known, silent)
    assert await ReleaseStore(Config(home=home), [shelf]).verify("0.40.6", known)
    assert path.read_bytes() == shelf.content


async def test_an_executable_without_its_record_is_replaced(store: ReleaseStore, shelf: Shelf, home: Path) -> None:
    write_executable(home / "releases" / "0.40.6" / "pocketbase", b"who knows")
    assert not store.has("0.40.6")
    fetched = await store.fetch("0.40.6", offers(), "", silent)
    assert fetched.path.read_bytes() == shelf.content
    assert everything_below(home / "releases") == ["0.40.6", "0.40.6/pocketbase", "0.40.6/release.json"]


async def test_two_stores_do_not_break_each_other(home: Path) -> None:
    shelves = [Shelf(), Shelf()]
    gate = asyncio.Event()
    for shelf in shelves:
        shelf.wait = gate
    stores = [ReleaseStore(Config(home=home), [shelf]) for shelf in shelves]
    tasks = [asyncio.create_task(store.fetch("0.40.6", offers(), "", silent)) for store in stores]
    for shelf in shelves:
        await shelf.begun.wait()
    gate.set()
    for fetched in await asyncio.gather(*tasks):
        assert fetched.path.read_bytes() == shelves[0].content
    assert everything_below(home / "releases") == ["0.40.6", "0.40.6/pocketbase", "0.40.6/release.json"]


def test_the_sweep_takes_what_the_dead_left_and_nothing_else(store: ReleaseStore, home: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        for name in (f".tmp-{gone.pid}-x", ".tmp-junk", f".tmp-{os.getpid()}-x", f".tmp-{alive.pid}-x", "0.40.6"):
            (home / "releases" / name / "ready").mkdir(parents=True)
        store.sweep()
        assert sorted(path.name for path in (home / "releases").iterdir()) == [f".tmp-{alive.pid}-x", "0.40.6"]
        alive.communicate(b"\n")


@pytest.mark.parametrize("version", ["", "..", "../x", "a/b", ".tmp-1", "0.40.6/..", "0" * 60, "-x"])
async def test_no_version_leads_out_of_the_folder(store: ReleaseStore, version: str) -> None:
    with pytest.raises(ReleaseUnusable):
        store.path(version)
    assert not store.has(version)
    with pytest.raises(ReleaseUnusable):
        await store.fetch(version, [OfferedAt("folder", version)], "", silent)


async def test_a_disk_that_refuses_is_said_at_once(home: Path, shelf: Shelf) -> None:
    (home / "releases").write_text("not a folder")
    with pytest.raises(DiskTrouble, match="releases"):
        await ReleaseStore(Config(home=home), [shelf]).fetch("0.40.6", offers(), "", silent)
    assert shelf.fetched == 0


async def test_a_guest_goes_on_when_its_executable_is_replaced(store: ReleaseStore, shelf: Shelf) -> None:
    shelf.content = b"#!/bin/sh\ncase $1 in --version) echo pocketbase version 0.40.6;; *) echo runs; exec cat;; esac\n"
    path = (await store.fetch("0.40.6", offers(), "", silent)).path
    guest = await asyncio.create_subprocess_exec(
        path, "serve", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert guest.stdout is not None
    assert await guest.stdout.readline() == b"runs\n"
    await store.discard("0.40.6")
    await store.fetch("0.40.6", offers(), "", silent)
    said, _ = await guest.communicate(b"still here")
    assert said == b"still here"
