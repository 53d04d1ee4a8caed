"""Archives that hypothesis made up, and real ones with bytes changed: refused with a reason, or sound; never outside.

What each example may leave is looked at after it: a folder that holds plain files alone, or none; a neighbour that is
as it was; no process's files but ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import stat
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketfleet.errors import ArchiveRefused
from pocketfleet.runtime.archives import Opened, read_archive, verify_archive
from pocketfleet.runtime.guest import FOLDERS
from pocketfleet.runtime.unpacking import Limits
from tests.unit.copies.folders import small_data

#: Small ones, so that what goes past them is made quickly.
LIMITS = Limits(bytes=5_000_000, files=300, ratio=200)
EXAMPLES = 50
SOAK = int(os.environ.get("POCKETFLEET_SOAK_EXAMPLES", "5000"))


@dataclass(frozen=True)
class Place:
    """Where an archive is unpacked, with a neighbour that must stay as it is."""

    folder: Path

    @property
    def archive(self) -> Path:
        return self.folder / "brought.zip"

    @property
    def into(self) -> Path:
        return self.folder / "below" / "into"

    def unpack(self, content: bytes) -> Opened | None:
        """What came of it, None where it was refused; whatever it was, all around it is in order."""
        self.archive.write_bytes(content)
        (self.folder / "neighbour").write_text("as it was")
        descriptors = len(names_in(Path("/proc/self/fd")))
        opened, reason = None, ""
        try:
            opened = asyncio.run(read_archive(self.archive, self.into, LIMITS))
        except ArchiveRefused as refused:
            reason = refused.detail
        assert len(names_in(Path("/proc/self/fd"))) <= descriptors + 1
        assert (self.folder / "neighbour").read_text() == "as it was"
        assert names_in(self.folder) <= {"below", "brought.zip", "neighbour"}
        if opened is not None:
            assert sum(self.sound_files(opened)) <= LIMITS.bytes
            return opened
        assert reason.isprintable()
        assert 0 < len(reason) < 2000
        assert not self.into.exists()
        return None

    def sound_files(self, opened: Opened) -> Iterator[int]:
        """Sizes of what was unpacked; all of it plain files, and where they belong."""
        assert names_in(opened.folder) == set(FOLDERS)
        for parent, folders, names in os.walk(opened.folder):
            for name in folders:
                assert stat.S_ISDIR(Path(parent, name).lstat().st_mode)
            for name in names:
                found = Path(parent, name).lstat()
                assert stat.S_ISREG(found.st_mode)
                assert (stat.S_IMODE(found.st_mode), found.st_nlink) == (0o600, 1)
                yield found.st_size


def names_in(folder: Path) -> set[str]:
    """What lies in it."""
    return {path.name for path in folder.iterdir()}


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """One for all examples of a test: each leaves it as it was."""
    with tempfile.TemporaryDirectory(prefix="pf-") as folder:
        yield Place(Path(folder))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real archive of a small PocketBase."""
    folder = tmp_path_factory.mktemp("honest")
    with zipfile.ZipFile(folder / "one.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(small_data(folder / "made") / "data.db", "data.db")
        for number in range(4):
            packed.writestr(f"storage/c{number}/r/paper.txt", f"paper {number}" * 20)
        packed.writestr("pocketfleet/pb_hooks/main.pb.js", "// hooks")
        packed.comment = b'{"pocketfleet": 1, "release": "0.40.6"}'
    return (folder / "one.zip").read_bytes()


def test_the_honest_one_is_taken(place: Place, honest: bytes) -> None:
    opened = place.unpack(honest)
    assert opened is not None
    assert (opened.kind, opened.release, opened.files, opened.full) == ("pocketfleet", "0.40.6", 6, True)


# names, kinds, flags


PARTS = st.one_of(
    st.sampled_from(
        [
            "..", ".", "", "storage", "pb_data", "pb_hooks", "pocketfleet", "data.db", "data.db-wal", "data.db-journal",
            "auxiliary.db", "x.db", "C:", "C:x", "~", "$HOME", "con", "a\\b", "..\\..", "\u202e", "é", "e\u0301",
            "\u2044", "\uff0e\uff0e", "\uff0f", "%2e%2e", "-rf",
            ".pb_temp_to_delete", "backups", "x" * 255, "x" * 256, "ß" * 200,
        ]
    ),
    st.text(min_size=0, max_size=12),
)  # fmt: skip
NAMES = st.builds(
    lambda lead, parts, tail: lead + "/".join(parts) + tail,
    st.sampled_from(["", "", "", "/", "./", "//", "\\", "C:/", "//?/C:/"]),
    st.lists(PARTS, min_size=1, max_size=6),
    st.sampled_from(["", "", "/", "/."]),
)
MODES = st.sampled_from(
    [
        0, stat.S_IFREG | 0o644, stat.S_IFREG | 0o6777, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777, stat.S_IFIFO,
        stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, 0o160000,
    ]
)  # fmt: skip
#: Unicode path, zip64, unix times and ids, nonsense.
EXTRAS = st.one_of(
    st.just(b""),
    st.builds(lambda name: struct.pack("<HH", 0x7075, 5 + len(name)) + b"\1\0\0\0\0" + name, st.binary(max_size=20)),
    st.builds(lambda body: struct.pack("<HH", 0x0001, len(body)) + body, st.binary(max_size=32)),
    st.binary(max_size=12),
)
ENTRIES = st.tuples(NAMES, MODES, EXTRAS, st.binary(max_size=60))


def packed(tmp: Path, honest: bytes, entries: list[tuple[str, int, bytes, bytes]]) -> bytes:
    """The honest archive with these entries besides."""
    path = tmp / "made.zip"
    path.write_bytes(honest)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as opened:
        warnings.simplefilter("ignore")
        for name, mode, extra, content in entries:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
            info.external_attr, info.extra, info.create_system = mode << 16, extra, 3
            try:
                opened.writestr(info, content)
            except (ValueError, struct.error):
                continue  # not even Python can write that
    return path.read_bytes()


def check_entries(place: Place, honest: bytes, tmp: Path, entries: list[tuple[str, int, bytes, bytes]]) -> None:
    """Whatever they are called."""
    opened = place.unpack(packed(tmp, honest, entries))
    if opened is not None:
        assert (opened.folder / "pb_data/storage/c0/r/paper.txt").read_text() == "paper 0" * 20


def test_entries_of_any_name_and_kind(place: Place, honest: bytes, tmp_path: Path) -> None:
    @settings(max_examples=EXAMPLES, derandomize=True, database=None)
    @given(st.lists(ENTRIES, min_size=1, max_size=4))
    def check(entries: list[tuple[str, int, bytes, bytes]]) -> None:
        check_entries(place, honest, tmp_path, entries)

    check()


@pytest.mark.soak
def test_entries_of_any_name_and_kind_for_long(place: Place, honest: bytes, tmp_path: Path) -> None:
    @settings(max_examples=SOAK, database=None)
    @given(st.lists(ENTRIES, min_size=1, max_size=4))
    def check(entries: list[tuple[str, int, bytes, bytes]]) -> None:
        check_entries(place, honest, tmp_path, entries)

    check()


# bytes


def cut(raw: bytearray, chance: random.Random) -> None:
    """An end, or a piece of the middle, is missing."""
    start = chance.randrange(len(raw))
    del raw[start : chance.choice([len(raw), start + chance.randrange(1, 200)])]


def flip(raw: bytearray, chance: random.Random) -> None:
    """Some bytes are others."""
    for _ in range(chance.randrange(1, 8)):
        raw[chance.randrange(len(raw))] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])


