"""Clones and imports: new instances from data that is there already, without a way to speak in another's name."""

from __future__ import annotations

import sqlite3
import zipfile
from pathlib import Path

import pytest

from pocketfleet.actions import copies
from pocketfleet.actions.copies import Origin
from pocketfleet.actions.instances import change_secrets
from pocketfleet.actions.sealed import opened
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import NameTaken, WrongUsage
from pocketfleet.models import Instance
from pocketfleet.runtime import inspect
from tests.integration.copies_operations.yard import EMAIL, HOOK, PASSWORD, Visitor, Yard

MAIL = {"smtp": {"enabled": True, "host": "mail.example.org", "port": 587}}


async def source(yard: Yard, version: str) -> tuple[Instance, Visitor]:
    """With a record, a hook, a secret, and mail switched on."""
    instance = await yard.create(version=version)
    visitor = await yard.wake(instance)
    await visitor.make_posts()
    await visitor.post("one", b"content of one")
    await visitor.settings(**MAIL)
    await yard.put_hook(instance, HOOK)
    await yard.ask(change_secrets, instance.id, {"KEY": "value"})
    return instance, await yard.wake(instance)


@pytest.mark.parametrize("version", ["0.22.27", "0.40.6"])
async def test_a_clone_is_its_own_and_its_mail_is_off(yard: Yard, version: str) -> None:
    instance, visitor = await source(yard, version)
    clone, operation = await yard.ask(copies.clone_instance, instance.id, "copy")
    after = await yard.ended(operation)
    assert after.result["switched_off"] == ["mail"]
    assert list(yard.workshop.supervisor.awake()) == [instance.id]
    row = await yard.row(clone)
    assert (row.name, row.release, row.range, opened(row.secrets)) == ("copy", version, version, {"KEY": "value"})
    assert row.ready
    assert row.superuser_email == EMAIL
    copied = await yard.wake(clone)
    assert await copied.titles() == ["one"]
    settings = await copied.settings()
    assert settings["smtp"]["enabled"] is False
    assert settings["smtp"]["host"] == "mail.example.org"
    await copied.post("two")
    assert await visitor.titles() == ["one"]
    assert (await visitor.settings())["smtp"]["enabled"] is True
    assert (yard.folder(row) / "pb_hooks" / "main.pb.js").read_text() == HOOK
    inodes = [
        {path.stat().st_ino for path in yard.folder(each).rglob("*") if path.is_file()} for each in (instance, row)
    ]
    assert not inodes[0] & inodes[1]
    assert yard.workshop.tools.snapshots.present(instance.id) == []
    assert yard.incoming() == []


async def test_mail_and_s3_are_kept_where_asked(yard: Yard) -> None:
    instance, visitor = await source(yard, "0.40.6")
    _, operation = await yard.ask(copies.clone_instance, instance.id, "copy", keep_mail=True)
    assert (await yard.ended(operation)).result["switched_off"] == []
    row = await yard.database.call(Instance.objects.get, name="copy")
    assert (await (await yard.wake(row)).settings())["smtp"]["enabled"] is True
    assert (await visitor.settings())["smtp"]["enabled"] is True


@pytest.mark.parametrize("version", ["0.22.27", "0.40.6"])
async def test_s3_is_switched_off(yard: Yard, version: str) -> None:
    instance = await yard.create(version=version)
    await yard.sleep(instance)
    path = yard.folder(instance) / "pb_data" / "data.db"
    connection = sqlite3.connect(path)
    key = "key" if version == "0.22.27" else "id"
    changed = "json_set(value, '$.s3.enabled', json('true'), '$.backups.s3.enabled', json('true'))"
    if version != "0.22.27":
        visitor = await yard.wake(instance)
        await visitor.settings(meta={"appName": "mine"})
        await yard.sleep(instance)
    with connection:
        connection.execute(f"UPDATE _params SET value = {changed} WHERE {key} = 'settings'")
    connection.close()
    _, operation = await yard.ask(copies.clone_instance, instance.id, "copy")
    assert (await yard.ended(operation)).result["switched_off"] == ["backups_s3", "s3"]
    row = await yard.database.call(Instance.objects.get, name="copy")
    settings = await (await yard.wake(row)).settings()
    assert settings["s3"]["enabled"] is False
    assert settings["backups"]["s3"]["enabled"] is False


@pytest.mark.parametrize("version", ["0.22.27", "0.40.6"])
async def test_encrypted_settings_are_switched_off_with_their_key(yard: Yard, version: str) -> None:
    key = "k" * 32
    instance = await yard.create(version=version)
    await yard.ask(change_secrets, instance.id, {"PB_ENCRYPTION_KEY": key})
    await yard.workshop.fleet.renew([instance.id])
    await yard.sleep(instance)
    visitor = await yard.wake(instance)
    await visitor.settings(**MAIL, meta={"appName": "mine", "senderAddress": "a@example.org", "senderName": "a"})
    assert inspect.settings(yard.folder(instance), live=True) is None
    _, operation = await yard.ask(copies.clone_instance, instance.id, "copy")
    assert (await yard.ended(operation)).result["switched_off"] == ["mail"]
    row = await yard.database.call(Instance.objects.get, name="copy")
    settings = await (await yard.wake(row)).settings()
    assert settings["smtp"]["enabled"] is False
    assert settings["smtp"]["host"] == "mail.example.org"
    assert settings["meta"]["appName"] == "mine"
    assert inspect.settings(yard.folder(row), live=True) is None
    assert (await visitor.settings())["smtp"]["enabled"] is True
    assert yard.incoming() == []
    # another key than the data has
    await yard.ask(change_secrets, instance.id, {"PB_ENCRYPTION_KEY": "x" * 32})
    _, operation = await yard.ask(copies.clone_instance, instance.id, "second")
    assert (await yard.ended(operation, OperationState.FAILED)).error["code"] == "settings_encrypted"


