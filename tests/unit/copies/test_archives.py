"""Archives that an honest person did not make, and those that one did."""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketfleet.errors import ArchiveRefused, DiskTrouble
from pocketfleet.runtime import unpacking
from pocketfleet.runtime.archives import read_archive, verify_archive, write_backup
from pocketfleet.runtime.unpacking import Limits
from tests.unit.copies.folders import small_data

Pack = Callable[[zipfile.ZipFile], None]


def archive_of(tmp_path: Path, more: Pack = lambda packed: None, *, data: bool = True, prefix: str = "") -> Path:
    """A small PocketBase's zip with something more in it."""
    path = tmp_path / "brought.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        warnings.simplefilter("ignore")
        if data:
            packed.write(small_data(tmp_path / "made") / "data.db", f"{prefix}data.db")
            packed.writestr(f"{prefix}storage/c1/r1/paper.txt", "paper")
        more(packed)
    return path


async def refused(path: Path, reason: str, limits: Limits | None = None) -> None:
    """It is refused with this reason, nothing is kept, and verifying says the same."""
    into = path.parent / "into"
    with pytest.raises(ArchiveRefused, match=reason):
        await read_archive(path, into, limits)
    assert not into.exists()
    with pytest.raises(ArchiveRefused, match=reason):
        await verify_archive(path, limits)
    assert not [beside for beside in path.parent.iterdir() if beside.name.startswith(".")]


def entry(name: str, content: bytes | str = "x", *, mode: int = 0) -> Pack:
    def pack(packed: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.filename = name
        info.external_attr = mode << 16
        packed.writestr(info, content)

    return pack


@pytest.mark.parametrize(
    "name",
    ["../outside", "storage/../../outside", "a//b", "storage/./x", "..", "storage/.."],
)
async def test_paths_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    await refused(archive_of(tmp_path, entry(name)), "leads elsewhere")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("name", ["/etc/cron.d/x", "C:/x", "storage\\..\\..\\x", "\\x"])
async def test_absolute_paths(tmp_path: Path, name: str) -> None:
    await refused(archive_of(tmp_path, entry(name)), "absolute path")


@pytest.mark.parametrize("name", ["storage/a\nb", "storage/\x1b[2J"])
async def test_control_characters(tmp_path: Path, name: str) -> None:
    await refused(archive_of(tmp_path, entry(name)), "control characters")


async def test_names_that_are_too_long(tmp_path: Path) -> None:
    await refused(archive_of(tmp_path, entry("storage/" + "x" * 256)), "too long")
    await refused(archive_of(tmp_path, entry("storage/" + "x/" * 500 + "y"), data=False), "too long")


@pytest.mark.parametrize(
    "kind, reason",
    [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "no file"), (stat.S_IFCHR, "no file"), (stat.S_IFSOCK, "no file")],
)
async def test_links_and_special_files(tmp_path: Path, kind: int, reason: str) -> None:
    await refused(archive_of(tmp_path, entry("storage/x", "/etc/passwd", mode=kind | 0o777)), reason)


async def test_names_that_come_twice(tmp_path: Path) -> None:
    def twice(packed: zipfile.ZipFile) -> None:
        packed.writestr("storage/x", "one")
        packed.writestr("storage/x", "two")

    await refused(archive_of(tmp_path, twice), "twice")


async def test_a_name_that_is_a_file_and_a_folder(tmp_path: Path) -> None:
    def both(packed: zipfile.ZipFile) -> None:
        packed.writestr("storage/x", "a file")
        packed.writestr("storage/x/y", "below it")

    await refused(archive_of(tmp_path, both), "a file and a folder")


async def test_too_many_files(tmp_path: Path) -> None:
    def many(packed: zipfile.ZipFile) -> None:
        for number in range(30):
            packed.writestr(f"storage/{number}", "")

    await refused(archive_of(tmp_path, many), "31 files|32 files", Limits(files=20))


