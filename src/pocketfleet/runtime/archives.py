"""Backups: zips that PocketBase's own admin can restore, and reading those that people bring.

At the top `data.db`, `auxiliary.db` or `logs.db`, `storage/`, `types.d.ts`, as in PocketBase's own. A full one holds
hooks, migrations and public files below `pocketfleet/`, too. The zip's comment names us and the release.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pocketfleet.domain.releases import Version
from pocketfleet.errors import ArchiveRefused, SnapshotUnusable, WrongRange
from pocketfleet.runtime.ages import recognise
from pocketfleet.runtime.copying import keep_reserve, plain
from pocketfleet.runtime.databases import check, database_names, is_database, is_database_file, settle
from pocketfleet.runtime.disk import disk_trouble, flush, flush_all, remove_tree
from pocketfleet.runtime.errands import Errand, Progress, carry_out
from pocketfleet.runtime.guest import FOLDERS
from pocketfleet.runtime.layouts import DATA, EXTRAS, Layout, find_layout
from pocketfleet.runtime.sources.archives import sha256_of
from pocketfleet.runtime.taking import PASSED_OVER
from pocketfleet.runtime.unpacking import (
    Limits,
    Member,
    check_space,
    members_of,
    opened_zip,
    read_member,
    write_member,
)

_CHUNK = 1 << 20
#: Of a file's beginning: what does not shrink to this share is stored as it is.
_PROBE, _WORTH_PACKING = 1 << 16, 0.9
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Written:
    """A finished backup: bytes, and hexadecimal SHA-256 of the zip."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Opened:
    """What was brought: an instance's folder with `pb_data` and maybe more, verified."""

    #: `pocketfleet` (ours), `pocketbase` (as its own backups), `folder` (a whole `pb_data`)
    kind: str
    #: whether hooks, migrations or public files came along
    full: bool
    folder: Path
    files: int
    bytes: int
    #: the release that our own backup says it was; "" where unknown. `ages.recognise` tells the rest
    release: str = ""
    #: words about what was there and was not taken
    left_out: list[str] = field(default_factory=list)


async def write_backup(
    source: Path, target: Path, *, full: bool, release: str = "", progress: Progress | None = None
) -> Written:
    """A zip of a snapshot's data at `target`, flushed, then renamed. Blocks nobody: the instance is not touched.

    What is there at `target` is replaced. Raises DiskTrouble.
    """

    def work(errand: Errand) -> Written:
        fresh = target.with_name(f".{target.name}.part")
        with disk_trouble("The backup could not be written"):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                _pack(source, fresh, full, release, errand)
                flush(fresh)
                written = Written(fresh.stat().st_size, sha256_of(fresh))
                fresh.rename(target)
            finally:
                fresh.unlink(missing_ok=True)
            flush(target.parent)
        return written

    return await carry_out(work, progress)


async def read_archive(
    archive: Path, into: Path, limits: Limits | None = None, progress: Progress | None = None
) -> Opened:
    """Unpack a backup of ours, of PocketBase, or a packed `pb_data`, to the folder `into`, and verify it.

    `into` gets the form of an instance's folder; what was there is replaced, and it is gone after an error.
    Raises ArchiveRefused with the reason, DiskTrouble.
    """

    def work(errand: Errand) -> Opened:
        with disk_trouble("The archive could not be unpacked"), _all_or_nothing(into):
            opened = _unpack(archive, into, limits or Limits(), errand)
            flush_all(into)
        return opened

    return await carry_out(work, progress)


async def verify_archive(archive: Path, limits: Limits | None = None, progress: Progress | None = None) -> None:
    """Read a backup whole: every checksum, every page of its databases. Raises ArchiveRefused, DiskTrouble.

    The databases are unpacked for that, beside the archive, and removed again.
    """
    beside = archive.with_name(f".{archive.name}.verifying")

    def work(errand: Errand) -> None:
        with disk_trouble("The backup could not be read"):
            try:
                _read_through(archive, beside, limits or Limits(), errand)
            finally:
                remove_tree(beside)

    await carry_out(work, progress)


@contextlib.contextmanager
def _all_or_nothing(into: Path) -> Iterator[None]:
    remove_tree(into)
    into.mkdir(mode=0o700, parents=True)
    try:
        yield
    except BaseException:
        remove_tree(into)
        raise


def _pack(source: Path, target: Path, full: bool, release: str, errand: Errand) -> None:
    named = list(_to_pack(source, full))
    total = sum(path.lstat().st_size for _, path in named) or 1
    done = 0
    target.unlink(missing_ok=True)
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as packed:
        target.chmod(0o600)
        packed.comment = json.dumps({"pocketfleet": _VERSION, "release": release}).encode()
        for name, path in named:
            errand.say(done / total, f"packing {plain(path.name)}")
            done += _pack_file(packed, name, path, errand)


def _to_pack(source: Path, full: bool) -> Iterator[tuple[str, Path]]:
    """Name in the zip and path of every file; the database first, as PocketBase looks for it."""
    data = source / DATA
    yield "data.db", data / "data.db"
    for path in _plain_files(data):
        top = path.relative_to(data).parts[0]
        if path != data / "data.db" and top not in (*PASSED_OVER, EXTRAS):
            yield str(path.relative_to(data)), path
    for folder in FOLDERS if full else ():
        if folder != DATA:
            for path in _plain_files(source / folder):
                yield f"{EXTRAS}/{path.relative_to(source)}", path


