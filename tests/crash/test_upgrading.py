"""Upgrades with node, control, HAProxy or PocketBase killed: then wholly old or wholly new, and it says which."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.load import nothing_fails, texts
from tests.server import Server, make_notes, running, superuser_token, until

OLD, NEW = "0.36.9", "0.40.6"
CUTOVER = ("prepare", "hold", "checkpoint", "switch", "verify", "commit", "open")
ENDED = ("succeeded", "failed", "rolled_back")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One for all; executables without the counting wrapper, which the rehearsal's sandbox would not let in."""
    with running(versions=(OLD, NEW), counted=False) as started:
        yield started


def make_shop(server: Server, name: str) -> str:
    """An instance of the older release with three notes; answers its id."""
    instance_id = str(server.create(name, OLD)["id"])
    with server.client(name) as client:
        make_notes(client, OLD)
        for number in range(3):
            assert client.post("/api/collections/notes/records", json={"text": f"first {number}"}).status_code == 200
    return instance_id


def begin(server: Server, name: str) -> str:
    """An upgrade that accepts whatever is found; answers its operation's id."""
    answer = server.api.post(f"/instances/{name}/upgrade", json={"range": NEW, "accept_changes": True})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["operation"]["id"])


def operation_of(server: Server, operation_id: str) -> dict[str, Any]:
    """As the API shows it; {} while control is away."""
    with contextlib.suppress(Exception):
        answer = server.api.get(f"/operations/{operation_id}")
        if answer.status_code == 200:
            found: dict[str, Any] = answer.json()
            return found
    return {}


def has_begun(server: Server, operation_id: str, step: str) -> bool:
    """Whether this step, or the end, was reached."""
    operation = operation_of(server, operation_id)
    return operation.get("state") in ENDED or any(item["name"] == step for item in operation.get("steps", ()))


def ended(server: Server, operation_id: str) -> dict[str, Any]:
    """The operation once it is over."""
    until(lambda: operation_of(server, operation_id).get("state") in ENDED, 240, f"the end of {operation_id}")
    return operation_of(server, operation_id)


def is_whole(server: Server, name: str, operation: dict[str, Any], written: int) -> None:
    """All of it is old or all of it is new, as the operation says, and nothing acknowledged is lost."""
    row = server.show(name)
    expected = NEW if operation["state"] == "succeeded" else OLD
    assert (row["release"], row["state"] == "held") == (expected, False), operation
    assert len(texts(server, name)) == 3 + written
    with server.client(name) as client:
        assert superuser_token(client, expected)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", CUTOVER)
def test_node_killed_as_a_step_of_the_cutover_begins(server: Server, step: str) -> None:
    name = f"at-{step}"
    make_shop(server, name)
    with nothing_fails(server, name, clients=2) as load:
        operation_id = begin(server, name)
        until(lambda: has_begun(server, operation_id, step), 240, step)
        server.kill("node")
        operation = ended(server, operation_id)
        seen = load.requests
        until(lambda: load.requests > seen + 10, 30, "requests afterwards")
    is_whole(server, name, operation, len(load.acknowledged(name)))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["control", "edge", "guest"])
def test_others_killed_during_a_switch(server: Server, victim: str) -> None:
    name = f"without-{victim}"
    instance_id = make_shop(server, name)
    operation_id = begin(server, name)
    until(lambda: has_begun(server, operation_id, "switch"), 240, "the switch")
    if victim == "guest":
        for pid in server.guest_pids(instance_id):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    else:
        server.kill(victim)
    is_whole(server, name, ended(server, operation_id), 0)
