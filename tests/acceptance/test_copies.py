"""Snapshots, backups, restores, clones and imports, as their owner does it from the command line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.pocketbases import executable
from tests.ports import free_port
from tests.server import EMAIL, PASSWORD, Server, until

SETTINGS = {"versions": ("0.22.27", "0.36.9", "0.40.6"), "upload_bytes": 300_000_000}


@contextlib.contextmanager
def owner(server: Server, name: str, version: str) -> Iterator[httpx.Client]:
    """A client of the instance, signed in as its superuser."""
    people = "admins" if version.startswith("0.22") else "collections/_superusers"
    with server.client(name) as client:
        answer = client.post(f"/api/{people}/auth-with-password", json={"identity": EMAIL, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["authorization"] = answer.json()["token"]
        yield client


def make_posts(client: httpx.Client, version: str) -> None:
    """A collection that anybody may read."""
    fields = "schema" if version.startswith("0.22") else "fields"
    body = {"name": "posts", "type": "base", "listRule": "", "viewRule": "", "createRule": ""}
    made = client.post("/api/collections", json=body | {fields: [{"name": "title", "type": "text"}]})
    assert made.status_code == 200, made.text


def titles(server: Server, name: str) -> list[str]:
    """Of all posts, as anybody sees them."""
    with server.client(name) as client:
        found = client.get("/api/collections/posts/records", params={"perPage": 500, "sort": "title"})
    assert found.status_code == 200, found.text
    return [item["title"] for item in found.json()["items"]]


def done(server: Server, *words: str) -> Any:
    """The JSON of a command that succeeds."""
    return json.loads(server.cli(*words, "--json").stdout)


def test_a_backup_goes_away_and_comes_back(server: Server, tmp_path: Path) -> None:
    server.create("shop", "0.40.6")
    with owner(server, "shop", "0.40.6") as client:
        make_posts(client, "0.40.6")
        assert client.post("/api/collections/posts/records", json={"title": "one"}).status_code == 200
        made = done(server, "backup", "shop")["result"]
        taken = done(server, "download", "shop", made["name"], str(tmp_path))
        assert client.post("/api/collections/posts/records", json={"title": "two"}).status_code == 200
    assert zipfile.ZipFile(taken["file"]).testzip() is None
    assert server.cli("backups", "shop", "remove", made["name"]).returncode == 0
    restored = done(server, "restore", "shop", taken["file"], "--no-rehearsal")
    assert restored["state"] == "succeeded"
    assert titles(server, "shop") == ["one"]
    # and once more, to where it was
    assert server.cli("restore", "shop", restored["result"]["snapshot"]).returncode == 0
    assert titles(server, "shop") == ["one", "two"]
    kinds = [item["kind"] for item in done(server, "events", "shop")]
    assert kinds == ["restored", "restored"]


def test_nobody_notices_a_snapshot_a_backup_or_a_restore(server: Server) -> None:
    server.create("busy", "0.40.6")
    with owner(server, "busy", "0.40.6") as client:
        make_posts(client, "0.40.6")
    snapshot = done(server, "snapshot", "busy")["result"]["snapshot"]
    stopping = False
    wrong: list[str] = []

    def visit(number: int) -> int:
        count = 0
        with server.client("busy") as client:
            while not stopping:
                answer = client.post("/api/collections/posts/records", json={"title": f"{number} {count}"})
                listed = client.get("/api/collections/posts/records")
                wrong.extend(each.text for each in (answer, listed) if each.status_code != 200)
                count += 1
        return count

    with ThreadPoolExecutor(4) as visitors:
        counts = [visitors.submit(visit, number) for number in range(4)]
        server.cli("backup", "busy")
        server.cli("snapshot", "busy")
        restored = done(server, "restore", "busy", snapshot)["result"]
        time.sleep(0.5)
        stopping = True
        assert all(count.result() > 0 for count in counts)
    assert wrong == []
    assert 0 < restored["held_ms"] < 30_000


def test_a_zip_of_a_folder_somewhere_becomes_an_instance(server: Server, tmp_path: Path) -> None:
    """Of a PocketBase that is running there, with records that are not in its database file yet."""
    folder = tmp_path / "app"
    (folder / "pb_hooks").mkdir(parents=True)
    (folder / "pb_hooks" / "main.pb.js").write_text('routerAdd("GET", "/hello", (c) => c.string(200, "hello"))\n')
    address = f"127.0.0.1:{free_port()}"
    program = str(executable("0.22.27"))
    flags = [f"--dir={folder}/pb_data", f"--hooksDir={folder}/pb_hooks", f"--migrationsDir={folder}/pb_migrations"]
    subprocess.run([program, "migrate", "up", *flags], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([program, "admin", "create", EMAIL, PASSWORD, *flags], check=True, stdout=subprocess.DEVNULL)
    process = subprocess.Popen([program, "serve", "--http", address, *flags], stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
            until(lambda: listens(client), 20, "PocketBase")
            identity = {"identity": EMAIL, "password": PASSWORD}
            token = client.post("/api/admins/auth-with-password", json=identity).json()["token"]
            client.headers["authorization"] = token
            make_posts(client, "0.22.27")
            assert client.post("/api/collections/posts/records", json={"title": "one"}).status_code == 200
            made = done(server, "create", "mine", "--from", str(folder))
            assert client.post("/api/collections/posts/records", json={"title": "two"}).status_code == 200
    finally:
        process.terminate()
        process.wait(10)
    assert (made["release"], made["superuser_email"]) == ("0.22.27", EMAIL)
    assert titles(server, "mine") == ["one"]
    with server.client("mine") as client:
        assert client.get("/hello").text == "hello"
    with owner(server, "mine", "0.22.27") as client:
        assert client.get("/api/collections").status_code == 200


def listens(client: httpx.Client) -> bool:
    """Whether it answers."""
    try:
        return client.get("/api/health").status_code == 200
    except httpx.HTTPError:
        return False


def test_a_clone_writes_to_nobody(server: Server) -> None:
    server.create("original", "0.36.9")
    with owner(server, "original", "0.36.9") as client:
        make_posts(client, "0.36.9")
        assert client.post("/api/collections/posts/records", json={"title": "one"}).status_code == 200
        mail = {"smtp": {"enabled": True, "host": "mail.example.org", "port": 587}}
        assert client.patch("/api/settings", json=mail).status_code == 200
    made = done(server, "clone", "original", "staging")
    assert made["operation"]["result"]["switched_off"] == ["mail"]
    assert titles(server, "staging") == ["one"]
    with owner(server, "staging", "0.36.9") as client:
        assert client.get("/api/settings").json()["smtp"]["enabled"] is False


def test_several_hundred_megabytes_come_back_as_they_went(server: Server, tmp_path: Path) -> None:
    instance = server.create("large", "0.40.6")
    with owner(server, "large", "0.40.6") as client:
        make_posts(client, "0.40.6")
    server.cli("sleep", "large")
    storage = server.folder(instance["id"]) / "pb_data" / "storage" / "kept"
    storage.mkdir(parents=True)
    for number in range(4):
        (storage / f"{number}.bin").write_bytes(os.urandom(50_000_000))
    wanted = {path.name: path.read_bytes() for path in storage.iterdir()}
    made = done(server, "backup", "large")["result"]
    assert made["bytes"] > 200_000_000
    taken = done(server, "download", "large", made["name"], str(tmp_path))["file"]
    shutil.rmtree(storage)
    assert server.cli("restore", "large", taken, "--no-rehearsal").returncode == 0
    assert {path.name: path.read_bytes() for path in storage.iterdir()} == wanted
    assert list((server.home / "incoming").iterdir()) == []


def test_more_than_is_allowed_is_not_taken(server: Server, tmp_path: Path) -> None:
    server.create("small", "0.40.6")
    big = tmp_path / "big.zip"
    with big.open("wb") as opened:
        opened.truncate(300_000_001)
    refused = server.cli("restore", "small", str(big), check=False)
    assert refused.returncode == 1
    assert "300000000 bytes" in refused.stderr
    hostile = tmp_path / "hostile.zip"
    with zipfile.ZipFile(hostile, "w") as packed:
        packed.writestr("../../../outside", "x")
    refused = server.cli("restore", "small", str(hostile), check=False)
    assert refused.returncode != 0
    assert refused.stderr.startswith("✗ ")
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("victim", ["node", "control"])
def test_a_restore_outlives_our_own_death(server: Server, tmp_path: Path, victim: str) -> None:
    name = f"survivor-{victim}"
    server.create(name, "0.40.6")
    with owner(server, name, "0.40.6") as client:
        make_posts(client, "0.40.6")
        snapshot = done(server, "snapshot", name)["result"]["snapshot"]
        assert client.post("/api/collections/posts/records", json={"title": "later"}).status_code == 200
    operation = server.api.post(f"/instances/{name}/restore", json={"snapshot": snapshot}).json()["operation"]["id"]
    before = server.pid(victim)
    server.kill(victim)
    server.revived(victim, before)
    server.finished(operation)
    assert titles(server, name) == []


def test_a_backup_is_one_that_pocketbase_restores(server: Server, tmp_path: Path) -> None:
    instance = server.create("portable", "0.36.9")
    with owner(server, "portable", "0.36.9") as client:
        make_posts(client, "0.36.9")
        assert client.post("/api/collections/posts/records", json={"title": "one"}).status_code == 200
        made = done(server, "backup", "portable", "--full")["result"]
        assert client.post("/api/collections/posts/records", json={"title": "two"}).status_code == 200
        taken = Path(done(server, "download", "portable", made["name"], str(tmp_path))["file"])
        with taken.open("rb") as opened:
            sent = client.post("/api/backups/upload", files={"file": ("mine.zip", opened, "application/zip")})
        assert sent.status_code == 204, sent.text
        assert client.post("/api/backups/mine.zip/restore").status_code == 204
    until(lambda: titles(server, "portable") == ["one"], 30, "PocketBase's own restore")
    assert server.guest_pids(instance["id"])
    data = sqlite3.connect(f"file:{server.folder(instance['id'])}/pb_data/data.db?mode=ro", uri=True)
    assert data.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    data.close()


def test_the_clock_goes_without_a_complaint(server: Server) -> None:
    """Scheduled backups, mail and clearing away are looked at from the start on."""
    server.create("planned", "0.40.6")
    server.cli("settings", "planned", "backup=0 3 * * * Europe/Vienna keep=2 full", "snapshots=last=2")
    shown = server.show("planned")
    assert shown["backup_plan"] == {"cron": "0 3 * * *", "zone": "Europe/Vienna", "keep": 2, "full": True}
    assert shown["retention"] == {"last": 2, "daily": 0, "weekly": 0}
    assert server.cli("settings", "planned", "backup=0 3 * * * Mars/Base", check=False).returncode == 2
    log = (server.home / "logs" / "node.log").read_text()
    assert "trying again in" not in log, log
