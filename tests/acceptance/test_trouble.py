"""A port taken, a home that cannot be used, a full disk: a clear error that names the next step, nothing lost."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.pocketbases import NEWEST
from tests.server import Server, make_notes, running, until


def refused(server: Server, *words: str) -> str:
    """What `serve` says when it must not run; requires that it ends by itself, plainly, and leaves nothing."""
    done = server.cli("serve", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "Traceback" not in said
    for word in words:
        assert word in said, said
    assert server.leftovers() == []
    return said


@pytest.fixture
def stopped(home: Path) -> Iterator[Server]:
    """A server that was never started."""
    server = Server(home)
    yield server
    server.clean()


def test_a_port_taken(stopped: Server) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", stopped.port))
        other.listen()
        refused(stopped, str(stopped.port), "POCKETFLEET_PORT")
    # the next run is still the first one, with an instance of the newcomer's own
    assert not (stopped.home / "control.sqlite3").exists()
    assert not (stopped.home / "operator.json").exists()


def test_a_home_that_is_a_file(stopped: Server) -> None:
    stopped.home.rmdir()
    stopped.home.write_text("not a folder")
    refused(stopped, str(stopped.home), "POCKETFLEET_HOME")
    assert stopped.home.read_text() == "not a folder"
    stopped.home.unlink()


def test_a_wrong_setting(stopped: Server) -> None:
    stopped.environment["POCKETFLEET_IDLE_TIMEOUT"] = "soon"
    done = stopped.cli("serve", check=False)
    assert done.returncode in (1, 2)
    assert "POCKETFLEET_IDLE_TIMEOUT" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_haproxy_that_is_not_there(stopped: Server) -> None:
    stopped.environment["POCKETFLEET_HAPROXY"] = "/nonexistent/haproxy"
    refused(stopped, "/nonexistent/haproxy", "POCKETFLEET_HAPROXY")


def test_a_database_that_is_none(stopped: Server) -> None:
    (stopped.home / "control.sqlite3").write_bytes(b"this is not a database" * 100)
    refused(stopped, "database")
    assert (stopped.home / "control.sqlite3").read_bytes() == b"this is not a database" * 100


@contextlib.contextmanager
def disk(megabytes: int) -> Iterator[Path]:
    """A small disk of its own."""
    place = Path(tempfile.mkdtemp(prefix="pf-", dir="/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "none", str(place)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        place.rmdir()
        pytest.skip("SKIPPED LOUDLY: mounting a small disk needs root; the journey through a full disk did not run")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
        place.rmdir()


def fill(place: Path) -> Path:
    """A file that takes all that is left."""
    path = place / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65536))
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x")
    assert os.statvfs(place).f_bavail == 0
    return path


def test_a_full_disk_loses_nothing() -> None:
    with disk(100) as place:
        server = Server(place / "h")
        try:
            server.home.mkdir()
            server.start()
            _through_a_full_disk(server, place)
        finally:
            server.clean()


def _through_a_full_disk(server: Server, place: Path) -> None:
    server.create("kept")
    server.create("other")
    with server.client("kept") as client, server.client("other") as other:
        make_notes(client, NEWEST)
        assert client.post("/api/collections/notes/records", json={"text": "before"}).status_code == 200
        filler = fill(place)
        try:
            # PocketBase's own answer to a write is 400 (FACTS.md); a read is still a read
            assert client.get("/api/collections/notes/records").status_code == 200
            created = server.api.post("/instances", json={"name": "toomuch"})
            _refused_for_want_of_room(server, created)
            status = other.get("/api/health").status_code
            assert status in (200, 503)
        finally:
            filler.unlink()
        if status == 503:
            # written down as soon as there is room for it
            server.reaches("other", "failing", 10)
            reason = server.show("other")["reason"]
            assert "full" in reason or "space" in reason, reason
        assert client.get("/api/collections/notes/records").json()["items"][0]["text"] == "before"
        server.cli("power", "other", "on")
        until(lambda: other.get("/api/health").status_code == 200, 30, "the other one to wake again")
        server.create("after")
        assert client.post("/api/collections/notes/records", json={"text": "after"}).status_code == 200
        server.cli("sleep", "kept")
        texts = {item["text"] for item in client.get("/api/collections/notes/records").json()["items"]}
        assert texts == {"before", "after"}


def _refused_for_want_of_room(server: Server, created: httpx.Response) -> None:
    """Creating on a full disk fails plainly: at once, or as an operation that is undone; never by a crash."""
    if created.status_code == 202:
        operation = created.json()["operation"]["id"]
        state: dict[str, object] = {}

        def ended() -> bool:
            answer = server.api.get(f"/operations/{operation}")
            state.update(answer.json() if answer.status_code == 200 else {})
            return state.get("state") not in ("pending", "running")

        until(ended, 30, f"the create to end: {state}")
        assert state["state"] in ("failed", "succeeded"), state
        if state["state"] == "failed":
            assert "detail" in str(state["error"]), state
    else:
        assert created.status_code in (500, 503, 507), created.text
        problem = created.json()
        assert problem["detail"], problem
        assert "disk" in created.text or "space" in created.text, created.text


def test_serve_on_a_full_disk_says_so_and_works_once_there_is_room() -> None:
    with disk(60) as place:
        server = Server(place / "h")
        server.home.mkdir()
        filler = fill(place)
        try:
            said = refused(server)
            assert "space" in said or "full" in said or "disk" in said.lower(), said
            filler.unlink()
            server.start()
        finally:
            server.clean()


def test_a_data_directory_that_cannot_be_written() -> None:
    with disk(1), running() as server:
        made = server.create("readonly")
        with server.client("readonly") as client:
            make_notes(client, NEWEST)
            server.cli("sleep", "readonly")
            folder = server.folder(made["id"]) / "pb_data"
            subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
            subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
            try:
                assert client.get("/api/health").status_code == 503
                server.reaches("readonly", "failing", 10)
                reason = server.show("readonly")["reason"].lower()
                assert "readonly" in reason or "read-only" in reason or "cannot be written" in reason, reason
            finally:
                subprocess.run(["umount", "-l", str(folder)], check=True)
            server.cli("power", "readonly", "on")
            assert client.get("/api/collections/notes/records").status_code == 200
