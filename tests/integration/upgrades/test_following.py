"""Who is found to be behind, in what order, and when that ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from pocketfleet.actions import following
from pocketfleet.domain.following import fingerprint
from pocketfleet.domain.states import OperationState
from pocketfleet.models import Event, Instance
from pocketfleet.operations.database import Database
from pocketfleet.operations.follow import PAGE, Follower
from pocketfleet.runtime.taking import fingerprints
from tests.integration.upgrades import fleets


async def test_nobody_is_behind_who_cannot_or_must_not_move(home: Path, database: Database) -> None:
    def prepare() -> None:
        fleets.offer("0.36.8", "0.36.9", "0.40.6")
        fleets.instance("pinned", "0.36.8", "0.36.8")
        fleets.instance("newest", "~0.36.0", "0.36.9")
        fleets.instance("ahead", "~0.36.0", "0.40.6")
        fleets.instance("nowhere", "~0.99.0", "0.36.8")
        fleets.instance("not-followed", "latest", "0.36.8", policy="off")
        fleets.instance("switched-off", "latest", "0.36.8", power="off")
        fleets.instance("suspended", "latest", "0.36.8", suspended="spam")
        unready = fleets.instance("unready", "latest", "0.36.8")
        Instance.objects.filter(id=unready.id).update(ready=False)

    await database.call(prepare)
    tools, _ = fleets.tools(home, database)
    assert await Follower(tools).look() is False
    assert await database.call(fleets.operations) == []


async def test_one_after_the_other_each_once(home: Path, database: Database) -> None:
    def prepare() -> None:
        fleets.offer("0.36.9", "0.40.6")
        for number in range(3):
            fleets.instance(f"shop-{number}", "latest", "0.36.9")

    await database.call(prepare)
    tools, _ = fleets.tools(home, database)
    follower = Follower(tools)
    for count in range(1, 4):
        assert await follower.look() is True
        assert await follower.look() is True
        opened = await database.call(fleets.operations)
        assert len(opened) == count
        last = opened[-1]
        assert last.params["by_itself"]
        assert (last.params["from"], last.params["release"], last.actor) == ("0.36.9", "0.40.6", "pocketfleet")
        found = await database.call(Instance.objects.get, id=last.instance_id)
        await database.call(fleets.judge, found, "0.40.6", "changed")
        await database.call(fleets.end, last)
    assert await follower.look() is False
    assert len(await database.call(fleets.operations)) == 3


async def test_what_was_judged_waits_until_hooks_or_schema_are_others(home: Path, database: Database) -> None:
    def prepare() -> Instance:
        fleets.offer("0.36.9", "0.40.6")
        return fleets.instance("shop", "latest", "0.36.9")

    shop = await database.call(prepare)
    folder = fleets.make_data(home, shop.id)
    judged = fingerprint(fingerprints(folder), "0.36.9", "0.40.6")
    await database.call(fleets.judge, shop, "0.40.6", "broken", judged)
    tools, _ = fleets.tools(home, database)
    follower = Follower(tools, recheck=0)
    assert await follower.look() is False
    assert sorted(path.name for path in (folder / "pb_data").iterdir()) == ["data.db"], "the look left traces"
    (folder / "pb_hooks" / "main.pb.js").write_text("// mended")
    assert await follower.look() is True


async def test_a_refused_release_waits_though_it_was_safe(home: Path, database: Database) -> None:
    def prepare() -> Instance:
        fleets.offer("0.36.9", "0.40.6")
        return fleets.instance("shop", "latest", "0.36.9", policy="auto")

    shop = await database.call(prepare)
    folder = fleets.make_data(home, shop.id)
    judged = fingerprint(fingerprints(folder), "0.36.9", "0.40.6")
    await database.call(fleets.judge, shop, "0.40.6", "safe", judged)
    await database.call(Instance.objects.filter(id=shop.id).update, refused={"0.40.6": judged})
    tools, _ = fleets.tools(home, database)
    assert await Follower(tools, recheck=0).look() is False
    await database.call(fleets.offer, "0.36.9", "0.40.6", "0.40.7")
    assert await Follower(tools, recheck=0).look() is True, "another release was never refused"


async def test_a_failure_is_told_once_and_not_repeated_at_once(home: Path, database: Database) -> None:
    def prepare() -> None:
        fleets.offer("0.36.9", "0.40.6")
        fleets.instance("shop", "latest", "0.36.9", policy="auto")

    await database.call(prepare)
    tools, _ = fleets.tools(home, database)
    follower = Follower(tools)
    assert await follower.look()
    (operation,) = await database.call(fleets.operations)
    await database.call(fleets.end, operation, OperationState.FAILED, error={"detail": "The disk is full."})
    assert await follower.look() is False
    assert await follower.look() is False
    (event,) = await database.call(lambda: list(Event.objects.all()))
    assert "The disk is full." in event.text
    assert (event.kind, event.weight) == ("upgrade_failed", "warning")


@pytest.mark.parametrize(
    ("migrations", "boundary"), [([], False), (["1999_new.js"], False), (["1778828400_x.go"], True)]
)
async def test_a_release_newer_than_the_map_crosses_a_boundary_until_a_rehearsal_says_no(
    home: Path, database: Database, migrations: list[str], boundary: bool
) -> None:
    def prepare() -> bool:
        fleets.offer("0.40.6", "0.40.7")
        shop = fleets.instance("shop", "~0.40.0", "0.40.6", policy="schema-safe")
        (group,) = following.groups_behind()
        assert following.candidates(group, "", 9)[0].behind.boundary, "nobody knows yet"
        fleets.judge(shop, "0.40.7", "safe", migrations=migrations)
        return following.candidates(group, "", 9)[0].behind.boundary

    assert await database.call(prepare) is boundary


async def test_looking_costs_the_same_however_many_follow(home: Path, database: Database) -> None:
    def prepare() -> None:
        fleets.offer("0.36.9", "0.40.6")
        rows = [
            Instance(id=f"many{number:011d}", name=f"many-{number}", number=1000 + number, range=follows)
            for number, follows in enumerate(["0.36.9"] * 500 + ["latest"] * (PAGE + 50))
        ]
        for row in rows:
            row.release, row.ready, row.policy = "0.36.9", True, "auto"
            # outside of every look: a window that is open for a minute a year at most
            row.window = {"days": [0], "from": "00:00", "to": "00:01", "zone": "UTC"}
        Instance.objects.bulk_create(rows)

    def measured() -> int:
        with CaptureQueriesContext(connection) as queries:
            for group in following.groups_behind():
                assert len(following.candidates(group, "", PAGE)) == PAGE
        return len(queries)

    await database.call(prepare)
    assert await database.call(measured) <= 4
