"""A rollback journal that a tenant or an archive brings: SQLite believes it, and may delete a file by what it says."""

from __future__ import annotations

import os
from pathlib import Path

#: What a journal ends with where it names a super-journal (sqlite.org/fileformat2.html, and `readSuperJournal`).
_MAGIC = bytes.fromhex("d9d505f920a163d7")
#: Length, checksum and magic, after the name.
_TAIL = 16


def names_a_file(database: Path) -> bool:
    """Whether the journal beside a database names another file.

    SQLite writes such a name where one transaction changes several databases. Whoever opens the database next plays
    the journal back and deletes the file of that name: any file at all, with the rights of who opens. PocketBase's
    transactions are about one database each, so no honest journal of its has one.
    """
    try:
        with database.with_name(f"{database.name}-journal").open("rb") as opened:
            if opened.seek(0, os.SEEK_END) < _TAIL:
                return False
            opened.seek(-len(_MAGIC), os.SEEK_END)
            return opened.read() == _MAGIC
    except FileNotFoundError:
        return False
