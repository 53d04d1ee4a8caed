"""The real `restore` with a real PocketBase, killed at every step boundary; prints what became of it as JSON."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from pocketfleet.actions import copies
from pocketfleet.actions.copies import Origin, Rehearsing
from pocketfleet.actions.instances import create_instance
from pocketfleet.config import Config
from pocketfleet.models import Instance, Operation, Rehearsal
from pocketfleet.operations.engine import Engine
from pocketfleet.operations.plans import PLANS
from tests.crash import children
from tests.crash.children import HOME, KillingDatabase, Point, until
from tests.pocketbases import NEWEST, executable
from tests.ports import free_port
from tests.workshop import Workshop, offer_folder

EMAIL = "owner@example.org"
PASSWORD = "correct horse battery"
OWN = HOME / "own"
TEMPLATE = HOME / "before"
FOLDERS = ("instances", "logs", "releases", "run", "edge", "snapshots", "backups", "incoming", "quarantine")
#: of a rehearsal; gone with it
CLONES = "rehearsals"
#: seconds into a step at which node dies, in the middle of what it does
INTO = [("open", 0.01), ("snapshot", 0.01), ("place", 0.004), ("start", 0.01), ("verify", 0.005), ("tidy", 0.004)]
#: the stories that are rehearsed, whatever is found being accepted: data that does not start, so its lives are short,
#: and data that lacks a record
REFUSED, ACCEPTED = "refused", "accepted"
REHEARSED = (REFUSED, ACCEPTED)
#: by story, the name of its file
UPLOADS = {story: story.ljust(15, "0") for story in ("good", "bad", *REHEARSED)}
INTO_REHEARSED = [("rehearse", 0.3)]
_FAILING = "migrate((app) => { app.nothing() }, (app) => null)"
#: what is written between the steps' records, and matters
_WORDS = ("move_step", "move_operation", "fail_step", "end_operation", "set_hold", "set_release", "record_snapshot")


class Life:
    """One life of node, on whatever the one before has left."""

    def __init__(self, port: int, database: KillingDatabase) -> None:
        config = Config(
            home=HOME, release_sources=("folder",), release_folder=str(OWN), guest_port=port, stop_timeout=5.0
        )
        self.workshop = Workshop(config, database)
        self.engine = Engine(PLANS, self.workshop.tools, database, again=(0.0, 0.0))

    async def begin(self) -> None:
        """In node's order: facts, holds, what runs, open operations."""
        self.workshop.store.sweep()
        await self.workshop.fleet.load()
        for facts in self.workshop.fleet.known():
            if facts.hold:
                self.workshop.gate.hold(facts.id)
        await self.workshop.supervisor.adopt()
        await self.engine.resume()

    async def titles(self, instance_id: str) -> list[str]:
        """What a visitor sees."""
        address = await self.workshop.supervisor.ensure(instance_id, cause="test")
        async with httpx.AsyncClient(verify=False, base_url=f"http://{address}") as client:
            found = await client.get("/api/collections/posts/records", params={"sort": "title"})
            return [item["title"] for item in found.json()["items"]]


async def prepare(port: int) -> dict[str, Any]:
    """An instance with a record, backups of it (one that works, one that does not), and another record."""
    database = KillingDatabase(Point())
    await database.call(offer_folder, OWN, NEWEST)
    life = Life(port, database)
    await life.begin()
    instance, _ = await database.call(create_instance, "shop", email=EMAIL, password=PASSWORD, acting_user=None)
    await ended(life, database)
    address = await life.workshop.supervisor.ensure(instance.id, cause="test")
    async with httpx.AsyncClient(verify=False, base_url=f"http://{address}") as client:
        owner = {"identity": EMAIL, "password": PASSWORD}
        signed_in = await client.post("/api/collections/_superusers/auth-with-password", json=owner)
        client.headers["authorization"] = signed_in.json()["token"]
        body = {"name": "posts", "type": "base", "listRule": "", "fields": [{"name": "title", "type": "text"}]}
        (await client.post("/api/collections", json=body)).raise_for_status()
        (await client.post("/api/collections/posts/records", json={"title": "one"})).raise_for_status()
        await database.call(copies.back_up_instance, instance.id, acting_user=None)
        await ended(life, database)
        (await client.post("/api/collections/posts/records", json={"title": "two"})).raise_for_status()
    await life.engine.stop()
    await life.workshop.supervisor.stop_all()
    await database.close()
    (backup,) = (HOME / "backups" / instance.id).iterdir()
    (HOME / "incoming").mkdir()
    uploads = {story: HOME / "incoming" / f"{name}.zip" for story, name in UPLOADS.items()}
    break_archive(backup, uploads["bad"])
    for story in ("good", *REHEARSED):
        shutil.copyfile(backup, uploads[story])
    with zipfile.ZipFile(uploads[REFUSED], "a") as packed:
        packed.writestr("pocketfleet/pb_migrations/1999999999_bad.js", _FAILING)
    return {"id": instance.id}


