"""Our zips go back through PocketBase's own restore, and PocketBase's own zips are read by us."""

from __future__ import annotations

import asyncio
import contextlib
import zipfile
from pathlib import Path

import httpx
import pytest

from pocketfleet.runtime import inspect
from pocketfleet.runtime.archives import read_archive, verify_archive, write_backup
from tests.integration.copies.notebooks import RELEASES, Notebook, Shelf, papers_in, words_in


async def _restored(book: Notebook, client: httpx.AsyncClient, name: str) -> None:
    """Ask PocketBase for its own restore and wait until it has started itself anew."""
    marker = book.guest.data_folder / "before-the-restore"
    marker.write_text("gone afterwards")
    # whoever it was before answers until it is replaced; then what was connected to it is cut off
    reader, writer = await asyncio.open_connection(book.guest.address, book.guest.port)
    answer = await client.post(f"/api/backups/{name}/restore")
    assert answer.status_code == 204, answer.text
    async with asyncio.timeout(15):
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        while True:
            try:
                async with httpx.AsyncClient(verify=False, base_url=client.base_url) as fresh:
                    if (await fresh.get("/api/health")).status_code == 200:
                        break
            except httpx.TransportError:
                await asyncio.sleep(0.02)
    assert not marker.exists()


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("release", RELEASES)
async def test_pocketbase_restores_ours(shelf: Shelf, release: str, full: bool) -> None:
    book = await shelf.notebook(release, hook="console.log('loaded')")
    async with book.owner() as client:
        for _ in range(5):
            await book.write(client)
        await shelf.store.take(book.id, "one", release=release, awake=True)
        kept = dict(book.ledger)
        for _ in range(3):
            await book.write(client)
        archive = shelf.house.config.backups / book.id / "ours.zip"
        data = shelf.store.path(book.id, "one")
        written = await write_backup(data, archive, full=full, release=release)
        assert archive.stat().st_size == written.size
        await verify_archive(archive)
        with archive.open("rb") as opened:
            answer = await client.post("/api/backups/upload", files={"file": ("ours.zip", opened, "application/zip")})
        assert answer.status_code == 204, answer.text
        await _restored(book, client, "ours.zip")
    assert await book.notes() == kept == await book.papers()
    again = await shelf.store.take(book.id, "two", release=release, awake=True)
    assert again.counts["notes"] == 5

    into = shelf.house.config.incoming / "one"
    read = await read_archive(archive, into)
    assert (read.kind, read.full, read.release) == ("pocketfleet", full, release)
    assert words_in(into) == kept == papers_in(into)
    assert (into / "pb_hooks" / "main.pb.js").exists() == full


@pytest.mark.parametrize("release", RELEASES)
async def test_pocketbases_own_are_read(shelf: Shelf, release: str) -> None:
    book = await shelf.notebook(release)
    async with book.owner() as client:
        for _ in range(5):
            await book.write(client)
        answer = await client.post("/api/backups", json={"name": "own.zip"}, timeout=30)
        assert answer.status_code == 204, answer.text
    into = shelf.house.config.incoming / "one"
    read = await read_archive(book.guest.data_folder / "backups" / "own.zip", into)
    assert (read.kind, read.full, read.release) == ("pocketbase", False, "")
    assert words_in(into) == book.ledger == papers_in(into)
    assert inspect.counts(into)["notes"] == 5
    age = inspect.recognise(into)
    assert age.old == (release == "0.22.27")
    assert age.superusers == 1
    assert not age.encrypted
    assert not age.unknown

    # the same data as people pack it by hand, with its folder and what lies beside it
    by_hand = shelf.house.config.home / "by-hand.zip"
    with zipfile.ZipFile(by_hand, "w") as packed:
        packed.writestr("site/pb_hooks/main.pb.js", "console.log(1)")
        packed.writestr("site/pocketbase", b"\x7fELF")
        _pack(packed, into / "pb_data", "site/pb_data")
    read = await read_archive(by_hand, shelf.house.config.incoming / "two")
    assert (read.kind, read.full) == ("folder", True)
    assert words_in(read.folder) == book.ledger
    assert [word for word in read.left_out if "site" in word]


def _pack(packed: zipfile.ZipFile, folder: Path, prefix: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            packed.write(path, f"{prefix}/{path.relative_to(folder)}")