async def test_encrypted_settings_are_cloned_as_they_are_or_not_at_all(yard: Yard) -> None:
    instance = await yard.create()
    await yard.sleep(instance)
    connection = sqlite3.connect(yard.folder(instance) / "pb_data" / "data.db")
    with connection:
        connection.execute("UPDATE _params SET value = '\"c2VjcmV0c2VjcmV0\"' WHERE id = 'settings'")
    connection.close()
    clone, operation = await yard.ask(copies.clone_instance, instance.id, "copy")
    after = await yard.ended(operation, OperationState.FAILED)
    assert after.error["code"] == "settings_encrypted"
    assert "--keep-mail" in after.error["detail"]
    assert (await yard.row(clone)).name is None
    assert not (yard.config.instances / clone.id).exists()
    _, operation = await yard.ask(copies.clone_instance, instance.id, "copy", keep_mail=True, keep_s3=True)
    await yard.ended(operation)


async def test_a_clone_of_a_snapshot_or_a_backup(yard: Yard) -> None:
    instance, visitor = await source(yard, "0.40.6")
    snapshot = (await yard.ended(await yard.ask(copies.snapshot_instance, instance.id))).result["snapshot"]
    backup = (await yard.ended(await yard.ask(copies.back_up_instance, instance.id))).result["name"]
    await visitor.post("two")
    for name, origin in (("first", Origin(snapshot=snapshot)), ("second", Origin(backup=backup))):
        clone, operation = await yard.ask(copies.clone_instance, instance.id, name, origin)
        await yard.ended(operation)
        assert await (await yard.wake(clone)).titles() == ["one"]
    assert yard.workshop.tools.snapshots.present(instance.id) == [snapshot]
    with pytest.raises(NameTaken):
        await yard.ask(copies.clone_instance, instance.id, "first")
    with pytest.raises(WrongUsage):
        await yard.ask(copies.clone_instance, instance.id, "third", Origin(upload="000000000000000"))


async def own_zip(yard: Yard, version: str) -> Path:
    """A backup of PocketBase's own, made somewhere."""
    instance, visitor = await source(yard, version)
    assert (await visitor.client.post("/api/backups", json={"name": "own.zip"})).status_code == 204
    return yard.folder(instance) / "pb_data" / "backups" / "own.zip"


@pytest.mark.parametrize("version, fits", [("0.22.27", "0.22.27"), ("0.23.12", "0.30.4"), ("0.40.6", "0.40.6")])
async def test_an_import_gets_the_release_that_fits_and_keeps_its_superuser(
    yard: Yard, version: str, fits: str
) -> None:
    path = await own_zip(yard, version)
    made, operation = await yard.ask(copies.import_instance, "imported", yard.upload(path))
    after = await yard.ended(operation)
    assert after.result["superuser"] == EMAIL
    row = await yard.row(made)
    assert (row.release, row.range, row.superuser_email) == (fits, f"~{fits}", EMAIL)
    visitor = await yard.wake(made)
    assert await visitor.titles() == ["one"]
    assert (await visitor.settings())["smtp"]["enabled"] is True
    assert yard.incoming() == []


async def test_an_import_may_get_another_superuser_and_a_release(yard: Yard) -> None:
    path = await own_zip(yard, "0.23.12")
    made, operation = await yard.ask(
        copies.import_instance,
        "imported",
        yard.upload(path),
        version_range="~0.23.0",
        email="second@example.org",
        password=PASSWORD,
        settings={"idle_timeout": 5},
    )
    after = await yard.ended(operation)
    assert "password_hash" not in after.params
    row = await yard.row(made)
    assert (row.release, row.range, row.superuser_email, row.idle_timeout) == (
        "0.23.12",
        "~0.23.0",
        "second@example.org",
        5,
    )
    visitor = await yard.wake(made)
    found = await visitor.client.get("/api/collections/_superusers/records")
    assert sorted(item["email"] for item in found.json()["items"]) == [EMAIL, "second@example.org"]


@pytest.mark.parametrize("version, asked", [("0.22.27", "0.40.6"), ("0.40.6", "0.36.9")])
async def test_a_release_that_does_not_fit_is_refused_and_nothing_is_left(yard: Yard, version: str, asked: str) -> None:
    path = await own_zip(yard, version)
    made, operation = await yard.ask(copies.import_instance, "imported", yard.upload(path), version_range=asked)
    after = await yard.ended(operation, OperationState.FAILED)
    assert after.error["code"] == "release_does_not_fit"
    assert (await yard.row(made)).name is None
    assert not (yard.config.instances / made.id).exists()


async def test_what_is_no_pocketbase_is_refused(yard: Yard, home: Path) -> None:
    path = home / "other.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("readme.txt", "hello")
    made, operation = await yard.ask(copies.import_instance, "imported", yard.upload(path))
    after = await yard.ended(operation, OperationState.FAILED)
    assert after.error["code"] == "archive_refused"
    assert "data.db" in after.error["detail"]
    assert (await yard.row(made)).name is None
