"""The source `github` against a stand-in: pages, checksums, rate limits, and answers that lie."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pocketfleet.errors import ReleaseUnusable, SourceDown
from pocketfleet.runtime.sources import github as module
from pocketfleet.runtime.sources.github import GithubSource
from pocketfleet.runtime.sources.platforms import archive_name
from tests.integration.releases.github import Github, stand_in
from tests.integration.releases.wheels import script


@pytest.fixture
def github() -> Iterator[Github]:
    """An empty one."""
    with stand_in() as serving:
        yield serving


@pytest.fixture
def source(github: Github) -> GithubSource:
    """Asks the stand-in."""
    return GithubSource(github.url + "/")


async def silent(fraction: float | None, message: str) -> None:
    """Nobody looks."""


def archive(version: str, member: str = "pocketbase") -> bytes:
    """A release's zip."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as opened:
        opened.writestr("LICENSE.md", "MIT")
        opened.writestr(member, script(version))
    return held.getvalue()


def add(github: Github, version: str, **fields: str) -> bytes:
    """An honest release, unless the fields say otherwise."""
    content = archive(version)
    github.add(version, archive_name(version), content, **fields)
    return content


async def test_all_pages_are_read(github: Github, source: GithubSource) -> None:
    for patch in range(230):
        add(github, f"0.20.{patch}")
    offers = await source.offers()
    assert len(offers) == 230
    assert len(github.asked) == 3
    assert offers[0].published_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert offers[0].location["url"].endswith(archive_name("0.20.0"))


async def test_what_cannot_be_installed_here_is_left_out(github: Github, source: GithubSource) -> None:
    add(github, "0.40.6")
    add(github, "0.40.5")
    github.releases[-1]["draft"] = True
    github.add("0.40.4", "pocketbase_0.40.4_plan9_mips.zip", b"")
    add(github, "0.40.3")
    github.releases[-1]["assets"].pop()
    add(github, "0.23.0-rc1")
    github.releases += [{"tag_name": "nightly"}, {"tag_name": None, "assets": None}, {}]
    assert [offer.version for offer in await source.offers()] == ["0.40.6", "0.23.0-rc1"]


async def test_a_release_is_fetched_and_its_digest_known_beforehand(
    github: Github, source: GithubSource, tmp_path: Path
) -> None:
    digest = hashlib.sha256(archive("0.40.6")).hexdigest()
    add(github, "0.40.6", digest=f"sha256:{digest}")
    (offer,) = await source.offers()
    assert offer.checksum == digest
    seen: list[float | None] = []

    async def watch(fraction: float | None, message: str) -> None:
        seen.append(fraction)

    found = await source.fetch(offer, tmp_path, watch)
    assert found.read_bytes() == script("0.40.6")
    assert 1.0 in seen


async def test_downloads_may_be_elsewhere_on_the_same_host(
    github: Github, source: GithubSource, tmp_path: Path
) -> None:
    content = add(github, "0.40.6")
    github.redirects[f"/files/0.40.6/{archive_name('0.40.6')}"] = f"{github.url}/storage/1"
    github.files["/storage/1"] = content
    (offer,) = await source.offers()
    assert (await source.fetch(offer, tmp_path, silent)).exists()


@pytest.mark.parametrize("to", ["http://127.0.0.1:1/x", "http://example.org/x", "ftp://example.org/x"])
async def test_a_redirect_to_anything_but_https_is_not_followed(
    github: Github, source: GithubSource, tmp_path: Path, to: str
) -> None:
    add(github, "0.40.6")
    github.redirects[f"/files/0.40.6/{archive_name('0.40.6')}"] = to
    (offer,) = await source.offers()
    with pytest.raises((ReleaseUnusable, SourceDown), match=r"https|protocol"):
        await source.fetch(offer, tmp_path, silent)


@pytest.mark.parametrize("fields", [{"checksum": "1" * 64}, {"digest": "sha256:" + "1" * 64}])
async def test_a_wrong_checksum_is_refused(
    github: Github, source: GithubSource, tmp_path: Path, fields: dict[str, str]
) -> None:
    add(github, "0.40.6", **fields)
    (offer,) = await source.offers()
    with pytest.raises(ReleaseUnusable, match="checksum"):
        await source.fetch(offer, tmp_path, silent)


async def test_checksums_without_our_file_are_refused(github: Github, source: GithubSource, tmp_path: Path) -> None:
    add(github, "0.40.6")
    github.files["/files/0.40.6/checksums.txt"] = b"nothing here\n"
    (offer,) = await source.offers()
    with pytest.raises(ReleaseUnusable, match="does not name"):
        await source.fetch(offer, tmp_path, silent)


@pytest.mark.parametrize("member", ["../pocketbase", "/pocketbase", "sub/pocketbase", "notes.txt"])
async def test_only_the_one_member_is_taken(github: Github, source: GithubSource, tmp_path: Path, member: str) -> None:
    github.add("0.40.6", archive_name("0.40.6"), archive("0.40.6", member))
    (offer,) = await source.offers()
    into = tmp_path / "a" / "b"
    into.mkdir(parents=True)
    with pytest.raises(ReleaseUnusable, match="no executable"):
        await source.fetch(offer, into, silent)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["archive.zip"]


async def test_no_zip_at_all_is_refused(github: Github, source: GithubSource, tmp_path: Path) -> None:
    github.add("0.40.6", archive_name("0.40.6"), b"<html>not here</html>")
    (offer,) = await source.offers()
    with pytest.raises(ReleaseUnusable, match="cannot be unpacked"):
        await source.fetch(offer, tmp_path, silent)


async def test_too_large_is_refused(
    github: Github, source: GithubSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_ARCHIVE", 50)
    add(github, "0.40.6")
    (offer,) = await source.offers()
    with pytest.raises(ReleaseUnusable, match="more than"):
        await source.fetch(offer, tmp_path, silent)


@pytest.mark.parametrize("status", [403, 429])
async def test_the_rate_limit_is_said_in_plain_words(github: Github, source: GithubSource, status: int) -> None:
    github.refusal = (status, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1767323045"})
    with pytest.raises(SourceDown, match=r"until 03:04 UTC \(its rate limit\)"):
        await source.offers()


@pytest.mark.parametrize("status, words", [(500, "answered 500"), (404, "answered 404"), (403, "refuses")])
async def test_other_refusals_are_said(github: Github, source: GithubSource, status: int, words: str) -> None:
    github.refusal = (status, {})
    with pytest.raises(SourceDown, match=words):
        await source.offers()


async def test_an_answer_that_is_no_list_is_said(github: Github, source: GithubSource) -> None:
    github.files["/repos/pocketbase/pocketbase/releases"] = b""
    github.redirects["/repos/pocketbase/pocketbase/releases"] = f"{github.url}/page"
    github.files["/page"] = b"<html>proxy login</html>"
    with pytest.raises(SourceDown, match="list of releases"):
        await source.offers()


async def test_a_host_that_is_away_is_said() -> None:
    with pytest.raises(SourceDown, match=r"127\.0\.0\.1"):
        await GithubSource("http://127.0.0.1:9").offers()
