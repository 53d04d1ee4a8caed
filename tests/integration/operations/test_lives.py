"""Creating, putting to sleep, deleting and purging instances, with real PocketBase and real files."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from pocketfleet.actions.instances import create_instance, delete_instance, find_instance, set_power, sleep_instance
from pocketfleet.actions.releases import Offered, fetch_release, record_offers
from pocketfleet.config import Config
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import InstanceNotFound, SourceDown
from pocketfleet.models import Instance, Operation
from pocketfleet.operations.database import Database
from pocketfleet.operations.engine import AT_ONCE, Engine
from pocketfleet.operations.plans import PLANS
from pocketfleet.operations.purge import prune_records, purge_due
from pocketfleet.runtime.sources import OfferedAt, Progress
from pocketfleet.runtime.store import ReleaseStore
from tests.integration.operations.waiting import until
from tests.integration.releases.wheels import script, write_executable
from tests.pocketbases import JOURNEY_VERSIONS, NEWEST, executable
from tests.ports import free_port
from tests.workshop import Workshop, offer_folder

EMAIL = "owner@example.org"
PASSWORD = "correct horse battery"


class House:
    """A workshop with an engine, and what a user asks of it."""

    def __init__(self, workshop: Workshop, database: Database) -> None:
        self.workshop = workshop
        self.database = database
        self.engine = Engine(PLANS, workshop.tools, database, again=(0.01, 0.01))

    async def ended(self, operation: Operation) -> Operation:
        """The operation once it is over."""
        self.engine.notice()

        async def is_over() -> bool:
            return (await self.read(operation)).finished_at is not None

        await until(is_over)
        return await self.read(operation)

    async def read(self, operation: Operation) -> Operation:
        """As it is written down now."""
        return await self.database.call(Operation.objects.get, id=operation.id)

    async def ask_to_create(self, name: str, **fields: Any) -> tuple[Instance, Operation]:
        """As control does it."""
        return await self.database.call(
            create_instance, name, email=EMAIL, password=PASSWORD, acting_user=None, **fields
        )

    async def create(self, name: str, **fields: Any) -> Instance:
        """An instance that is ready."""
        instance, operation = await self.ask_to_create(name, **fields)
        after = await self.ended(operation)
        assert after.state == OperationState.SUCCEEDED, after.error
        return await self.database.call(Instance.objects.get, id=instance.id)

    async def wake(self, instance: Instance) -> str:
        """Its address."""
        return "http://" + await self.workshop.supervisor.ensure(instance.id, cause="test")


@pytest.fixture
async def house(home: Path, database: Database) -> AsyncIterator[House]:
    """Executables of all ages in the catalogue, none fetched yet."""
    folder = home / "own"
    for version in JOURNEY_VERSIONS:
        (folder / version).mkdir(parents=True)
        (folder / version / "pocketbase").hardlink_to(executable(version))
    config = Config(
        home=home, release_sources=("folder",), release_folder=str(folder), guest_port=free_port(), stop_timeout=5.0
    )
    await database.call(offer_folder, folder, *JOURNEY_VERSIONS)
    house = House(Workshop(config, database), database)
    await house.engine.resume()
    yield house
    await house.engine.stop()
    await house.workshop.supervisor.stop_all()


class SlowSource:
    """A source that has everything, and gives nothing until it is told to."""

    name = "slow"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.told = asyncio.Event()

    async def offers(self) -> list[OfferedAt]:
        """Not asked here."""
        return []

    async def fetch(self, offer: OfferedAt, into: Path, progress: Progress) -> Path:
        """Wait, then have nothing after all."""
        self.asked.append(offer.version)
        await self.told.wait()
        raise SourceDown("The slow source broke down.")


async def test_slow_downloads_hold_up_no_other_operation(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowSource()
    store = house.workshop.tools.store
    wider = ReleaseStore(house.workshop.config, [*store.sources, slow])
    for name in ("_sources", "_places"):
        monkeypatch.setattr(store, name, getattr(wider, name))
    versions = [f"9.0.{number}" for number in range(2 * AT_ONCE)]
    await house.database.call(record_offers, "slow", [Offered(version) for version in versions])
    fetches = [await house.database.call(fetch_release, version, acting_user=None) for version in versions]
    creates = [(await house.ask_to_create(f"shop-{n}", version_range=versions[n]))[1] for n in range(AT_ONCE)]
    house.engine.notice()

    async def all_wait() -> bool:
        found = [(await house.read(operation)).state for operation in (*fetches, *creates)]
        return bool(slow.asked) and set(found) == {OperationState.RUNNING}

    await until(all_wait)
    instance = await house.create("quick", version_range=NEWEST)
    assert await signed_in(await house.wake(instance), NEWEST) == 200
    slow.told.set()
    for operation in (*fetches, *creates):
        assert (await house.ended(operation)).state == OperationState.FAILED
    assert sorted(set(slow.asked)) == sorted(versions)


async def signed_in(address: str, version: str) -> int:
    """The status of the owner's sign-in."""
    path = "/api/admins/auth-with-password"
    if not version.startswith("0.22"):
        path = "/api/collections/_superusers/auth-with-password"
    async with httpx.AsyncClient(verify=False, base_url=address) as client:
        return (await client.post(path, json={"identity": EMAIL, "password": PASSWORD})).status_code