async def test_a_list_of_contents_that_is_too_long_is_not_even_read(tmp_path: Path) -> None:
    path = archive_of(tmp_path, entry("storage/x"))
    raw = bytearray(path.read_bytes())
    end = raw.rfind(b"PK\x05\x06")
    size, start = struct.unpack("<LL", raw[end + 12 : end + 20])
    padded = raw[: start + size] + b"\0" * 2_000_000 + raw[end:]
    struct.pack_into("<L", padded, end + 2_000_000 + 12, size + 2_000_000)
    path.write_bytes(padded)
    await refused(path, "no backup", Limits(files=100))


async def test_a_disk_without_room_is_no_fault_of_the_archive(tmp_path: Path) -> None:
    path = archive_of(tmp_path, entry("storage/zeros", b"\0" * 3_000_000))
    with pytest.raises(DiskTrouble, match="Unpacked it has 3 MB, and 2 MB are free"):
        await read_archive(path, tmp_path / "into", Limits(room=2_000_000))
    assert not (tmp_path / "into").exists()
    assert (await read_archive(path, tmp_path / "into", Limits(room=4_000_000))).release == ""


async def test_too_large_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive_of(tmp_path, entry("storage/zeros", b"\0" * 3_000_000))
    await refused(path, "are the most", Limits(bytes=2_000_000))
    bomb = archive_of(tmp_path, _zeros, data=False)
    monkeypatch.setattr(unpacking, "_HARMLESS", 1_000_000)
    await refused(bomb, "that is no backup", Limits(ratio=50))
    await refused(bomb, "no data", Limits(ratio=2000))


def _zeros(packed: zipfile.ZipFile) -> None:
    packed.writestr("storage/zeros", b"\0" * 30_000_000)


async def test_files_that_overlap(tmp_path: Path) -> None:
    """One packed content under many names, as in the bombs that grow with the square."""
    path = archive_of(tmp_path, entry("storage/a", b"a" * 1000))
    with zipfile.ZipFile(path) as opened:
        infos = {info.filename: info for info in opened.infolist()}
    raw = bytearray(path.read_bytes())
    at = raw.rfind(b"storage/c1/r1/paper.txt") - 46
    struct.pack_into("<L", raw, at + 42, infos["storage/a"].header_offset)
    path.write_bytes(raw)
    await refused(path, "overlap")


async def test_a_password(tmp_path: Path) -> None:
    path = archive_of(tmp_path, entry("storage/x"))
    raw = bytearray(path.read_bytes())
    at = raw.rfind(b"storage/x") - 46
    raw[at + 8] |= 1
    path.write_bytes(raw)
    await refused(path, "password")


async def test_other_ways_of_packing(tmp_path: Path) -> None:
    def packed_otherwise(packed: zipfile.ZipFile) -> None:
        packed.writestr("storage/x", "x" * 1000, zipfile.ZIP_LZMA)

    await refused(archive_of(tmp_path, packed_otherwise), "plain zip")


