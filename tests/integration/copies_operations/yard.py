"""Node's working parts with an engine, and instances with records and files in them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from pocketfleet.actions.instances import create_instance
from pocketfleet.config import Config
from pocketfleet.domain.hostnames import new_id
from pocketfleet.domain.states import OperationState
from pocketfleet.models import Instance, Operation
from pocketfleet.operations.database import Database
from pocketfleet.operations.engine import Engine
from pocketfleet.operations.plans import PLANS
from tests.integration.operations.waiting import until
from tests.pocketbases import JOURNEY_VERSIONS, NEWEST, executable
from tests.ports import free_port
from tests.workshop import Workshop, offer_folder

EMAIL = "owner@example.org"
PASSWORD = "correct horse battery"
HOOK = 'routerAdd("GET", "/hello", (e) => e.string(200, "hello"))\n'


class Yard:
    """A workshop, and what users ask of it."""

    def __init__(self, workshop: Workshop, database: Database) -> None:
        self.workshop = workshop
        self.config = workshop.config
        self.database = database
        self.engine = Engine(PLANS, workshop.tools, database, again=(0.01, 0.01))

    async def ask(self, action: Any, *arguments: Any, **options: Any) -> Any:
        """An action, as control calls it."""
        return await self.database.call(action, *arguments, acting_user=None, **options)

    async def ended(self, operation: Operation, state: OperationState = OperationState.SUCCEEDED) -> Operation:
        """The operation once it is over, and as it should be."""
        self.engine.notice()

        async def is_over() -> bool:
            return (await self.read(operation)).finished_at is not None

        await until(is_over, 60)
        after = await self.read(operation)
        assert after.state == state, after.error
        return after

    async def read(self, operation: Operation) -> Operation:
        """As it is written down now."""
        return await self.database.call(Operation.objects.get, id=operation.id)

    async def row(self, instance: Instance | str) -> Instance:
        """The instance as it is written down now."""
        return await self.database.call(Instance.objects.get, id=instance if isinstance(instance, str) else instance.id)

    async def create(self, name: str = "shop", version: str = NEWEST) -> Instance:
        """An instance that is ready."""
        instance, operation = await self.ask(
            create_instance, name, email=EMAIL, password=PASSWORD, version_range=version
        )
        await self.ended(operation)
        return await self.row(instance)

    async def wake(self, instance: Instance | str) -> Visitor:
        """Its superuser, signed in."""
        identifier = instance if isinstance(instance, str) else instance.id
        address = await self.workshop.supervisor.ensure(identifier, cause="test")
        return await Visitor.sign_in(address, (await self.row(identifier)).release)

    async def sleep(self, instance: Instance) -> None:
        """At once."""
        await self.workshop.supervisor.sleep(instance.id, cause="test", drain=0, quiet_only=False)

    async def put_hook(self, instance: Instance, text: str) -> Path:
        """While it sleeps: awake, PocketBase would restart itself at some moment after."""
        await self.sleep(instance)
        path = self.folder(instance) / "pb_hooks" / "main.pb.js"
        path.write_text(text)
        return path

    def folder(self, instance: Instance) -> Path:
        """The tenant's own."""
        return self.config.instances / instance.id

    def upload(self, path: Path) -> str:
        """As if it had been uploaded."""
        identifier = new_id()
        self.config.incoming.mkdir(exist_ok=True)
        shutil.copyfile(path, self.config.upload(identifier))
        return identifier

    def incoming(self) -> list[str]:
        """What lies about on its way somewhere."""
        return sorted(path.name for path in self.config.incoming.glob("*")) if self.config.incoming.exists() else []


class Visitor:
    """A superuser at work."""

    def __init__(self, client: httpx.AsyncClient, version: str) -> None:
        self.client = client
        self.old = version.startswith("0.22")

    @classmethod
    async def sign_in(cls, address: str, version: str) -> Visitor:
        """With the password that every instance of these tests has."""
        people = "admins" if version.startswith("0.22") else "collections/_superusers"
        async with httpx.AsyncClient(verify=False, base_url=f"http://{address}") as client:
            owner = {"identity": EMAIL, "password": PASSWORD}
            answer = await client.post(f"/api/{people}/auth-with-password", json=owner)
        assert answer.status_code == 200, answer.text
        headers = {"authorization": answer.json()["token"]}
        return cls(httpx.AsyncClient(verify=False, base_url=f"http://{address}", headers=headers, timeout=20), version)

    async def make_posts(self) -> None:
        """A collection with a text and a file."""
        fields = [{"name": "title", "type": "text"}, {"name": "file", "type": "file"}]
        if self.old:
            fields[1]["options"] = {"maxSelect": 1, "maxSize": 5_000_000}  # type: ignore[assignment]
        body = {"name": "posts", "type": "base", "listRule": "", "viewRule": ""}
        made = await self.client.post("/api/collections", json=body | {"schema" if self.old else "fields": fields})
        assert made.status_code == 200, made.text

    async def post(self, title: str, content: bytes | None = None) -> dict[str, Any]:
        """A record, with a file where there is content."""
        path, fields = "/api/collections/posts/records", {"title": title}
        if content is None:
            made = await self.client.post(path, json=fields)
        else:
            made = await self.client.post(path, data=fields, files={"file": ("note.txt", content)})
        assert made.status_code == 200, made.text
        record: dict[str, Any] = made.json()
        return record

    async def titles(self) -> list[str]:
        """Of all posts, in order."""
        found = await self.client.get("/api/collections/posts/records", params={"perPage": 500, "sort": "title"})
        assert found.status_code == 200, found.text
        return [item["title"] for item in found.json()["items"]]

    async def file(self, record: dict[str, Any]) -> bytes:
        """A record's file as it is served."""
        found = await self.client.get(f"/api/files/posts/{record['id']}/{record['file']}")
        assert found.status_code == 200, found.text
        return found.content

    async def settings(self, **changes: Any) -> dict[str, Any]:
        """PocketBase's settings, changed before if there is something to change."""
        if changes:
            changed = await self.client.patch("/api/settings", json=changes)
            assert changed.status_code == 200, changed.text
        found: dict[str, Any] = (await self.client.get("/api/settings")).json()
        return found

    async def status(self, path: str) -> int:
        """Of a GET."""
        return (await self.client.get(path)).status_code


@contextlib.asynccontextmanager
async def open_yard(home: Path, database: Database, **settings: Any) -> AsyncIterator[Yard]:
    """Releases of all ages in the catalogue, none fetched yet."""
    folder = home / "own"
    for version in JOURNEY_VERSIONS:
        (folder / version).mkdir(parents=True)
        (folder / version / "pocketbase").hardlink_to(executable(version))
    config = Config(
        home=home,
        release_sources=("folder",),
        release_folder=str(folder),
        guest_port=free_port(),
        **{"stop_timeout": 5.0, **settings},
    )
    await database.call(offer_folder, folder, *JOURNEY_VERSIONS)
    yard = Yard(Workshop(config, database), database)
    await yard.engine.resume()
    try:
        yield yard
    finally:
        await yard.engine.stop()
        await yard.workshop.supervisor.stop_all()
        await asyncio.sleep(0)