@pytest.mark.parametrize("version", JOURNEY_VERSIONS)
async def test_a_created_instance_lets_its_owner_in_and_nobody_else(house: House, version: str) -> None:
    instance = await house.create("shop", version_range=version)
    assert instance.ready
    assert instance.release == version
    assert f"shop.localhost {instance.id}" in house.workshop.hosts()
    address = await house.wake(instance)
    assert await signed_in(address, version) == 200
    async with httpx.AsyncClient(verify=False, base_url=address) as client:
        claim = {"email": "thief@example.org", "password": "0123456789", "passwordConfirm": "0123456789"}
        assert (await client.post("/api/admins", json=claim)).status_code in (400, 401, 404)


async def test_a_created_instance_keeps_no_password_and_only_its_own_may_read_it(house: House) -> None:
    instance, operation = await house.ask_to_create("shop")
    assert operation.params["password_hash"].startswith("$2b$10$")
    after = await house.ended(operation)
    assert "password_hash" not in after.params
    assert after.params["email"] == EMAIL
    home = house.workshop.config.instances / instance.id
    assert sorted(path.name for path in home.iterdir()) == [
        "pb_admin_ext",
        "pb_data",
        "pb_hooks",
        "pb_migrations",
        "pb_public",
    ]
    for folder in (home, home / "pb_data", house.workshop.config.logs / instance.id):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_many_are_created_at_once_and_fetch_their_release_once(house: House, home: Path) -> None:
    asked = [await house.ask_to_create(f"shop-{number}", version_range=NEWEST) for number in range(6)]
    for _, operation in asked:
        assert (await house.ended(operation)).state == OperationState.SUCCEEDED
    assert [path.name for path in (home / "releases").iterdir()] == [NEWEST]


async def test_a_create_that_fails_leaves_nothing_and_says_why(house: House, home: Path) -> None:
    for version in JOURNEY_VERSIONS:
        (home / "own" / version / "pocketbase").unlink()
    instance, operation = await house.ask_to_create("shop")
    after = await house.ended(operation)
    assert after.state == OperationState.FAILED
    assert after.error["code"] == "release_unusable"
    assert after.error["step"] == "release"
    assert "no longer holds" in after.error["detail"]
    await nothing_is_left(house, instance)


async def test_a_superuser_that_cannot_be_made_leaves_nothing(house: House, home: Path) -> None:
    path = home / "own" / "9.9.9" / "pocketbase"
    complaint = 'case "$*" in *--version*) ;; *) echo "Error: no superusers today"; exit 0;; esac'
    write_executable(path, script("9.9.9", extra=complaint))
    await house.database.call(offer_folder, home / "own", *JOURNEY_VERSIONS, "9.9.9")
    instance, operation = await house.ask_to_create("shop")
    after = await house.ended(operation)
    assert after.state == OperationState.FAILED
    assert after.error["step"] == "superuser"
    assert "no superusers today" in after.error["detail"]
    await nothing_is_left(house, instance)


async def nothing_is_left(house: House, instance: Instance) -> None:
    """No file, no host, no name; the id stays taken."""
    config = house.workshop.config
    for folder in (config.instances, config.logs, config.quarantine_folder):
        assert not (folder / instance.id).exists()
    assert instance.id not in house.workshop.hosts()
    with pytest.raises(InstanceNotFound):
        await house.database.call(find_instance, "shop")
    row = await house.database.call(Instance.objects.get, id=instance.id)
    assert row.name is None
    assert row.purged_at is not None
    again, _ = await house.ask_to_create("shop", version_range=NEWEST)
    assert again.id != instance.id
    assert again.number != instance.number


