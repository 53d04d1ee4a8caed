"""PocketBase's own restore, through the edge: as in plain PocketBase, and not stopped in the middle."""

from __future__ import annotations

import httpx
import pytest

from tests.server import EMAIL, PASSWORD, Server, until

VERSIONS = ("0.23.12", "0.40.6")
SETTINGS = {"versions": VERSIONS, "idle_timeout": 1}


def signed_in(client: httpx.Client) -> dict[str, str]:
    """The superuser's header."""
    owner = {"identity": EMAIL, "password": PASSWORD}
    answer = client.post("/api/collections/_superusers/auth-with-password", json=owner)
    assert answer.status_code == 200, answer.text
    return {"authorization": answer.json()["token"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_restore_through_its_own_admin(server: Server, version: str) -> None:
    name = "own-" + version.replace(".", "-")
    instance = server.create(name, version)
    with server.client(name) as client:
        client.headers.update(signed_in(client))
        made = {"name": "posts", "type": "base", "fields": [{"name": "title", "type": "text"}]}
        assert client.post("/api/collections", json=made).status_code == 200
        assert client.post("/api/collections/posts/records", json={"title": "one"}).status_code == 200
        assert client.post("/api/backups", json={"name": "one.zip"}).status_code == 204
        assert client.post("/api/collections/posts/records", json={"title": "two"}).status_code == 200
        pid = server.guest_pids(instance["id"])
        assert client.post("/api/backups/one.zip/restore").status_code == 204

        def restored() -> bool:
            # while it re-executes itself, the edge asks the gate, and the request waits: nobody sees an error
            found = client.get("/api/collections/posts/records")
            assert found.status_code == 200, found.text
            return [item["title"] for item in found.json()["items"]] == ["one"]

        until(restored, 30, "the restored data")
        assert server.guest_pids(instance["id"]) == pid
        noted = [line["text"] for line in server.log(name) if line["stream"] == "platform"]
        assert any("restores a backup" in line for line in noted)
    server.reaches(name, "asleep")


def test_it_does_not_fall_asleep_before_its_restore(server: Server) -> None:
    """The idle timeout is as long as PocketBase waits until it begins."""
    instance = server.create("patient", "0.40.6")
    with server.client("patient") as client:
        client.headers.update(signed_in(client))
        made = {"name": "posts", "type": "base", "fields": [{"name": "title", "type": "text"}]}
        assert client.post("/api/collections", json=made).status_code == 200
        assert client.post("/api/backups", json={"name": "one.zip"}).status_code == 204
        assert client.post("/api/collections/posts/records", json={"title": "two"}).status_code == 200
        assert client.post("/api/backups/one.zip/restore").status_code == 204
        sleep = server.api.post("/instances/patient/sleep").json()["operation"]["id"]
        server.finished(sleep)
        assert server.guest_pids(instance["id"]) == []
        assert client.get("/api/collections/posts/records").json()["totalItems"] == 0


def test_a_refused_restore_holds_nobody_up(server: Server) -> None:
    server.create("quick", "0.40.6")
    with server.client("quick") as client:
        assert client.post("/api/backups/one.zip/restore").status_code == 401
    server.finished(server.api.post("/instances/quick/sleep").json()["operation"]["id"])
    # what is waited for is noted, and a sleep that waits for a restore takes at least as long as that may take
    noted = [line["text"] for line in server.log("quick") if line["stream"] == "platform"]
    assert not any("restores a backup" in line for line in noted), noted
    assert any(line.startswith("slept:") for line in noted), noted
