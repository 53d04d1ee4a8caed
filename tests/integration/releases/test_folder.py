"""The source `folder`: the forms it takes, and files that change after they were first seen."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pocketfleet.errors import ReleaseUnusable, SourceDown
from pocketfleet.runtime.sources import OfferedAt
from pocketfleet.runtime.sources.folder import FolderSource
from pocketfleet.runtime.sources.platforms import archive_name
from tests.integration.releases.wheels import script, write_executable, write_zip


async def silent(fraction: float | None, message: str) -> None:
    """Nobody looks."""


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Where a fetch may write."""
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


async def test_every_form_is_found_and_nothing_else(tmp_path: Path, into: Path) -> None:
    folder = tmp_path / "own"
    write_executable(folder / "0.40.6" / "pocketbase", script("0.40.6"))
    write_executable(folder / "pocketbase-0.40.5", script("0.40.5"))
    write_zip(folder / archive_name("0.40.4"), script("0.40.4"))
    write_zip(folder / "pocketbase_0.40.3_plan9_mips.zip", script("0.40.3"))
    write_executable(folder / "pocketbase-latest", script("1.0.0"))
    write_executable(folder / "notes" / "pocketbase", script("1.0.0"))
    (folder / "0.40.2").mkdir()
    (folder / "readme.txt").write_text("hello")
    source = FolderSource(str(folder))
    offers = {offer.version: offer for offer in await source.offers()}
    assert sorted(offers) == ["0.40.4", "0.40.5", "0.40.6"]
    for version, offer in offers.items():
        (into / version).mkdir()
        assert (await source.fetch(offer, into / version, silent)).read_bytes() == script(version)
    assert offers["0.40.6"].checksum == hashlib.sha256(script("0.40.6")).hexdigest()


async def test_the_plain_executable_counts_first(tmp_path: Path, into: Path) -> None:
    write_zip(tmp_path / archive_name("0.40.6"), script("0.40.6", extra="# zip"))
    write_executable(tmp_path / "pocketbase-0.40.6", script("0.40.6", extra="# plain"))
    source = FolderSource(str(tmp_path))
    (offer,) = await source.offers()
    assert b"# plain" in (await source.fetch(offer, into, silent)).read_bytes()


async def test_a_file_that_changed_since_it_was_first_seen_is_refused(tmp_path: Path, into: Path) -> None:
    path = write_executable(tmp_path / "pocketbase-0.40.6", script("0.40.6"))
    source = FolderSource(str(tmp_path))
    (offer,) = await source.offers()
    write_executable(path, script("0.40.6", extra="# other"))
    with pytest.raises(ReleaseUnusable, match="first seen"):
        await source.fetch(offer, into, silent)
    (again,) = await source.offers()
    assert again.checksum != offer.checksum


async def test_what_is_gone_is_said(tmp_path: Path, into: Path) -> None:
    with pytest.raises(SourceDown, match=r"no longer holds PocketBase 0\.40\.6"):
        await FolderSource(str(tmp_path)).fetch(OfferedAt("folder", "0.40.6"), into, silent)


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceDown, match="cannot be read"):
        await FolderSource(str(tmp_path / "none")).offers()
