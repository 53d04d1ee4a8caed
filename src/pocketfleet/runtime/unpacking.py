"""Taking files out of a zip that may be hostile: everything is checked before the first byte is unpacked.

No path of it is used before it was taken apart, no link is ever made, every size is bounded, every checksum read.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pocketfleet.errors import ArchiveRefused, DiskTrouble
from pocketfleet.runtime.copying import RESERVE, keep_reserve, plain
from pocketfleet.runtime.errands import Errand

_CHUNK = 1 << 20
_ENTRY = b"PK\x01\x02"
_ENCRYPTED = 0x1
_HEADER_BYTES = 30
#: Below this many bytes no ratio is suspicious: an emptied database shrinks a thousandfold.
_HARMLESS = 1_000_000_000
_LONGEST_NAME, _LONGEST_PATH, _DEEPEST = 255, 1000, 100
_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    EOFError,
    ValueError,
    RuntimeError,
    struct.error,
    OverflowError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large an archive may become: bytes unpacked, files, and unpacked bytes for each packed one."""

    bytes: int = 100_000_000_000
    files: int = 500_000
    ratio: int = 200
    #: bytes that are free where it is unpacked; None where that does not matter
    room: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive, its path checked."""

    path: PurePosixPath
    info: zipfile.ZipInfo


@contextlib.contextmanager
def opened_zip(archive: Path, limits: Limits) -> Iterator[zipfile.ZipFile]:
    """The archive, to be read; what Python's zipfile says of damage becomes ArchiveRefused."""
    try:
        with (
            archive.open("rb", buffering=0) as raw,
            _Bounded(raw, limits.files) as bounded,
            zipfile.ZipFile(bounded) as opened,
        ):
            yield opened
    except _ERRORS as error:
        raise ArchiveRefused(f"This is not a zip, or a damaged one: {plain(str(error))[:200]}.") from error


def members_of(opened: zipfile.ZipFile, size: int, limits: Limits) -> list[Member]:
    """All files, or ArchiveRefused for the first thing that an honest archive does not hold. `size`: of the archive."""
    infos = opened.infolist()
    if len(infos) > limits.files:
        raise ArchiveRefused(f"The archive holds {len(infos)} files; {limits.files} are the most.")
    found = [Member(_checked_path(info), info) for info in infos if not _is_folder(info)]
    _check_names(found, limits)
    _check_sizes(infos, size, limits)
    return found


def check_space(members: list[Member], into: Path) -> None:
    """Raises DiskTrouble where what is to be unpacked does not fit."""
    needed = sum(member.info.file_size for member in members)
    free = shutil.disk_usage(into).free
    if needed + RESERVE > free:
        raise DiskTrouble(
            f"Unpacked it has {needed / 1e6:.0f} MB, and the disk has {free / 1e6:.0f} MB left. Make room on it.",
            needed=needed,
            free=free,
        )


def read_member(opened: zipfile.ZipFile, member: Member, errand: Errand) -> Iterator[bytes]:
    """A file's content; its checksum was right once this ends. Raises zipfile's errors."""
    left = member.info.file_size
    with opened.open(member.info) as source:
        while chunk := source.read(_CHUNK):
            errand.check()
            left -= len(chunk)
            if left < 0:
                raise ArchiveRefused(f"{plain(str(member.path))} is larger than the archive says.")
            yield chunk
    if left:
        raise ArchiveRefused(f"{plain(str(member.path))} is shorter than the archive says.")


