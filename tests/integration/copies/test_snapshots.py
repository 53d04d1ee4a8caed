"""Snapshots of real PocketBases, awake under writers and asleep after a kill, and going back to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketfleet.runtime import inspect
from tests.integration.copies.notebooks import RELEASES, Notebook, Shelf, papers_in, words_in
from tests.integration.runtime.rooms import kill
from tests.pocketbases import NEWEST


@pytest.mark.parametrize("release", RELEASES)
async def test_taken_under_writers_it_holds_what_was_acknowledged_and_going_back_gives_exactly_that(
    shelf: Shelf, release: str
) -> None:
    book = await shelf.notebook(release, ballast=40)
    data = shelf.store.path(book.id, "first")
    async with book.owner() as client:
        # from here on an opening that is not read-only would cost the writes that follow
        answer = await client.post("/api/backups", json={"name": "own.zip"})
        assert answer.status_code == 204, answer.text
    async with book.writers():
        before = dict(book.ledger)
        manifest = await shelf.store.take(book.id, "first", release=release, awake=True)
        held = words_in(data)
        assert set(book.ledger) >= before.keys()
        later = await shelf.store.take(book.id, "second", release=release, awake=True, base="first")
    everything = dict(book.ledger)
    assert len(everything) > len(before)
    assert before.items() <= held.items() <= everything.items()
    assert manifest.counts["notes"] == len(held)
    assert papers_in(data) == held
    assert manifest.left_out == []
    assert manifest.awake
    assert manifest.thorough
    assert later.linked > 0
    assert len(words_in(shelf.store.path(book.id, "second"))) >= len(held)
    assert book.longest < 5

    # nothing of what was written after the snapshot hangs on a file that is gone (FACTS.md, "Lost writes")
    kill(shelf.house.pid(book.guest), book.guest.listens_at)
    await book.wake()
    assert await book.notes() == everything

    own = (book.guest.data_folder / "backups" / "own.zip").read_bytes()
    assert not (data / "pb_data" / "backups").exists()
    async with shelf.house.supervisor.at_rest(book.id):
        await shelf.store.put_back(book.id, "first")
    await book.wake()
    assert await book.notes() == held
    assert (await book.papers()).items() <= held.items()
    assert (book.guest.data_folder / "backups" / "own.zip").read_bytes() == own
    # what the instance writes now must not reach the snapshots
    async with book.owner() as client:
        await book.write(client)
    assert words_in(data) == held
    await shelf.store.verify(book.id, "first")
    await shelf.store.verify(book.id, "second")


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("release", RELEASES)
async def test_of_a_killed_one_the_log_counts_and_its_files_stay_as_they_are(shelf: Shelf, release: str) -> None:
    book = await shelf.notebook(release)
    async with book.owner() as client:
        for _ in range(20):
            await book.write(client)
    kill(shelf.house.pid(book.guest), book.guest.listens_at)
    async with shelf.house.supervisor.at_rest(book.id):
        # at rest the log of requests gets its index; data.db itself has its writes in the log still
        assert (book.guest.data_folder / "data.db-wal").stat().st_size > 0
        before = _files(book.guest.folder)
        manifest = await shelf.store.take(book.id, "one", release=release, awake=False)
        assert _files(book.guest.folder) == before
    data = shelf.store.path(book.id, "one")
    assert words_in(data) == book.ledger == papers_in(data)
    assert manifest.counts["notes"] == 20
    assert not [path for path in (data / "pb_data").iterdir() if path.name.endswith(("-wal", "-shm"))]
    await book.wake()
    assert await book.notes() == book.ledger


async def test_asleep_and_awake_tell_the_same_fingerprints(shelf: Shelf) -> None:
    book = await shelf.notebook(NEWEST, hook="console.log(1)")
    awake = await shelf.store.take(book.id, "awake", release=NEWEST, awake=True)
    async with book.owner() as client:
        await book.write(client)
    async with shelf.house.supervisor.at_rest(book.id):
        asleep = await shelf.store.take(book.id, "asleep", release=NEWEST, awake=False, thorough=False)
        (book.guest.folder / "pb_hooks" / "main.pb.js").write_text("console.log(2)")
        changed = await shelf.store.take(book.id, "changed", release=NEWEST, awake=False)
    assert asleep.fingerprints == awake.fingerprints
    assert not asleep.thorough
    assert changed.fingerprints["hooks"] != awake.fingerprints["hooks"]
    assert changed.fingerprints["schema"] == awake.fingerprints["schema"]
    between = inspect.changes_between(*(shelf.store.path(book.id, name) for name in ("awake", "asleep")))
    assert between.records["notes"].created_ids == list(book.ledger)
    assert between.files.created == 1


async def test_a_clone_shares_nothing_that_could_be_written_to(shelf: Shelf) -> None:
    book = await shelf.notebook(NEWEST)
    async with book.owner() as client:
        await book.write(client)
    for name, base in (("one", None), ("two", "one")):
        await shelf.store.take(book.id, name, release=NEWEST, awake=True, base=base)
    other = shelf.house.add(release=NEWEST)
    await shelf.store.copy_to(book.id, "two", other.folder)
    live = {path.stat().st_ino for path in book.guest.folder.rglob("*") if path.is_file()}
    copies = {path.stat().st_ino for path in shelf.store.path(book.id, "two").rglob("*") if path.is_file()}
    cloned = {path.stat().st_ino for path in other.folder.rglob("*") if path.is_file()}
    assert not live & copies
    assert not cloned & (live | copies)
    assert all(path.stat().st_nlink == 1 for path in other.folder.rglob("*") if path.is_file())
    clone = Notebook(shelf.house, other)
    await clone.wake()
    assert await clone.notes() == book.ledger == await clone.papers()
    assert sorted(path.name for path in (shelf.house.config.snapshots / book.id).iterdir()) == ["one", "two"]
