"""PocketBase without us: the same executable on a copy of the same data, started by nothing but an exec."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.ports import free_port
from tests.server import Server

from bench.client import first_ok

#: Folders of an instance, by the flag that names them.
FLAGS = {
    "--dir": "pb_data",
    "--hooksDir": "pb_hooks",
    "--migrationsDir": "pb_migrations",
    "--publicDir": "pb_public",
}


class Bare:
    """One PocketBase on a folder of its own."""

    def __init__(self, executable: Path, folder: Path, host: str = "127.0.0.1") -> None:
        self.executable = executable
        self.folder = folder
        self.address = (host, free_port(host))
        self.pid = 0

    def make_superuser(self, email: str, password: str) -> None:
        """By PocketBase's own command, on data at rest; makes the data too where there is none."""
        command = [str(self.executable), "superuser", "upsert", email, password, f"--dir={self.folder / 'pb_data'}"]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        """Exec it; its output goes to a file, as with us."""
        flags = [f"{flag}={self.folder / name}" for flag, name in FLAGS.items()]
        output = os.open(self.folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.pid = os.posix_spawn(
                self.executable,
                [str(self.executable), "serve", f"--http={self.address[0]}:{self.address[1]}", *flags],
                {"HOME": str(self.folder)},
                file_actions=[(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)],
                setsid=True,
            )
        finally:
            os.close(output)

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        if self.pid:
            os.kill(self.pid, signal.SIGTERM)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def wake(self) -> float:
        """Milliseconds from the exec to the first 200."""
        began = time.perf_counter()
        self.start()
        first_ok(self.address, "bare.localhost")
        return (time.perf_counter() - began) * 1000

    @contextlib.contextmanager
    def running(self) -> Iterator[Bare]:
        """Awake for a while."""
        self.wake()
        try:
            yield self
        finally:
            self.stop()


@contextlib.contextmanager
def outside(server: Server) -> Iterator[Outside]:
    """A folder beside the server's home for bare ones, removed with everything in it afterwards."""
    place = Outside(server, server.home.with_name(server.home.name + "-bare"))
    try:
        yield place
    finally:
        for bare in place.made:
            bare.stop()
        shutil.rmtree(place.folder, ignore_errors=True)


class Outside:
    """Makes bare ones out of the instances of a server."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.made: list[Bare] = []

    def like(self, name: str) -> Bare:
        """One on a copy of the data of this sleeping instance, with the very executable that it runs."""
        instance = self.server.show(name)
        copy(self.server.home / "instances" / instance["id"], self.folder / name)
        executable = self.server.home / "releases" / instance["release"] / "pocketbase"
        bare = Bare(executable, self.folder / name)
        self.made.append(bare)
        return bare


def copy(source: Path, target: Path) -> None:
    """Copy an instance's folder that is at rest over another."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def write_log_rows(folder: Path, rows: int) -> None:
    """Fill the request log of an instance at rest, in PocketBase's own form, with rows of the last four days."""
    database = sqlite3.connect(folder / "pb_data" / "auxiliary.db")
    data = (
        '{"auth":"","execTime":0.157124,"method":"GET","referer":"","remoteIP":"127.0.0.1","status":200,'
        '"type":"request","url":"/api/collections/notes/records?page=%d","userAgent":"curl/7.88.1",'
        '"userIP":"203.0.113.7"}'
    )
    with database:
        database.execute(
            "INSERT INTO _logs (id, level, message, data, created) "
            "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?) "
            "SELECT 'r' || lower(hex(randomblob(7))), 0, 'GET /api/collections/notes/records', printf(?, value), "
            "strftime('%Y-%m-%d %H:%M:%fZ', 'now', printf('-%f seconds', value * 345600.0 / ?)) FROM n",
            (rows, data, rows),
        )
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
