"""Each age of PocketBase: created, claimed, woken, written to, slept, killed and read back."""

from __future__ import annotations

import httpx
import pytest

from tests import hooks
from tests.pocketbases import JOURNEY_VERSIONS
from tests.server import EMAIL, PASSWORD, Server, make_notes, superuser_token, until

SETTINGS = {"versions": JOURNEY_VERSIONS}
STRANGER = {"email": "stranger@example.org", "password": "0123456789abc", "passwordConfirm": "0123456789abc"}


def name_of(version: str) -> str:
    """The name of the instance that follows this version."""
    return f"shop-{version.replace('.', '-')}"


@pytest.fixture(scope="module", params=JOURNEY_VERSIONS)
def shop(request: pytest.FixtureRequest, server: Server) -> tuple[str, str, str]:
    """(version, name, id) of an instance that the command line made, with a tenant's files in its folders."""
    version = str(request.param)
    name = name_of(version)
    server.cli("create", name, "--version", version, "--email", EMAIL, "--password", PASSWORD)
    instance_id = str(server.show(name)["id"])
    server.put(instance_id, "pb_hooks/main.pb.js", hooks.HELLO)
    server.put(instance_id, "pb_migrations/1700000000_made.js", hooks.migration(version))
    server.put(instance_id, "pb_public/index.html", "<h1>shop</h1>")
    server.cli("secrets", name, "set", "GREETING=hello there")
    return version, name, instance_id


def test_nobody_can_claim_it_before_its_owner(server: Server, shop: tuple[str, str, str]) -> None:
    version, name, instance_id = shop
    assert server.show(name)["release"] == version
    with server.client(name) as client:
        before = version.startswith("0.22.")
        path = "/api/admins" if before else "/api/collections/_superusers/records"
        assert client.post(path, json=STRANGER).status_code in (400, 401, 403), "a stranger made a superuser"
        assert superuser_token(client, version)
    printed = "\n".join(line["text"] for line in server.log(instance_id))
    assert "pbinstal" not in printed, printed


def test_the_files_in_its_folders_and_its_secrets_are_used(server: Server, shop: tuple[str, str, str]) -> None:
    _, name, instance_id = shop
    with server.client(name) as client:
        assert client.get("/").text == "<h1>shop</h1>"
        said = client.get("/hello").json()
        assert (said["process"], said["os"]) == ("hello there", "hello there")
        assert not [word for word in said["names"] if word.startswith("POCKETFLEET_")], said["names"]
        assert client.get("/api/collections/made/records").status_code == 200
    assert (server.folder(instance_id) / "pb_data" / "data.db").exists()


def test_what_was_written_is_read_back_after_sleep_and_after_a_kill(server: Server, shop: tuple[str, str, str]) -> None:
    version, name, instance_id = shop
    with server.client(name) as client:
        make_notes(client, version)
        _write(client, "before the sleep")
        starts = server.starts(instance_id)

        server.cli("sleep", name)
        assert server.show(name)["state"] == "asleep"
        assert server.guest_pids(instance_id) == []
        assert _texts(client) == ["before the sleep"]
        assert server.starts(instance_id) == starts + 1

        _write(client, "before the kill")
        server.kill_guest(instance_id)
        assert _texts(client) == ["before the kill", "before the sleep"], "a stale route did not become a wake"
        assert server.starts(instance_id) == starts + 2
        assert superuser_token(client, version)


def test_its_log_tells_what_happened(server: Server, shop: tuple[str, str, str]) -> None:
    _, name, instance_id = shop

    def told() -> bool:
        said = "\n".join(line["text"] for line in server.log(instance_id)).lower()
        return all(word in said for word in ("server started", "woken", "slept", "died"))

    until(told, 10, f"woken, slept and died in the log of {name}: {server.log(instance_id)}")
    assert all(line["at"] and line["stream"] for line in server.log(instance_id))


def _write(client: httpx.Client, text: str) -> None:
    answer = client.post("/api/collections/notes/records", json={"text": text})
    assert answer.status_code == 200, answer.text


def _texts(client: httpx.Client) -> list[str]:
    answer = client.get("/api/collections/notes/records", params={"sort": "text"})
    assert answer.status_code == 200, answer.text
    return [item["text"] for item in answer.json()["items"]]
