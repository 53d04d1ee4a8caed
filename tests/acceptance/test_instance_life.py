"""What people do to instances: create, rename, power, settings, secrets, range, delete; and what is refused."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests import hooks
from tests.pocketbases import NEWEST
from tests.server import EMAIL, PASSWORD, Server, make_notes, superuser_token, until

SETTINGS = {"versions": ("0.36.9", NEWEST)}

HOSTILE_NAMES: list[Any] = [
    "",
    " ",
    "a" * 64,
    "-shop",
    "shop-",
    "sh--op",
    "Shop",
    "admin",
    "sh.op",
    "sh/op",
    "sh op",
    "../../etc",
    "shöp",
    "xn--shp-sna",
    "shop\n",
    "shop\x00",
    "sh\u200bop",
    "abcdefghijklmno",
    "*",
    "%73hop",
    "shop';drop table instances;--",
    "$(reboot)",
    None,
    17,
    {"name": "shop"},
    ["shop"],
]


def names(server: Server) -> set[str]:
    """The names of all instances."""
    return {item["name"] for item in server.api.get("/instances", params={"limit": 200}).json()["items"]}


def health(client: httpx.Client) -> int:
    """The status of a request that wakes the instance."""
    return client.get("/api/health").status_code


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=repr)
def test_a_hostile_name_is_refused_and_leaves_nothing(server: Server, name: Any) -> None:
    before = names(server)
    answer = server.api.post("/instances", json={"name": name, "email": EMAIL, "password": PASSWORD})
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["detail"]
    assert names(server) == before


def test_a_new_instance_follows_the_newest_line_and_is_asleep(server: Server) -> None:
    answer = server.api.post("/instances", json={"name": "newest"})
    assert answer.status_code == 202, answer.text
    superuser = answer.json()["superuser"]
    operation = server.finished(answer.json()["operation"]["id"])
    assert operation["kind"] == "create"
    assert all(step["state"] == "done" for step in operation["steps"])
    shown = server.show("newest")
    assert (shown["range"], shown["release"], shown["state"]) == (f"~{NEWEST}", NEWEST, "asleep")
    assert shown["superuser_email"] == superuser["email"]
    assert server.guest_pids(shown["id"]) == []
    with server.client("newest") as client:
        assert superuser_token(client, NEWEST, superuser["email"], superuser["password"])


def test_a_given_password_is_never_said_again_and_lies_nowhere(server: Server) -> None:
    answer = server.api.post("/instances", json={"name": "quiet", "email": EMAIL, "password": PASSWORD})
    assert answer.json()["superuser"] == {"email": EMAIL, "password": None}
    operation = server.finished(answer.json()["operation"]["id"])
    assert PASSWORD not in str(operation)
    assert PASSWORD not in str(server.show("quiet"))
    with server.client("quiet") as client:
        superuser_token(client, NEWEST)
    found = [path for path in server.home.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert found == []


def test_a_name_is_given_once(server: Server) -> None:
    server.create("once")
    answer = server.api.post("/instances", json={"name": "once"})
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


def test_create_refuses_what_no_release_matches_and_says_which_are_near(server: Server) -> None:
    answer = server.api.post("/instances", json={"name": "far", "range": "~0.99.0"})
    assert (answer.status_code, answer.json()["code"]) == (422, "no_release_matches")
    assert NEWEST in answer.json()["near"]
    answer = server.api.post("/instances", json={"name": "far", "range": "one of these days"})
    assert (answer.status_code, answer.json()["code"]) == (422, "wrong_range")
    assert "far" not in names(server)


def test_a_range_is_resolved_before_anything_is_made(server: Server) -> None:
    for text, release in {"0.36.9": "0.36.9", "<0.40": "0.36.9", "latest": NEWEST, "*": NEWEST}.items():
        assert server.api.get("/ranges", params={"range": text}).json()["release"] == release, text
    refused = server.api.get("/ranges", params={"range": "0.23.x"})
    assert (refused.status_code, refused.json()["code"]) == (422, "no_release_matches")
    assert refused.json()["near"]


def test_the_release_of_an_instance_with_data_does_not_move(server: Server) -> None:
    server.create("pinned", "0.36.9")
    answer = server.api.patch("/instances/pinned", json={"range": NEWEST})
    assert (answer.status_code, answer.json()["code"]) == (409, "range_needs_upgrade")
    shown = server.show("pinned")
    assert (shown["range"], shown["release"]) == ("0.36.9", "0.36.9")


def test_rename_frees_the_old_name_at_once_and_keeps_the_permanent_host(server: Server) -> None:
    made = server.create("before")
    with server.client("before") as old, server.client("after") as new, server.client(made["id"]) as permanent:
        make_notes(old, NEWEST)
        answer = server.api.patch("/instances/before", params={"wait": 20}, json={"name": "after"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["observed_generation"] >= answer.json()["generation"]
        assert health(old) == 404
        assert new.get("/api/collections/notes/records").status_code == 200
        assert permanent.get("/api/collections/notes/records").status_code == 200
        assert server.api.get("/instances/before").status_code == 404

        server.create("before")
        assert health(old) == 200
        assert old.get("/api/collections/notes/records").status_code == 404, "the old name leads to the old data"
    assert server.api.patch("/instances/after", json={"name": "before"}).json()["code"] == "name_taken"


def test_powered_off_it_is_not_reachable_and_powered_on_it_is_again(server: Server) -> None:
    made = server.create("maintained")
    with server.client("maintained") as client:
        make_notes(client, NEWEST)
        client.post("/api/collections/notes/records", json={"text": "kept"})
        server.cli("power", "maintained", "off")
        assert server.show("maintained")["state"] == "off"
        until(lambda: server.guest_pids(made["id"]) == [], 20, "PocketBase to end")
        answer = client.get("/api/health")
        assert answer.status_code == 503
        assert answer.json()["code"] == "powered_off"
        page = client.get("/", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (503, "text/html")
        assert server.guest_pids(made["id"]) == []
        server.cli("power", "maintained", "on")
        records = client.get("/api/collections/notes/records").json()
        assert [item["text"] for item in records["items"]] == ["kept"]


def test_delete_needs_power_off_and_goes_to_quarantine_first(server: Server) -> None:
    made = server.create("doomed")
    with server.client("doomed") as client, server.client(made["id"]) as permanent:
        assert health(client) == 200
        refused = server.api.delete("/instances/doomed")
        assert (refused.status_code, refused.json()["code"]) == (409, "must_be_powered_off")
        assert health(client) == 200
        server.cli("power", "doomed", "off")
        server.cli("delete", "doomed", "--yes")
        assert server.api.get("/instances/doomed").status_code == 404
        assert health(client) == 404
        assert health(permanent) == 404
    assert not server.folder(made["id"]).exists()
    assert list((server.home / "quarantine" / made["id"]).rglob("data.db")), "its data is not in quarantine"
    assert server.create("doomed")["id"] != made["id"], "the name is not free"


def test_settings_count_and_wrong_ones_are_refused(server: Server) -> None:
    made = server.create("set")
    server.cli("settings", "set", "idle_timeout=1", "dev=true")
    shown = server.show("set")
    assert (shown["idle_timeout"], shown["dev"]) == (1, True)
    with server.client("set") as client:
        assert health(client) == 200
    last = [line for line in server.starts_file.read_text().splitlines() if made["id"] in line and " serve " in line]
    assert "--dev" in last[-1]
    until(lambda: server.guest_pids(made["id"]) == [], 20, "it to fall asleep by itself after one second")
    server.reaches("set", "asleep")

    for wrong in ({"idle_timeout": 0}, {"idle_timeout": "soon"}, {"dev": 3}, {"power": "perhaps"}, {"colour": "red"}):
        assert server.api.patch("/instances/set", json=wrong).status_code == 422, wrong
    assert server.show("set")["idle_timeout"] == 1
    server.cli("settings", "set", "idle_timeout=default")
    assert server.show("set")["idle_timeout"] == 60


def test_always_awake_wakes_without_a_request_and_comes_back_after_a_kill(server: Server) -> None:
    made = server.create("steady")
    server.cli("settings", "steady", "always_awake=true")
    server.reaches("steady", "awake")
    before = server.guest_pids(made["id"])
    server.kill_guest(made["id"])
    until(lambda: bool(set(server.guest_pids(made["id"])) - set(before)), 20, "another PocketBase")
    server.reaches("steady", "awake")
    server.cli("settings", "steady", "always_awake=false")


def test_a_secret_changes_with_the_next_start_and_its_value_never_leaves(server: Server) -> None:
    made = server.create("secretive")
    server.put(made["id"], "pb_hooks/main.pb.js", hooks.HELLO)
    server.cli("secrets", "secretive", "set", "GREETING=first")
    with server.client("secretive") as client:
        assert client.get("/hello").json()["process"] == "first"
        server.cli("secrets", "secretive", "set", "GREETING=second value, with = and spaces")
        server.cli("sleep", "secretive")
        assert client.get("/hello").json()["process"] == "second value, with = and spaces"
        shown = server.cli("secrets", "secretive", "--json").stdout
        assert "GREETING" in shown
        assert "second" not in shown + server.api.get("/instances/secretive").text
        server.cli("secrets", "secretive", "unset", "GREETING")
        server.cli("sleep", "secretive")
        assert client.get("/hello").json()["process"] == ""
    for wrong in ("PATH=/tmp", "LD_PRELOAD=x", "POCKETFLEET_HOME=x", "GODEBUG=x", "lower=x", "1X=x"):
        assert server.cli("secrets", "secretive", "set", wrong, check=False).returncode == 2, wrong


def test_an_instance_sees_no_environment_but_its_own(server: Server) -> None:
    made = server.create("clean")
    server.put(made["id"], "pb_hooks/main.pb.js", hooks.HELLO)
    server.cli("secrets", "clean", "set", "GREETING=x")
    with server.client("clean") as client:
        seen = set(client.get("/hello").json()["names"])
    # PWD, SHLVL, OLDPWD and _ are made by the shell that counts the starts
    assert seen <= {"GREETING", "PATH", "HOME", "LANG", "TZ", "TMPDIR", "PWD", "SHLVL", "OLDPWD", "_"}, seen


def test_every_folder_is_given_explicitly(server: Server) -> None:
    made = server.create("explicit")
    with server.client("explicit") as client:
        assert health(client) == 200
    line = [line for line in server.starts_file.read_text().splitlines() if made["id"] in line and " serve " in line][
        -1
    ]
    for flag in ("--dir", "--hooksDir", "--migrationsDir", "--publicDir"):
        assert re.search(rf"{flag}[= ]{re.escape(str(server.folder(made['id'])))}/", line), line
