"""What must be there of an instance: every write that was acknowledged, unless its owner chose to go behind it."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.load import Write


@dataclass(frozen=True, slots=True)
class Copy:
    """A backup or a snapshot: it has every write that was answered before it was asked for."""

    id: str
    asked: float


@dataclass(frozen=True, slots=True)
class Return:
    """The instance went back to a copy; what was written between the copy and this moment may be gone from it."""

    since: float
    until: float

    def may_have_lost(self, write: Write) -> bool:
        """Whether it was written, or under way, in that time."""
        return write.answered >= self.since and write.asked <= self.until


@dataclass(slots=True)
class Book:
    """One instance's."""

    backups: list[Copy] = field(default_factory=list)
    snapshots: list[Copy] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)

    def must_be_there(self, writes: Iterable[Write]) -> list[str]:
        """Their texts."""
        return [write.text for write in writes if not any(each.may_have_lost(write) for each in self.returns)]

    def troubles(self, writes: Sequence[Write], there: Sequence[str]) -> list[str]:
        """What is missing, and what is there more often than it was written."""
        found = Counter(there)
        lost = [text for text in self.must_be_there(writes) if not found[text]]
        twice = [write.text for write in writes if found[write.text] > 1]
        return [*(f"lost: {text}" for text in lost), *(f"written twice: {text}" for text in twice)]


def texts_in(data: Path) -> set[str]:
    """The notes in a folder of a PocketBase that does not run, read from a copy: nothing in it is touched."""
    with tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp") as folder:
        for path in data.glob("data.db*"):
            shutil.copyfile(path, Path(folder) / path.name)
        with closing(sqlite3.connect(Path(folder) / "data.db")) as database:
            return {str(text) for (text,) in database.execute("SELECT text FROM notes")}


def damage_in(data: Path) -> list[str]:
    """What SQLite finds wrong with a sleeping instance's database, again in a copy."""
    with tempfile.TemporaryDirectory(prefix="pf-", dir="/tmp") as folder:
        for path in data.glob("data.db*"):
            shutil.copyfile(path, Path(folder) / path.name)
        try:
            with closing(sqlite3.connect(Path(folder) / "data.db")) as database:
                return [str(text) for (text,) in database.execute("PRAGMA integrity_check") if text != "ok"]
        except sqlite3.DatabaseError as error:
            return [str(error)]


def not_kept(texts: Collection[str], *copies: Path) -> list[str]:
    """Those of them that are in none of these folders."""
    kept: set[str] = set().union(*(texts_in(copy) for copy in copies if (copy / "data.db").exists()))
    return [text for text in texts if text not in kept]
