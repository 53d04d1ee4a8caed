"""A newer release appears: each instance does what its policy says, without anybody asking for it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.pocketbases import NEWEST, executable
from tests.server import Server, make_notes, until

#: A rehearsal is three starts and hundreds of requests, of which a busy machine makes minutes.
pytestmark = pytest.mark.timeout(600)

OLD = "0.36.9"
SETTINGS = {"versions": (OLD,), "counted": False}


def upgrades_of(server: Server, name: str) -> list[dict[str, Any]]:
    """What ended, the newest first."""
    found = server.api.get(f"/instances/{name}/operations").json()["items"]
    return [item for item in found if item["kind"] == "upgrade" and item["finished_at"]]


@pytest.fixture(scope="module")
def followed(server: Server) -> Server:
    """Four instances whose range has a newer release since a moment ago, and who have done what they do then."""
    for name, policy in (("willing", "auto"), ("asking", "ask"), ("careful", "schema-safe"), ("off", "off")):
        server.create(name, ">=0.36.9 <0.41")
        with server.client(name) as client:
            make_notes(client, OLD)
        server.cli("settings", name, f"policy={policy}")
        server.cli("sleep", name)
    target = server.releases / NEWEST / "pocketbase"
    target.parent.mkdir()
    os.link(executable(NEWEST), target)
    server.cli("releases", "--refresh")
    names = ("willing", "asking", "careful")
    until(lambda: all(upgrades_of(server, name) for name in names), 300, "all who follow")
    return server


def test_who_is_willing_runs_the_new_release_if_it_is_safe(followed: Server) -> None:
    (operation,) = upgrades_of(followed, "willing")
    assert operation["actor"] == "pocketfleet"
    assert (operation["from"], operation["to"]) == (OLD, NEWEST)
    assert operation["verdict"] == "safe", operation["reasons"]
    assert operation["state"] == "succeeded"
    row = followed.show("willing")
    assert (row["release"], row["range"]) == (NEWEST, ">=0.36.9 <0.41")


@pytest.mark.parametrize("name", ["asking", "careful"])
def test_who_wants_to_be_asked_is_asked(followed: Server, name: str) -> None:
    (operation,) = upgrades_of(followed, name)
    assert operation["state"] == "asking"
    assert operation["verdict"] == "safe", operation["reasons"]
    assert followed.show(name)["release"] == OLD


def test_who_switched_it_off_is_left_alone(followed: Server) -> None:
    assert upgrades_of(followed, "off") == []
    assert followed.show("off")["release"] == OLD


def test_nobody_is_asked_twice(followed: Server) -> None:
    followed.cli("releases", "--refresh")
    assert len(upgrades_of(followed, "asking")) == 1
    assert [item for item in followed.api.get("/operations").json()["items"] if item["state"] == "running"] == []
