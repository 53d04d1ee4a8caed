"""A snapshot whose files were copied ahead: quick, exact, none before it is taken, and taken by whoever comes next."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pocketfleet.config import Config
from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime import ledgers, taking
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.snapshots import SnapshotStore
from tests.unit.copies.folders import small_data

INSTANCE = "i" * 15


class Shelf:
    """Snapshots of one instance."""

    def __init__(self, home: Path) -> None:
        self.config = Config(home=home)
        self.store = SnapshotStore(self.config)
        self.live = self.config.instances / INSTANCE
        self.storage = small_data(self.live) / "storage" / "c1"
        self.put("r1", "one")
        self.put("r2", "two")

    def put(self, record: str, text: str) -> Path:
        """A record's file."""
        path = self.storage / record / "note.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    async def take(self, name: str, base: str | None = None) -> None:
        """Of a sleeping instance."""
        await self.store.take(INSTANCE, name, release="0.40.6", awake=False, base=base)

    def held(self, name: str) -> dict[str, str]:
        """Contents by record."""
        top = self.store.path(INSTANCE, name) / "pb_data/storage/c1"
        return {path.parent.name: path.read_text() for path in sorted(top.rglob("note.txt"))}

    def names(self) -> list[str]:
        """All that lies among the snapshots."""
        return sorted(path.name for path in (self.config.snapshots / INSTANCE).iterdir())


@pytest.fixture
async def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """With a snapshot of what is there; what is older than some ticks of the clock is believed."""
    monkeypatch.setattr(ledgers, "RACY", 0.03)
    made = Shelf(tmp_path)
    await made.take("base")
    await asyncio.sleep(0.06)
    await made.store.prepare(INSTANCE, "next", base="base")
    return made


@pytest.mark.parametrize("restarted", [False, True])
async def test_it_holds_what_is_there_when_it_is_taken(shelf: Shelf, restarted: bool) -> None:
    """`restarted`: by another node, which knows nothing of how it was prepared."""
    assert shelf.store.present(INSTANCE) == ["base"]
    shelf.put("r3", "three")
    shelf.put("r1", "changed")
    (shelf.storage / "r2" / "note.txt").unlink()
    if restarted:
        shelf.store = SnapshotStore(shelf.config)
        # of what a try that was broken off had begun with
        (shelf.config.snapshots / INSTANCE / ".prepared-next/data/pb_data/gone.db").write_text("stale")
    await shelf.take("next", base="base")
    assert shelf.held("next") == {"r1": "changed", "r3": "three"}
    assert shelf.held("base") == {"r1": "one", "r2": "two"}
    assert shelf.names() == ["base", "next"]
    # as many files and bytes as it says, and no more
    await shelf.store.verify(INSTANCE, "next")
    assert not (shelf.store.path(INSTANCE, "next") / "pb_data/gone.db").exists()


async def test_files_that_did_not_change_are_shared_and_said_to_be(shelf: Shelf) -> None:
    await shelf.take("next", base="base")
    assert shelf.store.manifest(INSTANCE, "next").linked == 2
    note = Path("pb_data/storage/c1/r1/note.txt")
    assert (shelf.store.path(INSTANCE, "next") / note).samefile(shelf.store.path(INSTANCE, "base") / note)
    assert (shelf.storage / "r1" / "note.txt").stat().st_nlink == 1


async def test_one_that_could_not_be_taken_can_be_taken_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(data: Path, errand: Errand, *, thorough: bool) -> dict[str, int]:
        raise SnapshotUnusable("damaged")

    with monkeypatch.context() as patched:
        patched.setattr(taking, "verified", damaged)
        shelf.put("r3", "three")
        with pytest.raises(SnapshotUnusable):
            await shelf.take("next")
    assert shelf.names() == [".prepared-next", "base"]
    shelf.put("r3", "changed again")
    await shelf.take("next")
    assert shelf.held("next") == {"r1": "one", "r2": "two", "r3": "changed again"}
    await shelf.store.verify(INSTANCE, "next")


async def test_it_goes_when_nobody_will_take_it(shelf: Shelf) -> None:
    await shelf.store.sweep(INSTANCE)
    assert shelf.store.is_prepared(INSTANCE, "next"), "in use"
    after = SnapshotStore(shelf.config)
    await after.sweep(INSTANCE, {"next"})
    assert after.is_prepared(INSTANCE, "next"), "its operation is taken up again"
    await after.sweep(INSTANCE)
    assert shelf.names() == ["base"]
    await shelf.store.prepare(INSTANCE, "next")
    await shelf.store.drop_prepared(INSTANCE, "next")
    await shelf.store.drop_prepared(INSTANCE, "next")
    assert shelf.names() == ["base"]


async def test_room_is_needed_for_what_is_not_there_yet(shelf: Shelf) -> None:
    shelf.put("r3", "x" * 100_000)
    whole, rest = await shelf.store.estimate(INSTANCE), await shelf.store.estimate(INSTANCE, "next")
    assert whole.bytes - rest.bytes == 100_000 + len("one" + "two")
    assert rest.files == 1
    other = await shelf.store.estimate(INSTANCE, "another")
    assert other == whole


async def test_prepared_twice_it_is_made_anew_and_taken_it_stays(shelf: Shelf) -> None:
    shelf.put("r3", "three")
    await shelf.store.prepare(INSTANCE, "next", base="base")
    await shelf.take("next")
    await shelf.store.prepare(INSTANCE, "next", base="base")
    assert shelf.held("next") == {"r1": "one", "r2": "two", "r3": "three"}
    assert shelf.names() == ["base", "next"]
