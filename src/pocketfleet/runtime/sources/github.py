"""PocketBase's own releases on GitHub: a zip per platform, and checksums.txt."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from pocketfleet.domain.releases import Version
from pocketfleet.errors import ReleaseUnusable, SourceDown, WrongRange
from pocketfleet.runtime.sources.archives import LARGEST_ARCHIVE, take_from_zip
from pocketfleet.runtime.sources.platforms import archive_name
from pocketfleet.runtime.sources.source import OfferedAt, Progress

REPOSITORY = "pocketbase/pocketbase"
_PAGE = 100
_MOST_PAGES = 30
_LARGEST_PAGE = 30_000_000
_LARGEST_CHECKSUMS = 1_000_000
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)


class GithubSource:
    """Reads all releases page by page; talks only to the configured host, or to any by https."""

    name = "github"

    def __init__(self, api: str) -> None:
        self._api = httpx.URL(api.rstrip("/"))

    async def offers(self) -> list[OfferedAt]:
        """Drafts and releases without a file for this machine are left out."""
        found: list[OfferedAt] = []
        async with self._client() as client:
            for page in range(1, _MOST_PAGES + 1):
                releases = await self._page(client, page)
                found += [offer for item in releases if (offer := _offer(item)) is not None]
                if len(releases) < _PAGE:
                    break
        return found

    async def fetch(self, offer: OfferedAt, into: Path, progress: Progress) -> Path:
        """The zip must be the one that checksums.txt names and, where GitHub told one, have its digest."""
        name = archive_name(offer.version)
        archive = into / "archive.zip"
        async with self._client() as client:
            checksums = await _read(client, str(offer.location.get("checksums_url", "")), _LARGEST_CHECKSUMS)
            wanted = _checksum(checksums.decode(errors="replace"), name)
            digest = await _download(client, str(offer.location.get("url", "")), archive, progress)
        if digest != wanted or (offer.checksum and digest != offer.checksum):
            raise ReleaseUnusable(f"{name} does not have the checksum that GitHub tells; it was not installed.")
        await progress(None, "unpacking")
        await asyncio.to_thread(take_from_zip, archive, into / "pocketbase")
        return into / "pocketbase"

    async def _page(self, client: httpx.AsyncClient, page: int) -> list[dict[str, Any]]:
        url = f"{self._api}/repos/{REPOSITORY}/releases?per_page={_PAGE}&page={page}"
        try:
            releases = httpx.Response(200, content=await _read(client, url, _LARGEST_PAGE)).json()
        except ValueError:
            releases = None
        if not isinstance(releases, list):
            raise SourceDown(f"{self._api.host} did not answer with a list of releases.")
        return [item for item in releases if isinstance(item, dict)]

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        def build() -> httpx.AsyncClient:
            return httpx.AsyncClient(
                follow_redirects=True,
                max_redirects=5,
                timeout=_TIMEOUT,
                headers={"User-Agent": "pocketfleet", "Accept-Encoding": "gzip"},
                event_hooks={"request": [self._check]},
            )

        # reading the certificates takes tens of milliseconds that a wake would feel
        client = await asyncio.to_thread(build)
        try:
            async with client:
                yield client
        except httpx.HTTPError as error:
            raise SourceDown(f"{self._api.host}: {str(error) or type(error).__name__}.") from error
        except httpx.InvalidURL as error:
            raise ReleaseUnusable(f"GitHub tells an address that is none: {error}.") from error

    async def _check(self, request: httpx.Request) -> None:
        """Called for every redirect, too."""
        url = request.url
        ours = (url.scheme, url.host, url.port) == (self._api.scheme, self._api.host, self._api.port)
        if url.scheme != "https" and not ours:
            raise ReleaseUnusable(f"GitHub names an address that is not https ({url.host}); it was not asked.")


def _offer(item: dict[str, Any]) -> OfferedAt | None:
    try:
        version = Version.parse(str(item.get("tag_name", ""))).text
    except WrongRange:
        return None
    assets = {asset.get("name"): asset for asset in item.get("assets") or [] if isinstance(asset, dict)}
    archive, checksums = assets.get(archive_name(version)), assets.get("checksums.txt")
    if item.get("draft") or archive is None or checksums is None:
        return None
    digest = str(archive.get("digest") or "").removeprefix("sha256:").lower()
    location = {
        "url": str(archive.get("browser_download_url", "")),
        "checksums_url": str(checksums.get("browser_download_url", "")),
    }
    checksum = digest if _SHA256.fullmatch(digest) else ""
    return OfferedAt("github", version, location, checksum, _moment(item.get("published_at")))


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _checksum(text: str, name: str) -> str:
    for line in text.splitlines():
        digest, _, file = line.strip().partition(" ")
        if file.strip().lstrip("*") == name and _SHA256.fullmatch(digest.lower()):
            return digest.lower()
    raise ReleaseUnusable(f"checksums.txt does not name {name}; it was not installed.")


@asynccontextmanager
async def _answer(client: httpx.AsyncClient, url: str) -> AsyncIterator[httpx.Response]:
    async with client.stream("GET", url) as response:
        if response.status_code in (403, 429):
            raise SourceDown(_too_often(response))
        if response.status_code != 200:
            raise SourceDown(f"{response.url.host} answered {response.status_code}.")
        yield response


def _too_often(response: httpx.Response) -> str:
    """GitHub lets anonymous callers ask 60 times an hour and address."""
    if response.headers.get("x-ratelimit-remaining") != "0" and response.status_code != 429:
        return f"{response.url.host} refuses (403)."
    reset = response.headers.get("x-ratelimit-reset", "")
    when = f" until {datetime.fromtimestamp(int(reset), UTC):%H:%M} UTC" if re.fullmatch(r"\d{1,11}", reset) else ""
    return f"{response.url.host} takes no more questions from this address{when} (its rate limit)."


async def _read(client: httpx.AsyncClient, url: str, limit: int) -> bytes:
    body = bytearray()
    async with _answer(client, url) as response:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                raise SourceDown(f"{response.url.host} answered with more than {limit // 1_000_000} MB.")
    return bytes(body)


async def _download(client: httpx.AsyncClient, url: str, target: Path, progress: Progress) -> str:
    """Write what is there to `target`; answers its hexadecimal SHA-256."""
    digest, done = hashlib.sha256(), 0
    async with _answer(client, url) as response:
        length = response.headers.get("content-length", "")
        total = int(length) if length.isdigit() else 0
        with target.open("xb") as written:
            async for chunk in response.aiter_bytes(1 << 18):
                done += len(chunk)
                if done > LARGEST_ARCHIVE:
                    raise ReleaseUnusable(f"The archive has more than {LARGEST_ARCHIVE // 1_000_000} MB.")
                digest.update(chunk)
                written.write(chunk)
                await progress(done / total if total else None, f"downloading {total / 1e6:.0f} MB from GitHub")
    return digest.hexdigest()
