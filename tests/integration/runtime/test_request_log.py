"""The request log at rest: an index that every release really uses, and no way to be led elsewhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketfleet.runtime import request_log
from pocketfleet.runtime.guest import Guest
from tests.integration.runtime.rooms import House
from tests.pocketbases import JOURNEY_VERSIONS

#: What the releases execute at every start (daos/log.go, core/log_query.go).
DELETE = "DELETE FROM _logs WHERE created <= '2020-01-01 00:00:00.000Z' OR level < 0"


@pytest.mark.parametrize("release", JOURNEY_VERSIONS)
async def test_the_index_is_made_at_sleep_and_used(place: House, release: str) -> None:
    guest = place.add(release=release)
    path = log_file(guest)
    await wake_and_sleep(place, guest)
    # PocketBase itself may leave those of data.db, when it is ended right after its start
    assert not list(guest.data_folder.glob(f"{path.name}-*"))
    with sqlite3.connect(path) as database:
        plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {DELETE}"))
    database.close()
    assert f"USING INDEX {request_log.INDEX}" in plan
    assert "SCAN" not in plan
    await wake_and_sleep(place, guest)
    assert place.edge.published == [guest.instance_id] * 2


async def test_what_is_in_order_is_not_written_to(place: House) -> None:
    guest = place.add()
    await wake_and_sleep(place, guest)
    before = log_file(guest).stat().st_mtime_ns
    request_log.put_in_order(guest.folder)
    assert log_file(guest).stat().st_mtime_ns == before


def to_symlink(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


def to_hard_link(path: Path, target: Path) -> None:
    path.unlink()
    path.hardlink_to(target)


def to_linked_folder(path: Path, target: Path) -> None:
    path.parent.rename(target.parent / "moved")
    (target.parent / "moved" / path.name).write_bytes(target.read_bytes())
    path.parent.symlink_to(target.parent / "moved")


def to_linked_wal(path: Path, target: Path) -> None:
    Path(f"{path}-wal").symlink_to(target.with_name("foreign"))


def to_folder(path: Path, _: Path) -> None:
    path.unlink()
    path.mkdir()


def to_garbage(path: Path, _: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


@pytest.mark.parametrize("spoil", [to_symlink, to_hard_link, to_linked_folder, to_linked_wal, to_folder, to_garbage])
async def test_links_of_the_tenant_lead_nowhere(place: House, home: Path, spoil: Callable[[Path, Path], None]) -> None:
    guest = place.add()
    path = log_file(guest)
    other = home / "other.db"
    for file in (path, other):
        with sqlite3.connect(file) as database:
            database.execute("CREATE TABLE _logs (created TEXT, level INTEGER)")
        database.close()
    before = other.read_bytes()
    spoil(path, other)
    request_log.put_in_order(guest.folder)
    assert other.read_bytes() == before
    assert not (home / "foreign").exists()
    moved = home / "moved" / path.name
    if moved.exists():
        assert moved.read_bytes() == before


def log_file(guest: Guest) -> Path:
    return guest.data_folder / ("auxiliary.db" if guest.has_superusers else "logs.db")


async def wake_and_sleep(place: House, guest: Guest) -> None:
    await place.supervisor.ensure(guest.instance_id, cause="GET /")
    assert await place.supervisor.sleep(guest.instance_id, cause="test", drain=0, quiet_only=True)