def _plain_files(folder: Path) -> Iterator[Path]:
    """Files below a folder of a snapshot; links are for the disk they lie on."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _pack_file(packed: zipfile.ZipFile, name: str, path: Path, errand: Errand) -> int:
    info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
    with path.open("rb") as source:
        beginning = source.read(_PROBE)
        info.compress_type = zipfile.ZIP_DEFLATED if _is_worth_packing(beginning) else zipfile.ZIP_STORED
        source.seek(0)
        with packed.open(info, "w") as written:
            while chunk := source.read(_CHUNK):
                errand.check()
                keep_reserve(path.parent)
                written.write(chunk)
    return info.file_size


def _is_worth_packing(beginning: bytes) -> bool:
    return len(zlib.compress(beginning, 1)) < len(beginning) * _WORTH_PACKING


def _unpack(archive: Path, into: Path, limits: Limits, errand: Errand) -> Opened:
    with opened_zip(archive, limits) as opened:
        members = members_of(opened, archive.stat().st_size, limits)
        layout = find_layout(member.path for member in members)
        check_space(members, into)
        left_out = []
        total = sum(member.info.file_size for member in members) or 1
        files = done = 0
        for member in members:
            place = layout.place(member.path)
            if place is None:
                left_out.append(plain(str(member.path)))
                continue
            errand.say(done / total, f"unpacking {plain(place.name)}")
            write_member(opened, member, into / place, errand)
            files, done = files + 1, done + member.info.file_size
        kind, release = _kind(opened, layout)
    return _finished(into, kind, release, files, done, _grouped(left_out), errand)


def _kind(opened: zipfile.ZipFile, layout: Layout) -> tuple[str, str]:
    """What the comment says; it is a hint and nothing that is relied on."""
    # a comment of brackets alone goes deeper than Python's reader does
    with contextlib.suppress(ValueError, WrongRange, RecursionError):
        said = json.loads(opened.comment)
        if isinstance(said, dict) and said.get("pocketfleet") == _VERSION and layout.kind == "pocketbase":
            release = str(said.get("release", ""))
            return "pocketfleet", str(Version.parse(release)) if release else ""
    return layout.kind, ""


def _grouped(paths: list[str]) -> list[str]:
    """What was left out, by its first name."""
    groups: dict[str, int] = {}
    for path in paths:
        top = path.partition("/")[0]
        groups[top] = groups.get(top, 0) + 1
    return [f"{top}: no part of it, {number} in number" for top, number in sorted(groups.items())][:50]


def _finished(
    into: Path, kind: str, release: str, files: int, size: int, left_out: list[str], errand: Errand
) -> Opened:
    """Every folder is there, every database sound and alone, and it is a PocketBase's."""
    for name in FOLDERS:
        (into / name).mkdir(mode=0o700, exist_ok=True)
    left_out += _sound_databases(into / DATA, errand)
    try:
        recognise(into)
    except SnapshotUnusable as error:
        raise ArchiveRefused(f"It is not a PocketBase's: {error}") from error
    full = any(any((into / name).iterdir()) for name in FOLDERS if name != DATA)
    return Opened(kind, full, into, files, size, release, left_out)


def _sound_databases(folder: Path, errand: Errand) -> list[str]:
    """Fold logs in and check; a damaged request log is left out, since nothing but history is in it."""
    left_out = []
    for path in folder.iterdir():
        if is_database_file(path.name) and not path.is_file():
            raise ArchiveRefused(f"{plain(path.name)} is named as a database, and is a folder.")
    for name in database_names(folder):
        errand.say(None, f"checking {name}")
        path = folder / name
        try:
            if not is_database(path):
                raise SnapshotUnusable(f"{plain(name)} is not a database.")
            settle(path)
            check(path, thorough=True)
        except (sqlite3.Error, SnapshotUnusable) as error:
            if name not in ("auxiliary.db", "logs.db"):
                raise ArchiveRefused(f"The database {plain(name)} is damaged: {error}") from error
            for side in ("", "-wal", "-journal"):
                path.with_name(name + side).unlink(missing_ok=True)
            left_out.append(f"{name}: damaged")
    return left_out


def _read_through(archive: Path, beside: Path, limits: Limits, errand: Errand) -> None:
    remove_tree(beside)
    with opened_zip(archive, limits) as opened:
        members = members_of(opened, archive.stat().st_size, limits)
        layout = find_layout(member.path for member in members)
        databases = [member for member in members if _is_database(layout, member)]
        beside.mkdir(mode=0o700)
        check_space(databases, beside)
        for member in members:
            errand.say(None, f"reading {plain(member.path.name)}")
            place = layout.place(member.path)
            if place is not None and _is_database(layout, member):
                write_member(opened, member, beside / place, errand)
            else:
                for _ in read_member(opened, member, errand):
                    pass
    left_out = _finished(beside, "", "", 0, 0, [], errand).left_out
    if left_out:
        raise ArchiveRefused(f"Not all of it is sound: {'; '.join(left_out)}.")


def _is_database(layout: Layout, member: Member) -> bool:
    place = layout.place(member.path)
    return place is not None and len(place.parts) == 2 and place.parts[0] == DATA and is_database_file(place.name)