async def test_wrong_checksums_wrong_sizes_and_cut_files(tmp_path: Path) -> None:
    path = archive_of(tmp_path, entry("storage/x", b"content that is stored"))
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"content that is stored", b"CONTENT that is stored"))
    await refused(path, "damaged")
    path.write_bytes(raw[: len(raw) // 2])
    await refused(path, "not a zip")
    path.write_bytes(b"")
    await refused(path, "not a zip")
    path.write_bytes(os.urandom(5000))
    await refused(path, "not a zip")


async def test_what_is_no_pocketbase(tmp_path: Path) -> None:
    await refused(archive_of(tmp_path, entry("readme.txt"), data=False), "no data.db")
    await refused(archive_of(tmp_path, entry("data.db", "not a database"), data=False), "not a database")
    await refused(archive_of(tmp_path, entry("data.db", ""), data=False), "no collections")
    await refused(archive_of(tmp_path, entry("a/b/c/data.db", ""), data=False), "no data.db")


async def test_two_of_them(tmp_path: Path) -> None:
    def two(packed: zipfile.ZipFile) -> None:
        packed.writestr("one/data.db", "")
        packed.writestr("two/data.db", "")

    await refused(archive_of(tmp_path, two, data=False), "more than one")


async def test_a_damaged_database(tmp_path: Path) -> None:
    data = small_data(tmp_path / "bad") / "data.db"
    raw = bytearray(data.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    await refused(archive_of(tmp_path, entry("data.db", bytes(raw)), data=False), "damaged")


async def test_a_damaged_request_log_is_left_out(tmp_path: Path) -> None:
    read = await read_archive(archive_of(tmp_path, entry("auxiliary.db", "garbage")), tmp_path / "into")
    assert read.left_out == ["auxiliary.db: damaged"]
    assert not (read.folder / "pb_data" / "auxiliary.db").exists()


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "RESERVE", 10**18)
    with pytest.raises(DiskTrouble, match="Make room"):
        await read_archive(archive_of(tmp_path), tmp_path / "into")
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(
    "prefix, kind", [("", "pocketbase"), ("pb_data/", "folder"), ("whatever/", "folder"), ("site/pb_data/", "folder")]
)
async def test_honest_forms(tmp_path: Path, prefix: str, kind: str) -> None:
    def more(packed: zipfile.ZipFile) -> None:
        packed.writestr(f"{prefix}backups/old.zip", "left out")
        packed.writestr(f"{prefix}.pb_temp_to_delete/x", "left out")
        packed.writestr("__MACOSX/x", "left out")

    read = await read_archive(archive_of(tmp_path, more, prefix=prefix), tmp_path / "into")
    assert read.kind == kind
    assert (read.folder / "pb_data/storage/c1/r1/paper.txt").read_text() == "paper"
    names = {path.name for path in (read.folder / "pb_data").iterdir()}
    assert {"data.db", "storage"} <= names <= {"data.db", "storage", "__MACOSX"}
    assert {path.name for path in read.folder.iterdir()} == {
        "pb_data", "pb_hooks", "pb_migrations", "pb_public", "pb_admin_ext",
    }  # fmt: skip


async def test_ours_there_and_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    data = small_data(source)
    (data / "storage").mkdir()
    (data / "storage" / "image.bin").write_bytes(os.urandom(200_000))
    (data / "storage" / "link").symlink_to("/etc/passwd")
    (data / "pocketfleet").mkdir()
    (data / "pocketfleet" / "left.txt").write_text("of a former restore")
    (source / "pb_hooks").mkdir()
    (source / "pb_hooks" / "main.pb.js").write_text("x")
    target = tmp_path / "backups" / "one.zip"
    said: list[str] = []

    async def progress(fraction: float | None, message: str) -> None:
        said.append(message)

    written = await write_backup(source, target, full=True, release="0.40.6", progress=progress)
    assert written.size == target.stat().st_size
    assert said
    with zipfile.ZipFile(target) as opened:
        assert opened.namelist()[0] == "data.db"
        assert set(opened.namelist()) == {"data.db", "storage/image.bin", "pocketfleet/pb_hooks/main.pb.js"}
        assert opened.getinfo("storage/image.bin").compress_type == zipfile.ZIP_STORED
        assert opened.getinfo("data.db").compress_type == zipfile.ZIP_DEFLATED
    await verify_archive(target)
    read = await read_archive(target, tmp_path / "into")
    assert (read.kind, read.full, read.release, read.files) == ("pocketfleet", True, "0.40.6", 3)
    assert {path.name for path in target.parent.iterdir()} == {"one.zip"}


async def test_a_comment_that_lies_is_only_a_comment(tmp_path: Path) -> None:
    def lying(packed: zipfile.ZipFile) -> None:
        packed.comment = b'{"pocketfleet": 1, "release": "../../x"}'

    read = await read_archive(archive_of(tmp_path, lying), tmp_path / "into")
    assert read.release == ""


def test_a_list_with_more_files_than_allowed_is_counted_before_it_is_parsed(tmp_path: Path) -> None:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as packed:
        for number in range(30_000):
            packed.writestr(f"{number}", "")
    path = tmp_path / "many.zip"
    path.write_bytes(raw.getvalue())
    with pytest.raises(ArchiveRefused, match="more than 20000 files"), unpacking.opened_zip(path, Limits(files=20_000)):
        pass
