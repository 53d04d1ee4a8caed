"""Reading a live database whose owner has lost its locks must not empty the owner's shared memory."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime import live_locks
from pocketfleet.runtime.databases import reading

#: Opens a database for good, and loses its locks as PocketBase does in its own backup: by reading the files.
_OWNER = """
import sqlite3, sys
opened = sqlite3.connect(sys.argv[1], isolation_level=None)
opened.execute("PRAGMA journal_mode = WAL")
opened.execute("CREATE TABLE notes (word)")
opened.executemany("INSERT INTO notes VALUES (?)", [(str(number),) for number in range(50)])
opened.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
for side in ("", "-wal", "-shm"):
    open(sys.argv[1] + side, "rb").read()
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def owned(path: Path) -> Iterator[None]:
    """A database that another process has open, without its locks."""
    with subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        assert owner.stdout.readline() == b"ready\n"
        yield
        owner.stdin.close()


def moved_back(path: Path) -> int:
    """How many frames the shared memory says were moved into the database; 0 again once it was emptied."""
    raw = path.with_name(f"{path.name}-shm").read_bytes()
    answer: int = struct.unpack("=L", raw[96:100])[0]
    return answer


def _count(opened: sqlite3.Connection) -> int:
    answer: int = opened.execute("SELECT count(*) FROM notes").fetchone()[0]
    return answer


def _plainly(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as opened:
        return _count(opened)


def _under_the_lock(path: Path) -> int:
    with reading(path, live=True) as opened:
        return _count(opened)


@pytest.mark.parametrize("read, kept", [(_plainly, False), (_under_the_lock, True)])
def test_the_owners_memory_is_left_alone(tmp_path: Path, read: Callable[[Path], int], kept: bool) -> None:
    """Plainly it is emptied, by `mode=ro`: should SQLite ever mend that, this says so."""
    path = tmp_path / "data.db"
    with owned(path):
        assert moved_back(path) > 0
        assert read(path) == 50
        assert (moved_back(path) > 0) == kept


def test_readers_side_by_side_share_one_lock(tmp_path: Path) -> None:
    path = tmp_path / "data.db"
    with owned(path):
        with reading(path, live=True) as first:
            assert _count(first) == 50
            threads = [threading.Thread(target=_under_the_lock, args=(path,)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(live_locks._held) == 1
            assert _count(first) == 50
        assert not live_locks._held
        assert moved_back(path) > 0


def test_where_nobody_has_it_open_nothing_is_needed(tmp_path: Path) -> None:
    with live_locks.in_use(tmp_path / "data.db"):
        assert not live_locks._held


def test_a_trap_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.db-shm").symlink_to("/etc/hostname")
    with pytest.raises(SnapshotUnusable), live_locks.in_use(tmp_path / "data.db"):
        pass
    (tmp_path / "data.db-shm").unlink()
    (tmp_path / "data.db-shm").mkdir()
    with pytest.raises(SnapshotUnusable), live_locks.in_use(tmp_path / "data.db"):
        pass
    assert not live_locks._held