def break_archive(source: Path, target: Path) -> None:
    """Sound for SQLite, and PocketBase cannot list its collection."""
    database = target.with_suffix(".db")
    with zipfile.ZipFile(source) as opened, zipfile.ZipFile(target, "w") as packed:
        database.write_bytes(opened.read("data.db"))
        connection = sqlite3.connect(database, isolation_level=None)
        connection.execute("DROP TABLE posts")
        connection.close()
        packed.write(database, "data.db")
    database.unlink()


async def ended(life: Life, database: KillingDatabase) -> None:
    """Wait until nothing is open."""
    life.engine.notice()
    await until(database, children.nothing_is_open)


async def carry_out(instance_id: str, story: str, port: int, point: Point, ask: bool) -> dict[str, Any]:
    """One life of node: ask for the restore the first time, carry out what is open, look at the outcome."""
    quiet = KillingDatabase(Point())
    if ask:
        wanted = Rehearsing(rehearse=story in REHEARSED, accept=story in REHEARSED)
        upload = Origin(upload=UPLOADS[story])
        await quiet.call(copies.restore_instance, instance_id, upload, wanted, acting_user=None)
    database = KillingDatabase(point)
    life = Life(port, database)
    await life.begin()
    await until(quiet, children.nothing_is_open)
    outcome: dict[str, Any] = await quiet.call(_outcome, instance_id)
    outcome["calls"] = list(database.called)
    outcome["held"] = life.workshop.gate.holds(instance_id)
    outcome["titles"] = await life.titles(instance_id)
    await life.engine.stop()
    await life.workshop.supervisor.stop_all()
    await quiet.close()
    await database.close()
    return outcome


def _outcome(instance_id: str) -> dict[str, Any]:
    operation = Operation.objects.get(kind="restore")
    row = Instance.objects.get(id=instance_id)
    return {
        "state": operation.state,
        "error": operation.error,
        "hold": row.hold,
        "release": row.release,
        "instances": sorted(path.name for path in (HOME / "instances").iterdir()),
        "incoming": sorted(path.name for path in (HOME / "incoming").iterdir()),
        "clones": sorted(path.name for path in (HOME / CLONES).glob("*")),
        "rehearsals": [row.verdict for row in Rehearsal.objects.all()],
    }


def tell(instance_id: str, story: str, port: int, *points: Point) -> dict[str, Any]:
    """A restore with a death at each point, and another life that ends it."""
    for name in (*FOLDERS, CLONES):
        shutil.rmtree(HOME / name, ignore_errors=True)
        if (TEMPLATE / name).exists():
            shutil.copytree(TEMPLATE / name, HOME / name)
    for path in HOME.glob("control.sqlite3*"):
        path.unlink()
    shutil.copyfile(TEMPLATE / "control.sqlite3", HOME / "control.sqlite3")
    for deaths, at in enumerate((*points, Point())):
        outcome = children.run(partial(carry_out, instance_id, story, port, at, deaths == 0))
        if outcome is not None:
            return {**outcome, "deaths": deaths, "points": [str(point) for point in points]}
    raise AssertionError("the last life is never killed")


def boundaries(calls: list[str], story: str) -> list[Point]:
    """Before each record, and after the last; of a rehearsed one around the steps that the others pass over, and of one
    that is accepted whatever comes then."""
    calls = calls[: calls.index("end_operation") + 1]
    if story == REFUSED:
        names = (
            "move_step done copy",
            "record_rehearsal",
            "move_step done rehearse",
            "move_step running decide",
            "fail_step",
        )
        return [Point(before=calls.index(name) + 1) for name in names]
    first = calls.index("record_rehearsal") if story == ACCEPTED else 0
    numbers = [number for number, call in enumerate(calls, 1) if number > first and call.startswith(_WORDS)]
    return [*(Point(before=number) for number in numbers), Point(after=len(calls))]


def main(story: str, share: str, of: str) -> None:
    """The undisturbed restore first, then every `of`-th boundary from `share` on, then the middle of steps."""
    (OWN / NEWEST).mkdir(parents=True)
    shutil.copyfile(executable(NEWEST), OWN / NEWEST / "pocketbase")
    children.fresh_journal()
    port = free_port()
    prepared = children.run(partial(prepare, port))
    assert prepared is not None
    TEMPLATE.mkdir()
    for name in FOLDERS:
        if (HOME / name).exists():
            shutil.copytree(HOME / name, TEMPLATE / name)
    with sqlite3.connect(HOME / "control.sqlite3") as source, sqlite3.connect(TEMPLATE / "control.sqlite3") as target:
        source.backup(target)
    identifier = prepared["id"]
    plain = tell(identifier, story, port)
    told = {
        "id": identifier,
        "plain": [plain],
        "boundaries": [
            tell(identifier, story, port, point) for point in boundaries(plain["calls"], story)[int(share) :: int(of)]
        ],
        "middle": [
            tell(identifier, story, port, Point(into=into))
            for into in (INTO_REHEARSED if story in REHEARSED else INTO[int(share) :: int(of)])
        ],
    }
    json.dump(told, sys.stdout)
