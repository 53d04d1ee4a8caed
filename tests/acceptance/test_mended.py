"""The manual way, with real releases: old hooks, mended on one's own machine, brought back by one guided path."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.pocketbases import executable
from tests.ports import free_port
from tests.server import Server, until
from tests.shops import NEW, OLD, Shop

#: A rehearsal is three starts and hundreds of requests, of which a busy machine makes minutes.
pytestmark = pytest.mark.timeout(600)

#: The sandbox of a rehearsal holds the executable alone, so it must not be a script that calls another one.
SETTINGS = {"versions": (OLD, NEW), "counted": False}
OLD_HOOK = """onRecordBeforeCreateRequest((e) => e.record.set("text", e.record.get("text") + "!"), "notes")
"""
NEW_HOOK = """onRecordCreateRequest((e) => {
  e.record.set("text", e.record.get("text") + "!")
  e.next()
}, "notes")
"""


def mended(source: Path, folder: Path) -> Path:
    """Unpacked, its hook rewritten, and run by the new release until it answers."""
    with zipfile.ZipFile(source) as packed:
        packed.extractall(folder)
    extras = folder / "pocketfleet"
    (extras / "pb_hooks" / "main.pb.js").write_text(NEW_HOOK)
    address = f"127.0.0.1:{free_port()}"
    flags = [f"--dir={folder}", f"--hooksDir={extras}/pb_hooks", f"--migrationsDir={extras}/pb_migrations"]
    command = [str(executable(NEW)), "serve", "--http", address, *flags, "--hooksWatch=false"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: answers(address), 60, "the mended data to answer")
    finally:
        process.terminate()
        process.wait(20)
    return packed_again(folder, folder.with_suffix(".zip"))


def answers(address: str) -> bool:
    """Whether PocketBase is there."""
    try:
        return httpx.get(f"http://{address}/api/health", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def packed_again(folder: Path, target: Path) -> Path:
    """As `zip -r` does it."""
    with zipfile.ZipFile(target, "w") as packed:
        for path in sorted(folder.rglob("*")):
            packed.write(path, path.relative_to(folder))
    return target


def restored(server: Server, name: str, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `restore`."""
    done = server.cli("restore", name, *words, "--json", check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_old_hooks_are_mended_elsewhere_and_brought_back(server: Server, tmp_path: Path) -> None:
    shop = Shop(server, "mended")
    server.put(shop.id, "pb_hooks/main.pb.js", OLD_HOOK)
    server.cli("sleep", shop.name)
    before = shop.records()
    # 1 stop it, 2 what is in the way, 3 take it: each step names the next
    server.cli("power", shop.name, "off")
    told = server.cli("upgrade", shop.name, NEW, "--rehearse").stdout
    assert "onRecordCreateRequest" in told
    name = json.loads(server.cli("backup", shop.name, "--full", "--json").stdout)["result"]["name"]
    taken = server.cli("download", shop.name, name, str(tmp_path))
    assert f"pocketfleet restore {shop.name} FILE" in taken.stderr
    # 4 mended on one's own machine, once with a collection lost on the way
    good = mended(tmp_path / name, tmp_path / "good")
    lost = tmp_path / "good"
    with closing(sqlite3.connect(lost / "data.db")) as database:
        database.execute("DROP TABLE notes")
        database.execute("DELETE FROM _collections WHERE name = 'notes'")
        database.commit()
    code, operation = restored(server, shop.name, str(packed_again(lost, tmp_path / "lost.zip")))
    assert (code, operation["state"], operation["verdict"]) == (3, "asking", "changed"), json.dumps(operation)
    assert "The collection notes is not in it, and 3 records with it." in operation["reasons"]
    assert shop.records() == before
    # 5 brought back: rehearsed, read, accepted
    done = server.cli("restore", shop.name, str(good), "--rehearse")
    assert "What is brought, beside what is there now" in done.stdout
    assert "must sign in again" in done.stdout
    assert f"pocketfleet restore {shop.name} {good} --accept-changes" in done.stdout
    assert "does not load" not in done.stdout
    assert shop.records() == before
    code, operation = restored(server, shop.name, str(good), "--accept-changes")
    assert (code, operation["state"], operation["from"], operation["to"]) == (0, "succeeded", OLD, NEW), operation
    assert operation["result"]["off"] is True
    server.cli("power", shop.name, "on")
    assert shop.records() == before
    shop.works_on(NEW)
    with server.client(shop.name) as client:
        made = client.post("/api/collections/notes/records", json={"text": "checked"})
        assert made.json()["text"] == "checked!"
    reports = json.loads(server.cli("report", shop.name, "--list", "--json").stdout)
    assert [one["kind"] for one in reports] == ["restore", "restore", "restore", "upgrade"]


def test_without_a_rehearsal_there_is_no_report(server: Server) -> None:
    server.create("fresh", NEW)
    done = server.cli("report", "fresh", "--json", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert json.loads(done.stderr)["code"] == "rehearsal_not_found"