def write_member(opened: zipfile.ZipFile, member: Member, target: Path, errand: Errand) -> None:
    """Unpack a file to `target`, which is not there yet; its folders are made."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.open("xb") as written:
        target.chmod(0o600)
        for chunk in read_member(opened, member, errand):
            keep_reserve(target.parent)
            written.write(chunk)


class _Bounded(io.BufferedReader):
    """What zipfile reads from: the list of contents is counted before it becomes objects."""

    def __init__(self, raw: io.RawIOBase, files: int) -> None:
        super().__init__(raw)
        self._files = files

    def read(self, size: int | None = -1, /) -> bytes:
        """At most what a list of so many files needs."""
        most = self._files * 400 + (1 << 20)
        if size is not None and size > most:
            raise ArchiveRefused(f"The archive's list of contents has {size / 1e6:.0f} MB; that is no backup.")
        data = super().read(most if size is None or size < 0 else size)
        if len(data) > _CHUNK and data.count(_ENTRY) > self._files and data.startswith(_ENTRY):
            raise ArchiveRefused(f"The archive holds more than {self._files} files.")
        return data


def _is_folder(info: zipfile.ZipInfo) -> bool:
    # its own `is_dir` fails over an empty name
    if not info.filename.endswith("/"):
        return False
    _checked_path(info)
    if info.file_size:
        raise ArchiveRefused(f"{plain(info.filename)} is a folder with content.")
    return True


def _checked_path(info: zipfile.ZipInfo) -> PurePosixPath:
    """The path, if it is relative and plain. Raises ArchiveRefused."""
    name = info.filename
    parts = name.removeprefix("./").removesuffix("/").split("/")
    shown = plain(name)[:200]
    if "\\" in name or name.startswith("/") or (len(parts[0]) == 2 and parts[0][1] == ":"):
        raise ArchiveRefused(f"The archive holds an absolute path, or one of Windows: {shown}.")
    if any(part in ("", ".", "..") for part in parts):
        raise ArchiveRefused(f"The archive holds a path that leads elsewhere: {shown}.")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        raise ArchiveRefused(f"The archive holds a name with control characters: {shown}.")
    if len(name.encode("utf-8", "surrogateescape")) > _LONGEST_PATH or any(
        len(part.encode("utf-8", "surrogateescape")) > _LONGEST_NAME for part in parts
    ):
        raise ArchiveRefused(f"The archive holds a path that is too long: {shown} ...")
    if len(parts) > _DEEPEST:
        raise ArchiveRefused(f"The archive holds a path of more than {_DEEPEST} folders: {shown} ...")
    _check_kind(info, shown)
    return PurePosixPath(*parts)


def _check_kind(info: zipfile.ZipInfo, shown: str) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise ArchiveRefused(f"The archive holds a link: {shown}. Pack the file itself.")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ArchiveRefused(f"The archive holds something that is no file: {shown}.")
    if info.flag_bits & _ENCRYPTED:
        raise ArchiveRefused(f"The archive has a password: {shown}. Pack it without one.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ArchiveRefused(
            f"{shown} is packed in a way that PocketBase does not read either. Pack it as a plain zip."
        )


def _check_names(members: list[Member], limits: Limits) -> None:
    """No name twice, none a file and a folder; folders count as files do, since each takes as much of a disk."""
    seen: set[tuple[str, ...]] = set()
    for member in members:
        if member.path.parts in seen:
            raise ArchiveRefused(f"The archive holds {plain(str(member.path))} twice.")
        seen.add(member.path.parts)
    folders: set[tuple[str, ...]] = set()
    for member in members:
        parts = member.path.parts[:-1]
        # the rest of the way up is known wherever one folder of it is
        while parts and parts not in folders:
            folders.add(parts)
            parts = parts[:-1]
        if len(folders) > limits.files:
            raise ArchiveRefused(f"The archive holds more than {limits.files} folders.")
    for folder in folders & seen:
        raise ArchiveRefused(f"{plain('/'.join(folder))} is a file and a folder in the archive.")


def _check_sizes(infos: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    total = sum(info.file_size for info in infos)
    if total > limits.bytes:
        raise ArchiveRefused(f"Unpacked it would have {total / 1e9:.1f} GB; {limits.bytes / 1e9:.0f} GB are the most.")
    if total > _HARMLESS and total > size * limits.ratio:
        raise ArchiveRefused(f"It would grow from {size / 1e6:.0f} MB to {total / 1e9:.1f} GB; that is no backup.")
    if limits.room is not None and total > limits.room:
        text = f"Unpacked it has {total / 1e6:.0f} MB, and {limits.room / 1e6:.0f} MB are free. Make room on the disk."
        raise DiskTrouble(text, needed=total, free=limits.room)
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise ArchiveRefused("Files overlap in the archive; that is no backup.")
        end = info.header_offset + _HEADER_BYTES + info.compress_size
    if end > size:
        raise ArchiveRefused("Files lie outside the archive; it was cut, or is no backup.")