def lie(raw: bytearray, chance: random.Random) -> None:
    """A field of the list of contents, or of its end, says something else: sizes, offsets, flags, methods, counts."""
    record, fields = chance.choice(
        [
            (b"PK\x01\x02", [(8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (32, 2), (38, 4), (42, 4)]),
            (b"PK\x03\x04", [(6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)]),
            (b"PK\x05\x06", [(4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2)]),
        ]
    )
    places = [at for at in range(len(raw) - 46) if raw.startswith(record, at)]
    if not places:
        return
    at, (offset, size) = chance.choice(places), chance.choice(fields)
    value = chance.choice([0, 1, 9, 0x4000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, len(raw), chance.getrandbits(32)])
    raw[at + offset : at + offset + size] = (value & ((1 << size * 8) - 1)).to_bytes(size, "little")


def double(raw: bytearray, chance: random.Random) -> None:
    """A piece is there twice: entries that overlap, lists that are too long."""
    start = chance.randrange(len(raw))
    piece = raw[start : start + chance.randrange(1, 400)]
    at = chance.randrange(len(raw))
    raw[at:at] = piece


def zip64(raw: bytearray, chance: random.Random) -> None:
    """An end of the form for great archives, whose counts and offsets are made up."""
    end = raw.rfind(b"PK\x05\x06")
    numbers = [
        chance.choice([0, 1, len(raw), 1 << 31, 1 << 62, (1 << 64) - 1, chance.getrandbits(64)]) for _ in range(4)
    ]
    record = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, *numbers)
    where = struct.pack("<4sLQL", b"PK\x06\x07", 0, chance.choice([end, 0, 1 << 63]), 1)
    raw[end:end] = record + where


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [cut, flip, lie, double, zip64]


def check_bytes(place: Place, honest: bytes, seed: int) -> None:
    """One to three changes of an honest archive."""
    chance = random.Random(seed)
    raw = bytearray(honest)
    for change in chance.choices(MUTATIONS, [1, 2, 6, 1, 1], k=chance.randrange(1, 4)):
        if len(raw) > 100 and b"PK\x05\x06" in raw and b"PK\x03\x04" in raw[:-46] and b"PK\x01\x02" in raw[:-46]:
            change(raw, chance)
    place.unpack(bytes(raw))


