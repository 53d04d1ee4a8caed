"""Instances with notes, each with a file, written by clients that keep a ledger of what was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.snapshots import SnapshotStore
from tests.integration.runtime.rooms import House, sign_in

#: Releases that differ in how they store and back up.
RELEASES = ("0.22.27", "0.23.12", "0.40.6")
NOTES = "/api/collections/notes/records"


class Notebook:
    """One instance, and what its clients were told."""

    def __init__(self, house: House, guest: Guest) -> None:
        self.house = house
        self.guest = guest
        #: id -> the word in it, from the moment that its creation was answered
        self.ledger: dict[str, str] = {}
        self.longest = 0.0
        self._number = 0

    @property
    def id(self) -> str:
        return self.guest.instance_id

    async def wake(self) -> None:
        await self.house.supervisor.ensure(self.id, cause="test", suspect=True)

    async def sleep(self) -> None:
        await self.house.supervisor.sleep(self.id, cause="test", drain=0, quiet_only=False)

    @contextlib.asynccontextmanager
    async def owner(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client with a superuser's token."""
        token = await sign_in(self.guest, self.guest.listens_at)
        async with httpx.AsyncClient(
            verify=False, base_url=f"http://{self.guest.listens_at}", headers={"authorization": token}, timeout=20
        ) as client:
            yield client

    async def make_collection(self) -> None:
        fields: list[dict[str, Any]] = [{"name": "word", "type": "text"}]
        attached: dict[str, Any] = {"name": "paper", "type": "file"}
        limits = {"maxSelect": 1, "maxSize": 5_000_000}
        attached |= limits if self.guest.has_superusers else {"options": limits}
        form = {"fields" if self.guest.has_superusers else "schema": [*fields, attached]}
        rules = dict.fromkeys(("listRule", "viewRule", "createRule", "updateRule", "deleteRule"), "")
        async with self.owner() as client:
            answer = await client.post("/api/collections", json={"name": "notes", "type": "base", **form, **rules})
        assert answer.status_code == 200, answer.text

    async def write(self, client: httpx.AsyncClient) -> str:
        """One note with a file that holds its word; no retries."""
        self._number += 1
        word = f"word {self._number}"
        began = time.monotonic()
        answer = await client.post(NOTES, data={"word": word}, files={"paper": ("paper.txt", word.encode())})
        self.longest = max(self.longest, time.monotonic() - began)
        assert answer.status_code == 200, answer.text
        made = str(answer.json()["id"])
        self.ledger[made] = word
        return made

    @contextlib.asynccontextmanager
    async def writers(self, count: int = 3) -> AsyncIterator[None]:
        """Clients that write without a pause; the first notes are there when this begins."""
        enough = asyncio.Event()
        over = asyncio.Event()

        async def go_on() -> None:
            async with httpx.AsyncClient(
                verify=False, base_url=f"http://{self.guest.listens_at}", timeout=20
            ) as client:
                while not over.is_set():
                    await self.write(client)
                    if len(self.ledger) >= 5 * count:
                        enough.set()

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(go_on())
            await enough.wait()
            try:
                yield
            finally:
                over.set()

    async def notes(self) -> dict[str, str]:
        """What the instance answers now."""
        found: dict[str, str] = {}
        async with httpx.AsyncClient(verify=False, base_url=f"http://{self.guest.listens_at}", timeout=20) as client:
            page = 1
            while True:
                answer = await client.get(NOTES, params={"page": page, "perPage": 500, "sort": "id"})
                assert answer.status_code == 200, answer.text
                items = answer.json()["items"]
                if not items:
                    return found
                found |= {item["id"]: item["word"] for item in items}
                page += 1

    async def papers(self) -> dict[str, str]:
        """What the files hold, served by the instance."""
        found = {}
        async with httpx.AsyncClient(verify=False, base_url=f"http://{self.guest.listens_at}", timeout=20) as client:
            answer = await client.get(NOTES, params={"perPage": 500})
            for item in answer.json()["items"]:
                served = await client.get(f"/api/files/notes/{item['id']}/{item['paper']}")
                assert served.status_code == 200, served.text
                found[item["id"]] = served.text
        return found


class Shelf:
    """All of them, and the store of their snapshots."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.store = SnapshotStore(house.config)

    async def notebook(self, release: str, *, ballast: int = 0, hook: str = "") -> Notebook:
        """An awake instance with an empty collection `notes`, and so many MB of other data."""
        book = Notebook(self.house, await self.house.add_claimed(release=release))
        if hook:
            (book.guest.folder / "pb_hooks" / "main.pb.js").write_text(hook)
        if ballast:
            with contextlib.closing(sqlite3.connect(book.guest.data_folder / "data.db")) as database:
                database.execute("CREATE TABLE ballast (content BLOB)")
                database.executemany("INSERT INTO ballast VALUES (randomblob(1000000))", [()] * ballast)
                database.commit()
        await book.wake()
        await book.make_collection()
        return book


def words_in(data: Path) -> dict[str, str]:
    """Notes by id as a copy's database holds them."""
    with contextlib.closing(sqlite3.connect(f"file:{data}/pb_data/data.db?mode=ro&immutable=1", uri=True)) as opened:
        return dict(opened.execute("SELECT id, word FROM notes").fetchall())


def papers_in(data: Path) -> dict[str, str]:
    """What the file of each note holds in a copy."""
    with contextlib.closing(sqlite3.connect(f"file:{data}/pb_data/data.db?mode=ro&immutable=1", uri=True)) as opened:
        collection = opened.execute("SELECT id FROM _collections WHERE name = 'notes'").fetchone()[0]
        rows = opened.execute("SELECT id, paper FROM notes").fetchall()
    storage = data / "pb_data" / "storage" / collection
    return {made: (storage / made / paper).read_text() for made, paper in rows}
