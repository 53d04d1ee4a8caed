"""Changing releases as an owner does: rehearsed, asked, switched under load, put back, watched, and followed."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
import subprocess
import threading
import zipfile
from typing import Any

import pytest

from tests.load import nothing_fails, texts
from tests.pocketbases import JOURNEY_VERSIONS
from tests.server import Server, make_notes, superuser_token, until

#: A rehearsal is three starts and hundreds of requests, of which a busy machine makes minutes.
pytestmark = pytest.mark.timeout(600)

#: The sandbox of a rehearsal holds the executable alone, so it must not be a script that calls another one.
SETTINGS = {"versions": JOURNEY_VERSIONS, "counted": False}
OLD, NEW = JOURNEY_VERSIONS[0], JOURNEY_VERSIONS[-1]
BETWEEN = JOURNEY_VERSIONS[1:-1]
#: by instance: its notes before it moved
BEFORE: dict[str, list[Any]] = {}


def make_shop(server: Server, name: str, version: str = OLD, notes: int = 3) -> str:
    """An instance with a public collection `notes`; answers its id."""
    instance_id = str(server.create(name, version)["id"])
    with server.client(name) as client:
        make_notes(client, version)
        for number in range(notes):
            assert client.post("/api/collections/notes/records", json={"text": f"first {number}"}).status_code == 200
    return instance_id


def notes_of(server: Server, instance_id: str) -> list[Any]:
    """All notes, to the last value."""
    path = server.folder(instance_id) / "pb_data" / "data.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute("SELECT id, created, updated, text FROM notes ORDER BY id").fetchall()


def upgraded(server: Server, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `upgrade`."""
    done = server.cli("upgrade", *words, "--json", check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def shop(server: Server) -> str:
    """The instance that goes the whole way."""
    make_shop(server, "shop")
    return "shop"


def test_what_would_change_is_told_first_and_nothing_is_touched(server: Server, shop: str) -> None:
    code, operation = upgraded(server, shop, "~0.40.0")
    assert (code, operation["state"]) == (3, "asking")
    assert (operation["from"], operation["to"], operation["verdict"]) == (OLD, NEW, "changed")
    assert operation["reasons"]
    assert operation["held_ms"] is None
    assert [step["name"] for step in operation["steps"]] == ["resolve", "snapshot", "rehearse", "decide"]
    assert server.show(shop)["release"] == OLD
    assert server.show(shop)["range"] == OLD
    assert len(texts(server, shop)) == 3
    shown = server.cli("report", shop).stdout
    assert "Verdict: changed" in shown
    assert operation["reasons"][0].splitlines()[0] in shown
    whole = server.api.get(f"/rehearsals/{operation['result']['rehearsal']}").json()
    assert (whole["from"], whole["to"], whole["report"]["version"]) == (OLD, NEW, 1)


def test_accepted_it_switches_under_load_and_no_request_fails(server: Server, shop: str) -> None:
    with nothing_fails(server, shop, clients=3) as load:
        code, operation = upgraded(server, shop, "~0.40.0", "--accept-changes")
        until(lambda: load.requests > 50, 20, "requests after the switch")
    assert (code, operation["state"]) == (0, "succeeded"), operation
    assert 0 < operation["held_ms"] < 30_000
    row = server.show(shop)
    assert (row["release"], row["range"]) == (NEW, "~0.40.0")
    with server.client(shop) as client:
        assert superuser_token(client, NEW)
    assert len(texts(server, shop)) == 3 + len(load.acknowledged(shop))


def test_a_range_that_holds_data_names_the_way(server: Server, shop: str) -> None:
    done = server.cli("settings", shop, "range=~0.36.0", check=False)
    assert done.returncode == 1
    assert f"pocketfleet upgrade {shop} '~0.36.0'" in done.stderr


def test_going_back_says_what_is_lost_and_then_does_it(server: Server, shop: str) -> None:
    written = len(texts(server, shop)) - 3
    asked = server.cli("rollback", shop, "--export", "--json", check=False)
    operation = json.loads(asked.stdout)
    assert (asked.returncode, operation["state"]) == (3, "asking"), asked.stderr
    assert (operation["from"], operation["to"]) == (NEW, OLD)
    lost = operation["result"]["lost"]["records"]["notes"]
    assert 0 < lost["created"] <= written
    assert len(lost["created_ids"]) == lost["created"]
    assert server.show(shop)["release"] == NEW

    answer = server.api.get(f"/instances/{shop}/backups/{operation['result']['export']}/file")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        exported = json.loads(archive.read("records/notes.json"))
    assert sorted(record["id"] for record in exported["created"]) == lost["created_ids"]
    assert all(record["text"] for record in exported["created"])

    done = server.cli("rollback", shop, "--accept-loss")
    assert f"back on PocketBase {OLD}" in done.stdout
    row = server.show(shop)
    assert (row["release"], row["range"]) == (OLD, OLD)
    assert len(texts(server, shop)) == 3 + written - lost["created"]
    with server.client(shop) as client:
        assert superuser_token(client, OLD)


@pytest.fixture(scope="module")
def moved(server: Server) -> dict[str, tuple[str, subprocess.CompletedProcess[str]]]:
    """By release: an instance that went there from 0.22.27 directly, side by side with the others, and how it went."""
    names = {version: f"to-{version.replace('.', '-')}" for version in BETWEEN}
    for name in names.values():
        BEFORE[name] = notes_of(server, make_shop(server, name))
    went: dict[str, tuple[str, subprocess.CompletedProcess[str]]] = {}

    def move(version: str) -> None:
        done = server.cli("upgrade", names[version], version, "--accept-changes", "--json", check=False)
        went[version] = names[version], done

    threads = [threading.Thread(target=move, args=[version]) for version in BETWEEN]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    return went


@pytest.mark.parametrize("version", BETWEEN)
def test_directly_to(
    server: Server, moved: dict[str, tuple[str, subprocess.CompletedProcess[str]]], version: str
) -> None:
    name, done = moved[version]
    assert done.returncode == 0, done.stdout + done.stderr
    operation = json.loads(done.stdout)
    assert (operation["from"], operation["to"], operation["state"]) == (OLD, version, "succeeded")
    assert operation["verdict"] in ("safe", "changed")
    row = server.show(name)
    assert row["release"] == version
    assert notes_of(server, row["id"]) == BEFORE[name]
    with server.client(name) as client:
        assert superuser_token(client, version)


def test_a_switch_that_does_not_verify_is_put_back_under_load(server: Server) -> None:
    make_shop(server, "unlucky", "0.36.9")
    server.cli("probes", "unlucky", "add", "GET", "/api/health", "--status", "418", "--safe")
    with nothing_fails(server, "unlucky", clients=2) as load:
        code, operation = upgraded(server, "unlucky", NEW, "--accept-changes")
    assert (code, operation["state"]) == (4, "rolled_back"), operation
    assert operation["error"]["code"] == "verification_failed"
    assert 0 < operation["held_ms"] < 30_000
    row = server.show("unlucky")
    assert (row["release"], row["range"], row["state"]) == ("0.36.9", "0.36.9", "awake")
    assert len(texts(server, "unlucky")) == 3 + len(load.acknowledged("unlucky"))


def break_release(server: Server, version: str) -> None:
    """The executable that pocketfleet keeps of it ends at once, as one that cannot stand the data would."""
    path = server.home / "releases" / version / "pocketbase"
    path.unlink()
    path.write_text("#!/bin/sh\necho 'panic: something is wrong'\nexit 2\n")
    path.chmod(0o755)


def starts_to_die(server: Server, name: str, version: str) -> None:
    """The release that it was upgraded to cannot be started any more, and somebody asks for it."""
    server.cli("sleep", name)
    break_release(server, version)
    with server.client(name) as client:
        assert client.get("/api/health").status_code == 503


def rollback_of(server: Server, name: str) -> list[dict[str, Any]]:
    """What was done to go back, the newest first."""
    found = server.api.get(f"/instances/{name}/operations").json()["items"]
    return [item for item in found if item["kind"] == "rollback" and item["finished_at"]]


def test_a_release_that_starts_to_die_goes_back_by_itself(
    server: Server, moved: dict[str, tuple[str, subprocess.CompletedProcess[str]]]
) -> None:
    name = moved["0.30.4"][0]
    starts_to_die(server, name, "0.30.4")
    until(lambda: bool(rollback_of(server, name)), 120, "going back")
    (operation,) = rollback_of(server, name)
    assert (operation["state"], operation["actor"]) == ("succeeded", "pocketfleet"), operation
    assert server.show(name)["release"] == OLD
    assert len(texts(server, name)) == 3


def test_it_asks_where_that_would_lose_something(
    server: Server, moved: dict[str, tuple[str, subprocess.CompletedProcess[str]]]
) -> None:
    name = moved["0.23.12"][0]
    with server.client(name) as client:
        assert client.post("/api/collections/notes/records", json={"text": "since"}).status_code == 200
    starts_to_die(server, name, "0.23.12")
    until(lambda: bool(rollback_of(server, name)), 120, "asking")
    (operation,) = rollback_of(server, name)
    assert operation["state"] == "asking"
    assert operation["result"]["lost"]["records"]["notes"]["created"] == 1
    assert server.show(name)["release"] == "0.23.12"


def test_it_asks_where_a_collection_was_made_since(
    server: Server, moved: dict[str, tuple[str, subprocess.CompletedProcess[str]]]
) -> None:
    name = moved["0.36.9"][0]
    with server.client(name) as client:
        superuser = {"authorization": superuser_token(client, "0.36.9")}
        mine = {"name": "mine", "type": "base", "fields": [{"name": "text", "type": "text"}]}
        assert client.post("/api/collections", json=mine, headers=superuser).status_code == 200
    starts_to_die(server, name, "0.36.9")
    until(lambda: bool(rollback_of(server, name)), 120, "asking")
    (operation,) = rollback_of(server, name)
    assert operation["state"] == "asking"
    assert "mine" in operation["result"]["lost"]["schema"]
    assert server.show(name)["release"] == "0.36.9"
