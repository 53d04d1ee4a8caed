"""Restores that are rehearsed first: what is asked, what is accepted, what is refused, and what stays as it was."""

from __future__ import annotations

import contextlib
import sqlite3
import zipfile
from pathlib import Path

import pytest

from pocketfleet.actions import copies
from pocketfleet.actions.copies import Origin, Rehearsing
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import RehearsalNotFound, WrongUsage
from pocketfleet.models import Event, Instance, Operation, Rehearsal, Snapshot
from pocketfleet.operations import cutover
from pocketfleet.operations.tools import Tools
from tests.integration.copies_operations.yard import Visitor, Yard

NEWEST = "0.40.6"
FAILING = 'migrate((app) => { throw new Error("cannot be") }, (app) => null)'


async def with_posts(yard: Yard) -> tuple[Instance, Visitor, Path]:
    """Two records, and a full backup of the first."""
    instance = await yard.create(version=NEWEST)
    visitor = await yard.wake(instance)
    await visitor.make_posts()
    await visitor.post("one", b"content of one")
    made = await yard.ended(await yard.ask(copies.back_up_instance, instance.id, full=True))
    await visitor.post("two")
    return instance, visitor, yard.config.backups / instance.id / made.result["name"]


def mended(source: Path, target: Path, *statements: str, **more: str) -> Path:
    """A zip with its database changed by hand, and files of these contents beside its own."""
    database = target.with_suffix(".db")
    with zipfile.ZipFile(source) as opened, zipfile.ZipFile(target, "w") as packed:
        database.write_bytes(opened.read("data.db"))
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            for statement in statements:
                connection.execute(statement)
        for name in opened.namelist():
            packed.writestr(name, database.read_bytes() if name == "data.db" else opened.read(name))
        for name, content in more.items():
            packed.writestr(name.replace("__", "/"), content)
    return target


async def titles_now(yard: Yard, instance: Instance) -> list[str]:
    """Titles now; nothing holds, no copy is left of a rehearsal."""
    row = await yard.row(instance)
    assert row.hold == ""
    assert not await yard.database.call(Snapshot.objects.filter(purpose="rehearsal").exists)
    assert not list(yard.config.home.glob("rehearsals/*"))
    return await (await yard.wake(instance)).titles()


async def test_it_asks_and_what_was_accepted_goes_through(yard: Yard, home: Path) -> None:
    instance, _, backup = await with_posts(yard)
    lost = mended(backup, home / "lost.zip", "DROP TABLE posts", "DELETE FROM _collections WHERE name = 'posts'")
    upload = yard.upload(lost)
    origin = Origin(upload=upload)
    # a file is rehearsed without being told, and asks
    asked = await yard.ended(await yard.ask(copies.restore_instance, instance.id, origin), OperationState.ASKING)
    assert (asked.result["verdict"], asked.result["from"], asked.result["to"]) == ("changed", NEWEST, NEWEST)
    assert asked.result["reasons"][0] == "The collection posts is not in it, and 2 records with it."
    assert "held_ms" not in asked.result
    assert yard.incoming() == [f"{upload}.zip"]
    kept = await yard.database.call(Rehearsal.objects.get, id=asked.result["rehearsal"])
    assert (kept.kind, kept.report["kind"], kept.origin.partition(":")[0]) == ("restore", "restore", "upload")
    assert await yard.database.call(Event.objects.filter(kind="asking", operation_id=asked.id).count) == 1
    assert await titles_now(yard, instance) == ["one", "two"]
    # another file is not what was accepted, even if it lacks less
    other = Origin(upload=yard.upload(mended(backup, home / "other.zip")))
    given = Rehearsing(accept=True, rehearsal=kept.id)
    again = await yard.ended(await yard.ask(copies.restore_instance, instance.id, other, given), OperationState.ASKING)
    assert again.result["new_reasons"] == ["posts: 1 record of now is missing."]
    # the same file, uploaded once more, is
    same = Origin(upload=yard.upload(lost))
    done = await yard.ended(await yard.ask(copies.restore_instance, instance.id, same, Rehearsing(accept=True)))
    assert done.result["verdict"] == "changed"
    assert done.result["held_ms"] > 0
    assert "posts" not in await tables_of(yard, instance)
    assert not await yard.database.call(Snapshot.objects.filter(purpose="rehearsal").exists)
    # and back with what was kept, at once, as an own copy is
    await yard.ended(await yard.ask(copies.restore_instance, instance.id, Origin(snapshot=done.result["snapshot"])))
    assert await titles_now(yard, instance) == ["one", "two"]


async def tables_of(yard: Yard, instance: Instance) -> set[str]:
    """Of the data that is there now."""
    await yard.sleep(instance)
    path = yard.folder(instance) / "pb_data" / "data.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        return {row[0] for row in database.execute("SELECT name FROM sqlite_master")}


