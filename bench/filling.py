"""Instances with much data, made by fast means: rows by SQL at rest, files in PocketBase's own layout."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.server import Server, make_notes, superuser_token

#: Characters of each row's text, and bytes of each file.
ROW = 1000
FILE = 2000
PAPERS = {"name": "papers", "type": "base", "fields": [{"name": "file", "type": "file", "maxSelect": 1}]}


@dataclass(frozen=True, slots=True)
class Amount:
    """How much data an instance gets."""

    words: str
    megabytes: int
    files: int = 0

    @property
    def name(self) -> str:
        """As an instance's name."""
        return f"mb{self.megabytes}-files{self.files}"


#: What `make bench` measures, and what takes minutes and is measured when it is named.
SMALL = (Amount("1 MB", 1), Amount("100 MB", 100), Amount("1,000 files", 1, 1000))
GIGABYTE = Amount("1 GB", 1000)
MANY_FILES = Amount("50,000 files", 1, 50_000)


def filled(server: Server, amount: Amount, version: str) -> str:
    """A sleeping instance of this release with so much data; answers its name."""
    instance = server.create(amount.name, version)
    with server.client(amount.name) as client:
        make_notes(client, version)
        headers = {"authorization": superuser_token(client, version)}
        papers: dict[str, Any] = client.post("/api/collections", json=PAPERS, headers=headers).raise_for_status().json()
    server.cli("sleep", amount.name)
    server.reaches(amount.name, "asleep")
    folder = server.folder(instance["id"]) / "pb_data"
    _write_rows(folder, amount)
    for number in range(amount.files):
        place = folder / "storage" / papers["id"] / _id(number)
        place.mkdir(parents=True)
        (place / "paper.bin").write_bytes(os.urandom(FILE))
    os.sync()
    return amount.name


def _id(number: int) -> str:
    return f"r{number:014d}"


def _write_rows(folder: Path, amount: Amount) -> None:
    database = sqlite3.connect(folder / "data.db")
    with database:
        database.execute(
            "INSERT INTO notes (id, text) "
            "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?) "
            "SELECT printf('r%014d', value), hex(randomblob(?)) FROM n",
            (amount.megabytes * 1_000_000 // ROW, ROW // 2),
        )
        papers = ((_id(number), "paper.bin") for number in range(amount.files))
        database.executemany("INSERT INTO papers (id, file) VALUES (?, ?)", papers)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
