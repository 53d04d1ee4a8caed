"""The command line as people and scripts use it: JSON, tables, exit codes, signing in from elsewhere."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pocketbases import NEWEST
from tests.server import EMAIL, Server, superuser_token


@pytest.fixture(scope="module")
def shop(server: Server) -> str:
    """The name of an instance that only these tests look at."""
    server.cli("create", "shop", "--email", EMAIL)
    return "shop"


def test_create_prints_the_generated_password_once(server: Server) -> None:
    done = server.cli("create", "generated", "--json")
    made = json.loads(done.stdout)
    shown = server.cli("show", "generated", "--json").stdout
    password = _find(made, "password")
    assert isinstance(password, str)
    assert len(password) >= 10
    assert password not in shown
    with server.client("generated") as client:
        assert superuser_token(client, NEWEST, str(_find(made, "email")), password)


def test_every_answer_can_be_json(server: Server, shop: str) -> None:
    listed = json.loads(server.cli("list", "--json").stdout)
    items = listed["items"] if isinstance(listed, dict) else listed
    assert shop in [item["name"] for item in items]
    shown = json.loads(server.cli("show", shop, "--json").stdout)
    assert {"id", "name", "state", "range", "release", "url"} <= set(shown)
    assert shown["url"] == f"http://{shop}.localhost:{server.port}"
    for words in (
        ["whoami"],
        ["releases"],
        ["settings", shop],
        ["settings", shop, "idle_timeout=30"],
        ["secrets", shop],
        ["secrets", shop, "set", "A=1"],
        ["operations", shop],
        ["tokens"],
        ["power", shop, "on"],
        ["sleep", shop],
        ["open", shop],
        ["rename", shop, shop],
    ):
        done = server.cli(*words, "--json")
        assert json.loads(done.stdout) is not None, words
    with server.client(shop) as client:
        assert client.get("/api/health").status_code == 200
    # a log is lines, so that a program may read it as it comes
    lines = [json.loads(line) for line in server.cli("logs", shop, "--json").stdout.splitlines()]
    assert {"at", "stream", "text"} <= set(lines[0])


def test_tables_name_what_there_is(server: Server, shop: str) -> None:
    assert shop in server.cli("list").stdout
    shown = server.cli("show", shop).stdout
    assert NEWEST in shown
    assert f"{shop}.localhost:{server.port}" in shown
    assert NEWEST in server.cli("releases").stdout


@pytest.mark.parametrize(
    "code, words",
    [
        (1, ["show", "nosuch"]),
        (1, ["rename", "nosuch", "other"]),
        (1, ["create", "shop"]),
        (1, ["delete", "shop", "--yes"]),
        (2, ["create", "Not_A_Name"]),
        (2, ["create", "far", "--version", "no range at all"]),
        (2, ["power", "shop", "sideways"]),
        (2, ["settings", "shop", "colour=red"]),
        (2, ["settings", "shop", "idle_timeout=soon"]),
        (2, ["secrets", "shop", "set", "PATH=/tmp"]),
        (2, ["nonsense"]),
        (2, ["show"]),
        (2, ["list", "--nonsense"]),
    ],
)
def test_exit_codes(server: Server, shop: str, code: int, words: list[str]) -> None:
    done = server.cli(*words, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr.strip(), "nothing says why"
    assert "Traceback" not in done.stdout + done.stderr


def test_an_error_as_json_is_the_problem_itself(server: Server) -> None:
    done = server.cli("show", "nosuch", "--json", check=False)
    assert done.returncode == 1
    assert "instance_not_found" in done.stdout + done.stderr


def test_the_operators_file_is_for_its_owner_alone(server: Server) -> None:
    path = server.home / "operator.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.home.stat().st_mode) == 0o700


def test_elsewhere_one_signs_in_with_a_token_that_can_be_taken_back(server: Server, tmp_path: Path) -> None:
    made = json.loads(server.cli("tokens", "create", "laptop", "--json").stdout)
    token = made["token"]
    laptop = _elsewhere(server, tmp_path)
    assert server.cli("list", check=False, environment=laptop).returncode == 1, "signed in without a token"
    url = f"http://localhost:{server.port}"
    wrong = server.cli("login", url, check=False, environment=laptop, given="pft_" + "x" * 43 + "\n")
    assert wrong.returncode == 1
    done = server.cli("login", url, environment=laptop, given=token + "\n")
    assert token not in done.stdout + done.stderr
    me = json.loads(server.cli("whoami", "--json", environment=laptop).stdout)
    assert me["name"]
    assert me["token"]["verbs"]
    assert "shop" in server.cli("list", environment=laptop).stdout
    for path in tmp_path.rglob("*"):
        if path.is_file() and token in path.read_text(errors="replace"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path

    server.api.delete(f"/tokens/{made['id']}").raise_for_status()
    refused = server.cli("list", check=False, environment=laptop)
    assert refused.returncode == 1
    assert "login" in refused.stderr, "the next step is not named"
    server.cli("logout", environment=laptop)


def test_tokens_are_hashed_at_rest(server: Server) -> None:
    token = json.loads(server.cli("tokens", "create", "hashed", "--json").stdout)["token"]
    found = [path for path in server.home.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert found == []
    assert token not in server.cli("tokens", "--json").stdout


def test_without_a_server_the_command_line_says_what_to_do(server: Server, tmp_path: Path) -> None:
    nowhere = _elsewhere(server, tmp_path)
    done = server.cli("list", check=False, environment=nowhere)
    assert done.returncode == 1
    assert "serve" in done.stderr or "login" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_crash(server: Server, shop: str) -> None:
    command = f"{sys.executable} -m pocketfleet list --json | true"
    done = subprocess.run(["bash", "-c", command], env=server.environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def _elsewhere(server: Server, home: Path) -> dict[str, str]:
    """The environment of another person's machine: another HOME, and none of our settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("POCKETFLEET_", "XDG_"))}
    return kept | {"HOME": str(home)}


def _find(document: object, key: str) -> object:
    """The first value under this key, however deep."""
    if isinstance(document, dict):
        if key in document:
            return document[key]
        document = list(document.values())
    if isinstance(document, list):
        for item in document:
            found = _find(item, key)
            if found is not None:
                return found
    return None
