"""The real `create` with a real PocketBase, killed at every step boundary; prints what became of it as JSON."""

from __future__ import annotations

import json
import shutil
import sys
from functools import partial
from typing import Any

import httpx

from pocketfleet.actions.instances import create_instance
from pocketfleet.config import Config
from pocketfleet.models import Instance, Operation
from pocketfleet.operations.engine import Engine
from pocketfleet.operations.plans import PLANS
from tests.crash import children
from tests.crash.children import HOME, KillingDatabase, Point, until
from tests.pocketbases import executable
from tests.ports import free_port
from tests.workshop import Workshop, offer_folder

EMAIL = "owner@example.org"
PASSWORD = "correct horse battery"
OWN = HOME / "own"
#: seconds into a step at which node dies, in the middle of what it does
INTO = [("release", 0.02), ("superuser", 0.01), ("superuser", 0.05), ("superuser", 0.1)]
_COMPLAINT = """#!/bin/sh
case "$1" in --version) echo "pocketbase version 9.9.9";; *) echo "Error: no superusers today";; esac
"""


def _config(port: int) -> Config:
    return Config(home=HOME, release_sources=("folder",), release_folder=str(OWN), guest_port=port, stop_timeout=5.0)


async def carry_out(version: str, port: int, point: Point, ask: bool) -> dict[str, Any]:
    """One life of node: create the instance the first time, carry out what is open, look at the outcome."""
    quiet = KillingDatabase(Point())
    if ask:
        await quiet.call(_ask, version)
    database = KillingDatabase(point)
    workshop = Workshop(_config(port), database)
    workshop.store.sweep()
    await workshop.fleet.load()
    engine = Engine(PLANS, workshop.tools, database, again=(0.0, 0.0))
    await engine.resume()
    await until(quiet, children.nothing_is_open)
    await engine.stop()
    outcome = await quiet.call(_outcome)
    if outcome["ready"]:
        outcome["signed in"] = await _sign_in(workshop, outcome["id"], version)
    outcome["hosts"] = workshop.hosts().count(f" {outcome['id']}\n")
    await quiet.close()
    await database.close()
    return {**outcome, "calls": database.called}


async def _sign_in(workshop: Workshop, instance_id: str, version: str) -> int:
    address = await workshop.supervisor.ensure(instance_id, cause="test")
    path = "admins" if version.startswith("0.22") else "collections/_superusers"
    async with httpx.AsyncClient(verify=False, base_url=f"http://{address}") as client:
        owner = {"identity": EMAIL, "password": PASSWORD}
        answer = await client.post(f"/api/{path}/auth-with-password", json=owner)
    await workshop.supervisor.stop_all()
    return answer.status_code


def _ask(version: str) -> None:
    offer_folder(OWN, version)
    create_instance("shop", email=EMAIL, password=PASSWORD, version_range=version, acting_user=None)


def _outcome() -> dict[str, Any]:
    operation, instance = Operation.objects.get(), Instance.objects.get()
    folders = {
        name: sorted(path.name for path in (HOME / name).iterdir()) for name in ("instances", "logs", "releases")
    }
    return {
        "state": operation.state,
        "error": operation.error.get("detail", ""),
        "params": sorted(operation.params),
        "id": instance.id,
        "name": instance.name,
        "ready": instance.ready,
        "folders": folders,
    }


def tell(version: str, point: Point) -> dict[str, Any]:
    """A create with one death, and another life that ends it."""
    children.fresh_journal()
    for name in ("instances", "logs", "releases", "run", "edge", "quarantine"):
        shutil.rmtree(HOME / name, ignore_errors=True)
    port = free_port()
    for deaths, at in enumerate((point, Point())):
        outcome = children.run(partial(carry_out, version, port, at, deaths == 0))
        if outcome is not None:
            return {**outcome, "deaths": deaths, "point": str(point)}
    raise AssertionError("the last life is never killed")


def boundaries(calls: list[str], step: str) -> list[Point]:
    """Before and after every step, before its record, and around what steps write themselves; or for one step."""
    words = ("move_step", "move_operation", "fail_step", "end_operation", "mark_", "record_")
    numbers = [number for number, call in enumerate(calls, 1) if call.startswith(words)]
    if step:
        return [Point(before=number) for number in numbers if calls[number - 1].endswith(step)]
    return [*(Point(before=number) for number in numbers), Point(after=calls.index("end_operation") + 1)]


def main(version: str, step: str = "") -> None:
    """The undisturbed create first, then one for each boundary, then some in the middle of a step."""
    path = OWN / version / "pocketbase"
    path.parent.mkdir(parents=True)
    if version == "9.9.9":
        path.write_text(_COMPLAINT)
        path.chmod(0o755)
    else:
        shutil.copyfile(executable(version), path)
    plain = tell(version, Point())
    told = {
        "plain": [plain],
        "boundaries": [tell(version, point) for point in boundaries(plain["calls"], step)],
        "middle": []
        if version == "9.9.9"
        else [tell(version, Point(into=into)) for into in INTO if into[0].endswith(step)],
    }
    json.dump(told, sys.stdout)