def test_a_real_archive_with_other_bytes(place: Place, honest: bytes) -> None:
    for seed in range(120):
        check_bytes(place, honest, seed)


@pytest.mark.soak
def test_a_real_archive_with_other_bytes_for_long(place: Place, honest: bytes) -> None:
    for seed in range(1000, 1000 + SOAK):
        check_bytes(place, honest, seed)


def test_bytes_that_are_no_archive(place: Place) -> None:
    @settings(max_examples=EXAMPLES, derandomize=True, database=None)
    @given(st.binary(max_size=400), st.booleans())
    def check(content: bytes, ends_well: bool) -> None:
        assert place.unpack(content + (b"PK\x05\x06" + bytes(18) if ends_well else b"")) is None

    check()


# what was found once


def with_comment(honest: bytes, comment: bytes) -> bytes:
    """The honest archive with another comment."""
    end = honest.rfind(b"PK\x05\x06")
    return honest[: end + 20] + struct.pack("<H", len(comment)) + comment


def test_a_comment_deeper_than_json_goes_is_only_a_comment(place: Place, honest: bytes) -> None:
    opened = place.unpack(with_comment(honest, b"[" * 65_000))
    assert opened is not None
    assert (opened.kind, opened.release) == ("pocketbase", "")


def test_folders_count_as_files_do(place: Place, honest: bytes, tmp_path: Path) -> None:
    deep = [(f"storage/{number}/" + "d/" * 20 + "x", 0, b"", b"") for number in range(20)]
    assert place.unpack(packed(tmp_path, honest, deep)) is None
    assert place.unpack(packed(tmp_path, honest, [("storage/" + "d/" * 200 + "x", 0, b"", b"")])) is None
    assert place.unpack(packed(tmp_path, honest, deep[:5])) is not None


def test_an_entry_without_a_name_is_refused(place: Place, honest: bytes, tmp_path: Path) -> None:
    assert place.unpack(packed(tmp_path, honest, [("", 0, b"", b"x")])) is None


def test_a_folder_with_a_databases_name_is_refused(place: Place, honest: bytes, tmp_path: Path) -> None:
    for name in ("other.db/x", "data.db-journal/x", "data.db-wal/x", "data.db-shm/x"):
        assert place.unpack(packed(tmp_path, honest, [(name, 0, b"", b"x")])) is None, name


def trap(database: bytes, victim: Path) -> bytes:
    """A journal that is hot, puts the first page back as it is, and names a file as its super-journal."""
    magic, size = bytes.fromhex("d9d505f920a163d7"), int.from_bytes(database[16:18], "big")
    page, name = database[:size], os.fsencode(victim)
    checksum = sum(page[at] for at in range(size - 200, 0, -200))
    head = (magic + struct.pack(">LLLLL", 1, 0, len(database) // size, 512, size)).ljust(512, b"\0")
    body = struct.pack(">L", 1) + page + struct.pack(">L", checksum)
    tail = struct.pack(">L", 0x40000000 // size + 1) + name + struct.pack(">LL", len(name), sum(name)) + magic
    return head + body + tail


def test_a_journal_makes_sqlite_delete_nothing(place: Place, honest: bytes, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("somebody else's")
    place.archive.write_bytes(honest)
    database = zipfile.ZipFile(place.archive).read("data.db")
    # that it is a trap at all: SQLite itself falls into it
    (tmp_path / "data.db").write_bytes(database)
    (tmp_path / "data.db-journal").write_bytes(trap(database, victim))
    with sqlite3.connect(tmp_path / "data.db") as opened:
        opened.execute("SELECT count(*) FROM sqlite_master").fetchone()
    opened.close()
    assert not victim.exists()
    victim.write_text("somebody else's")
    entries = [("data.db-journal", 0, b"", trap(database, victim))]
    brought = packed(tmp_path, honest, entries)
    assert place.unpack(brought) is None
    place.archive.write_bytes(brought)
    with pytest.raises(ArchiveRefused, match="names another file"):
        asyncio.run(verify_archive(place.archive, LIMITS))
    assert victim.read_text() == "somebody else's"


def test_nothing_within_is_opened_up_again(place: Place, honest: bytes, tmp_path: Path) -> None:
    nested = honest
    for _ in range(3):
        nested = packed(tmp_path, honest, [("storage/inner.zip", 0, b"", nested)])
    opened = place.unpack(nested)
    assert opened is not None
    assert sorted(path.name for path in (opened.folder / "pb_data/storage").iterdir())[-1] == "inner.zip"


def test_what_it_says_of_itself_is_a_hint_and_no_more(place: Place, honest: bytes) -> None:
    lies: list[object] = [
        {"pocketfleet": 1, "release": "9" * 5000},
        {"pocketfleet": 1, "release": ["x"]},
        {"pocketfleet": []},
        [],
    ]
    for said in lies:
        opened = place.unpack(with_comment(honest, json.dumps(said).encode()))
        assert opened is not None
        assert opened.release == ""