async def test_sleep_by_hand(house: House) -> None:
    instance = await house.create("shop")
    await house.wake(instance)
    operation = await house.database.call(sleep_instance, instance.id, acting_user=None)
    after = await house.ended(operation)
    assert after.state == OperationState.SUCCEEDED
    assert after.result == {"slept": True}
    assert house.workshop.supervisor.awake() == {}
    await house.wake(instance)
    assert list(house.workshop.supervisor.awake()) == [instance.id]


async def deleted(house: House, instance: Instance) -> Operation:
    """Power it off, delete it, wait."""
    await house.database.call(set_power, instance.id, "off", acting_user=None)
    return await house.ended(await house.database.call(delete_instance, instance.id, acting_user=None))


async def test_a_deleted_instance_lies_in_quarantine_and_its_name_is_free(house: House) -> None:
    instance = await house.create("shop")
    await house.wake(instance)
    assert (await deleted(house, instance)).state == OperationState.SUCCEEDED
    config = house.workshop.config
    assert house.workshop.supervisor.awake() == {}
    assert not (config.instances / instance.id).exists()
    assert (config.quarantine_folder / instance.id / "instance" / "pb_data" / "data.db").exists()
    assert (config.quarantine_folder / instance.id / "logs" / "instance.log").exists()
    assert instance.id not in house.workshop.hosts()
    again = await house.create("shop")
    assert again.id != instance.id
    assert await purge_due(house.workshop.tools) == []


async def test_one_that_was_switched_on_again_is_not_deleted(house: House) -> None:
    instance = await house.create("shop")
    await house.engine.stop()
    await house.database.call(set_power, instance.id, "off", acting_user=None)
    operation = await house.database.call(delete_instance, instance.id, acting_user=None)
    await house.database.call(set_power, instance.id, "on", acting_user=None)
    await house.engine.resume()
    after = await house.ended(operation)
    assert after.state == OperationState.FAILED
    assert after.error["code"] == "must_be_powered_off"
    assert await signed_in(await house.wake(instance), NEWEST) == 200


async def test_a_delete_that_fails_puts_everything_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = await house.create("shop")
    rename = Path.rename
    config = house.workshop.config

    def refuse_logs(path: Path, target: Path) -> Path:
        if path == config.logs / instance.id:
            raise OSError(28, "No space left on device", str(path))
        return rename(path, target)

    await house.wake(instance)
    monkeypatch.setattr(Path, "rename", refuse_logs)
    after = await deleted(house, instance)
    monkeypatch.undo()
    assert after.state == OperationState.ROLLED_BACK
    assert after.error["code"] == "disk_trouble"
    assert not (config.quarantine_folder / instance.id).exists()
    row = await house.database.call(find_instance, "shop")
    assert row.ready
    await house.database.call(set_power, instance.id, "on", acting_user=None)
    assert await signed_in(await house.wake(instance), NEWEST) == 200


async def test_quarantine_is_emptied_when_it_is_due_and_symlinks_are_not_followed(house: House, home: Path) -> None:
    instance = await house.create("shop")
    outside = home / "precious"
    outside.mkdir()
    (outside / "file").write_text("keep me")
    folder = house.workshop.config.instances / instance.id
    (folder / "pb_public" / "link").symlink_to(outside, target_is_directory=True)
    (folder / "pb_hooks").rmdir()
    (folder / "pb_hooks").symlink_to(outside, target_is_directory=True)
    assert (await deleted(house, instance)).state == OperationState.SUCCEEDED
    assert await purge_due(house.workshop.tools) == []
    due = replace(house.workshop.tools, config=replace(house.workshop.config, quarantine=0.0))
    assert await purge_due(due) == [instance.id]
    assert await purge_due(due) == []
    assert (outside / "file").read_text() == "keep me"
    assert not (house.workshop.config.quarantine_folder / instance.id).exists()
    row = await house.database.call(Instance.objects.get, id=instance.id)
    assert row.purged_at is not None
    assert await prune_records(house.workshop.tools) == 0


async def test_a_start_asked_for_while_it_is_deleted_makes_no_new_folder(house: House) -> None:
    instance = await house.create("shop")
    await house.database.call(set_power, instance.id, "off", acting_user=None)
    operation = await house.database.call(delete_instance, instance.id, acting_user=None)
    async with house.workshop.supervisor.at_rest(instance.id):
        asked = asyncio.create_task(house.workshop.supervisor.ensure(instance.id, cause="late"))
        house.engine.notice()
    assert (await house.ended(operation)).state == OperationState.SUCCEEDED
    await asyncio.wait([asked], timeout=10)
    assert not (house.workshop.config.instances / instance.id).exists()
    assert house.workshop.supervisor.awake() == {}
