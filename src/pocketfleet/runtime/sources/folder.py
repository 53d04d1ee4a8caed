"""A folder with executables of your own: `<version>/pocketbase`, `pocketbase-<version>`, or GitHub's zips."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

from pocketfleet.domain.releases import Version
from pocketfleet.errors import ReleaseUnusable, SourceDown, WrongRange
from pocketfleet.runtime.sources.archives import LARGEST_EXECUTABLE, sha256_of, take_from_zip
from pocketfleet.runtime.sources.platforms import platform_name
from pocketfleet.runtime.sources.source import OfferedAt, Progress


class FolderSource:
    """What lies there now; the sha256 of each file counts as it was when it was first seen."""

    name = "folder"

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        #: sha256 by what tells that a file is still the same
        self._hashes: dict[tuple[Path, int, int, int], str] = {}

    async def offers(self) -> list[OfferedAt]:
        """Where a release lies there in several forms, the plain executable counts."""
        return await asyncio.to_thread(self._look)

    async def fetch(self, offer: OfferedAt, into: Path, progress: Progress) -> Path:
        """Copied first and checked then, so that what was checked is what is installed."""
        await progress(None, "copying")
        return await asyncio.to_thread(self._take, offer, into)

    def _look(self) -> list[OfferedAt]:
        try:
            found = dict(self._files())
        except OSError as error:
            raise SourceDown(f"The folder {self._folder} cannot be read: {error.strerror}.") from error
        return [self._offer(version, path) for version, path in found.items()]

    def _offer(self, version: str, path: Path) -> OfferedAt:
        status = path.stat()
        key = (path, status.st_ino, status.st_size, status.st_mtime_ns)
        if key not in self._hashes:
            self._hashes[key] = sha256_of(path)
        return OfferedAt(self.name, version, {"file": str(path.relative_to(self._folder))}, self._hashes[key])

    def _files(self) -> Iterator[tuple[str, Path]]:
        """(version, file), the preferred form of each version last."""
        end = f"_{platform_name()}.zip"
        entries = sorted(self._folder.iterdir())
        named = [
            *(
                (entry.name.removeprefix("pocketbase_").removesuffix(end), entry)
                for entry in entries
                if _is_zip(entry, end)
            ),
            *(
                (entry.name.removeprefix("pocketbase-"), entry)
                for entry in entries
                if entry.name.startswith("pocketbase-")
            ),
            *((entry.name, entry / "pocketbase") for entry in entries if entry.is_dir()),
        ]
        for text, path in named:
            version = _version(text)
            if version is not None and path.is_file() and path.stat().st_size <= LARGEST_EXECUTABLE:
                yield version, path

    def _take(self, offer: OfferedAt, into: Path) -> Path:
        path = dict(self._files()).get(offer.version)
        if path is None:
            raise SourceDown(f"{self._folder} no longer holds PocketBase {offer.version}.")
        copied = into / "copied"
        shutil.copyfile(path, copied)
        if offer.checksum and sha256_of(copied) != offer.checksum:
            raise ReleaseUnusable(
                f"{path} is not the file that was first seen there. If the new one is right, take it away, look for "
                "releases (`pocketfleet releases --refresh`), put it back and look again."
            )
        if path.suffix != ".zip":
            return copied
        take_from_zip(copied, into / "pocketbase")
        return into / "pocketbase"


def _is_zip(entry: Path, end: str) -> bool:
    return entry.name.startswith("pocketbase_") and entry.name.endswith(end)


def _version(text: str) -> str | None:
    try:
        return Version.parse(text).text
    except WrongRange:
        return None