async def test_what_does_not_start_is_refused_and_nothing_is_touched(yard: Yard, home: Path) -> None:
    instance, _, backup = await with_posts(yard)
    name = "pocketfleet__pb_migrations__1999999999_bad.js"
    upload = yard.upload(mended(backup, home / "bad.zip", **{name: FAILING}))
    await yard.sleep(instance)
    before = (yard.folder(instance) / "pb_data" / "data.db").read_bytes()
    origin = Origin(upload=upload)
    only = await yard.ended(await yard.ask(copies.restore_instance, instance.id, origin, Rehearsing(only=True)))
    assert (only.result["verdict"], yard.incoming()) == ("broken", [f"{upload}.zip"])
    operation = await yard.ask(copies.restore_instance, instance.id, origin, Rehearsing(accept=True))
    after = await yard.ended(operation, OperationState.FAILED)
    assert after.error["code"] == "restore_refused"
    assert "1999999999_bad.js" in after.error["detail"]
    assert after.result["verdict"] == "broken"
    assert "held_ms" not in after.result
    assert yard.incoming() == [f"{upload}.zip"]
    assert (yard.folder(instance) / "pb_data" / "data.db").read_bytes() == before
    assert await titles_now(yard, instance) == ["one", "two"]


async def test_damaged_data_does_not_stand_in_the_way(yard: Yard, home: Path) -> None:
    instance, _, backup = await with_posts(yard)
    upload = yard.upload(backup)
    await yard.sleep(instance)
    (yard.folder(instance) / "pb_data" / "data.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 9000)
    done = await yard.ended(
        await yard.ask(copies.restore_instance, instance.id, Origin(upload=upload), Rehearsing(accept=True))
    )
    assert done.result["verdict"] == "changed"
    assert "could not be compared with what is there now: it is damaged" in done.result["reasons"][0]
    assert await titles_now(yard, instance) == ["one"]


async def test_a_safe_one_goes_on_and_own_hooks_run_in_the_rehearsal(yard: Yard) -> None:
    instance, _, _ = await with_posts(yard)
    made = await yard.ended(await yard.ask(copies.back_up_instance, instance.id))
    await yard.put_hook(instance, 'onRecordsListRequest((e) => e.next(), "posts")\n')
    origin = Origin(upload=yard.upload(yard.config.backups / instance.id / made.result["name"]))
    done = await yard.ended(await yard.ask(copies.restore_instance, instance.id, origin))
    kept = await yard.database.call(Rehearsal.objects.get, operation_id=done.id)
    assert (kept.verdict, kept.reasons) == ("safe", [])
    registered = kept.report["sections"]["hooks"]["facts"]["registered"]
    assert registered == ["event onRecordsListRequest of posts (pb_hooks/main.pb.js:1)"]


@pytest.mark.parametrize("full", [False, True])
async def test_hooks_that_change_after_the_rehearsal_end_it(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    instance = await yard.create(version=NEWEST)
    await (await yard.wake(instance)).make_posts()
    hooks = yard.folder(instance) / "pb_hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "main.pb.js").write_text("// as rehearsed")
    made = await yard.ended(await yard.ask(copies.back_up_instance, instance.id, full=full))
    hold = cutover.hold

    async def and_change(tools: Tools, instance_id: str, operation_id: str) -> None:
        (hooks / "main.pb.js").write_text("// and changed")
        await hold(tools, instance_id, operation_id)

    monkeypatch.setattr(cutover, "hold", and_change)
    state = OperationState.SUCCEEDED if full else OperationState.ROLLED_BACK
    origin = Origin(backup=made.result["backup"])
    ended = await yard.ended(
        await yard.ask(copies.restore_instance, instance.id, origin, Rehearsing(rehearse=True)), state
    )
    # what is brought with its own hooks was rehearsed with those
    assert (hooks / "main.pb.js").read_text() == ("// as rehearsed" if full else "// and changed")
    assert (ended.error or {}).get("code") == (None if full else "changed_meanwhile")
    assert await titles_now(yard, instance) == []


async def test_links_among_its_own_folders_are_no_change_and_stay(yard: Yard) -> None:
    instance = await yard.create(version=NEWEST)
    await (await yard.wake(instance)).make_posts()
    hooks = yard.folder(instance) / "pb_hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "shared").symlink_to("../pb_public")
    made = await yard.ended(await yard.ask(copies.back_up_instance, instance.id))
    origin = Origin(backup=made.result["backup"])
    await yard.ended(await yard.ask(copies.restore_instance, instance.id, origin, Rehearsing(rehearse=True)))
    assert (hooks / "shared").readlink() == Path("../pb_public")
    assert await titles_now(yard, instance) == []


async def test_what_contradicts_itself_or_is_not_there_is_refused_at_once(yard: Yard) -> None:
    instance = await yard.create()
    upload = Origin(upload="000000000000000")
    for wanted in (Rehearsing(False, only=True), Rehearsing(False, accept=True)):
        with pytest.raises(WrongUsage):
            await yard.ask(copies.restore_instance, instance.id, upload, wanted)
    with pytest.raises(RehearsalNotFound):
        await yard.ask(copies.restore_instance, instance.id, upload, Rehearsing(rehearsal="unknown"))
    assert not await yard.database.call(Operation.objects.filter(kind="restore").exists)
