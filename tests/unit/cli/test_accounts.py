"""login, logout, whoami, tokens; which server is meant."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import httpx
import pytest

from pocketfleet.cli.credentials import clean_url
from pocketfleet.errors import NotSignedIn
from tests.unit.cli.conftest import TOKEN, Cli, Double, problem

ME = {"name": "operator", "operator": True}
ELSEWHERE = "http://fleet.localhost:9000"


@pytest.fixture
def nowhere(operator_home: Path) -> Path:
    """No server runs on this home."""
    (operator_home / "operator.json").unlink()
    return operator_home


def test_whoami_as_the_operator_of_this_machine(cli: Cli, double: Double) -> None:
    double.answers["GET /me"] = ME
    assert cli("whoami").out == "operator at http://localhost:8080 (the operator)\n"
    assert cli("whoami", "--json").json == {**ME, "url": "http://localhost:8080"}


def test_whoami_says_what_a_token_may_do(cli: Cli, double: Double) -> None:
    token = {
        "name": "laptop",
        "verbs": ["view", "operate"],
        "team": "club",
        "instances": ["a" * 15],
        "expires_at": "2026-12-01T08:00:00Z",
    }
    double.answers["GET /me"] = {"name": "ana", "operator": False, "token": token}
    said = "Token laptop: view, operate; team club; 1 instance only; until 2026-12-01"
    assert cli("whoami").out == f"ana at http://localhost:8080\n{said}\n"


def test_without_a_server_the_next_step_is_named(nowhere: Path, cli: Cli) -> None:
    done = cli("list")
    assert done.code == 1
    assert "make serve" in done.err
    assert "pocketfleet login" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_server_that_is_gone_is_named_with_the_next_step(cli: Cli, double: Double) -> None:
    double.answers["GET /instances"] = httpx.ConnectError("refused")
    done = cli("list")
    assert done.code == 1
    assert "Nothing answers at http://localhost:8080" in done.err
    assert "pocketfleet serve" in done.err


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>welcome</html>"),
        httpx.Response(404, text="no"),
        httpx.Response(200, content=b"{", headers={"content-type": "text/plain"}),
    ],
)
def test_another_program_on_the_port_is_told_apart(cli: Cli, double: Double, answer: httpx.Response) -> None:
    double.answers["GET /instances"] = answer
    done = cli("list")
    assert done.code == 1
    assert "not as pocketfleet does" in done.err


def test_a_server_that_is_restarting_is_given_time(cli: Cli, double: Double) -> None:
    double.answers["GET /me"] = [
        httpx.Response(503, text="<html>"),
        httpx.ReadError("cut"),
        httpx.Response(200, json=ME),
    ]
    assert cli("whoami").code == 0


def test_login_is_tried_before_it_is_stored(nowhere: Path, cli: Cli, double: Double, tmp_path: Path) -> None:
    stored = tmp_path / "config" / "pocketfleet" / "credentials.json"
    double.answers["GET /me"] = problem(401, "not_signed_in", "This token is not known.")
    done = cli("login", ELSEWHERE, "--token", "wrong")
    assert done.code == 1
    assert f"pocketfleet login {ELSEWHERE}" in done.err
    assert not stored.exists()

    double.answers["GET /me"] = ME
    done = cli("login", f"{ELSEWHERE}/some/page", "--token", "pf_right")
    assert done.code == 0
    assert "pf_right" not in done.out + done.err
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert cli("whoami", "--json").json["url"] == ELSEWHERE
    assert double.requests[-1].headers["authorization"] == "Bearer pf_right"
    assert double.requests[-1].headers["host"] == "fleet.localhost:9000"


def test_a_token_is_read_from_stdin(nowhere: Path, cli: Cli, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    double.answers["GET /me"] = ME
    monkeypatch.setattr("sys.stdin", io.StringIO("pf_piped\n"))
    assert cli("login", ELSEWHERE).code == 0
    assert double.requests[0].headers["authorization"] == "Bearer pf_piped"
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli("login", ELSEWHERE).code == 2


def test_this_machine_comes_first_and_the_other_by_name(cli: Cli, double: Double) -> None:
    double.answers["GET /me"] = ME
    assert "--server" in cli("login", ELSEWHERE, "--token", "pf_right").err
    assert cli("whoami", "--json").json["url"] == "http://localhost:8080"
    assert double.requests[-1].headers["authorization"] == f"Bearer {TOKEN}"
    assert cli("--server", ELSEWHERE, "whoami", "--json").json["url"] == ELSEWHERE
    # and what stood before one verb does not count for the next
    assert cli("whoami", "--json").json["url"] == "http://localhost:8080"
    unknown = cli("--server", "https://other.example.org", "whoami")
    assert unknown.code == 1
    assert "pocketfleet login https://other.example.org" in unknown.err


def test_logout_forgets(nowhere: Path, cli: Cli, double: Double, tmp_path: Path) -> None:
    double.answers["GET /me"] = ME
    cli("login", ELSEWHERE, "--token", "pf_right")
    assert ELSEWHERE in cli("logout").out
    assert "pf_right" not in (tmp_path / "config" / "pocketfleet" / "credentials.json").read_text()
    assert cli("whoami").code == 1
    assert cli("logout").code == 1


def test_a_broken_credentials_file_is_named(nowhere: Path, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "config" / "pocketfleet" / "credentials.json"
    file.parent.mkdir(parents=True)
    for content in ("{", "[]", '{"version": 99, "servers": {}}', '{"version": 1}'):
        file.write_text(content)
        done = cli("list")
        assert done.code == 1
        assert str(file) in done.err


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": "http://localhost:8080"}'])
def test_a_broken_operator_file_is_named(operator_home: Path, cli: Cli, content: str) -> None:
    (operator_home / "operator.json").write_text(content)
    done = cli("list")
    assert done.code == 1
    assert "operator.json" in done.err


def test_a_token_that_no_longer_counts_names_the_next_step(cli: Cli, double: Double) -> None:
    double.answers["GET /me"] = problem(401, "not_signed_in", "no")
    assert "Restart `pocketfleet serve`" in cli("whoami").err
    assert json.loads(cli("whoami", "--json").err)["code"] == "not_signed_in"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://fleet.example.org", "https://fleet.example.org"),
        ("https://Fleet.Example.org/", "https://fleet.example.org"),
        ("fleet.example.org", "https://fleet.example.org"),
        ("localhost:8080", "http://localhost:8080"),
        ("127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_addresses_as_people_type_them(text: str, url: str) -> None:
    assert clean_url(text) == url


@pytest.mark.parametrize("text", ["", "ftp://x", "https://", "https://a:b@c.org", "http://[", "http://x:99999", "x:y"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(NotSignedIn):
        clean_url(text)


TOKENS = {
    "items": [{"id": 1, "name": "laptop", "hint": "pf_abcd", "created_at": None, "used_at": None, "expires_at": None}]
}


def test_tokens(cli: Cli, double: Double) -> None:
    made = {"id": 2, "name": "ci", "hint": "pf_wxyz", "token": "pf_wxyz-and-the-rest"}
    double.answers |= {
        "GET /tokens": TOKENS,
        "POST /tokens": httpx.Response(201, json=made),
        "DELETE /tokens/2": httpx.Response(204),
    }
    assert "laptop" in cli("tokens").out
    assert cli("tokens", "--json").json == TOKENS["items"]
    assert cli("tokens", "create", "ci", "--expires", "30").out == "pf_wxyz-and-the-rest\n"
    assert double.bodies("POST") == [{"name": "ci", "expires_in_days": 30}]
    assert cli("tokens", "create", "ci", "--json").json == made
    assert cli("tokens", "revoke", "2").code == 0
    assert cli("tokens", "revoke", "2", "--json").json == {"id": "2"}


@pytest.mark.parametrize("words", [["create"], ["revoke"], ["revoke", "../me"], ["burn", "2"]])
def test_tokens_that_do_not_fit(cli: Cli, double: Double, words: list[str]) -> None:
    assert cli("tokens", *words).code == 2
    assert double.requests == []
