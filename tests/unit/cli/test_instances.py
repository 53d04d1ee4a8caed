"""create, list, show, open, rename, delete."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.unit.cli.conftest import TOKEN, Cli, Double, instance, operation, problem, stream, usage


def created(state: str = "pending") -> dict[str, Any]:
    return {
        "instance": instance(state="asleep", ready=False),
        "operation": operation(state),
        "superuser": {"email": "admin@shop.localhost", "password": "generated-once"},
    }


def ready_to_create(double: Double, *events: tuple[str, Any]) -> None:
    double.answers |= {
        "POST /instances": httpx.Response(202, json=created()),
        "GET /operations/operation123456/events": stream(*events),
        "GET /instances/abcdefghij12345": instance(),
    }


def test_create_waits_and_prints_what_one_needs(cli: Cli, double: Double) -> None:
    ready_to_create(double, ("operation", operation("running")), ("operation", operation()))
    done = cli("create", "shop")
    assert done.code == 0
    for word in (
        "http://shop.localhost:8080",
        "http://shop.localhost:8080/_/",
        "admin@shop.localhost",
        "generated-once",
    ):
        assert word in done.out
    assert done.err == ""
    assert double.bodies("POST") == [{"name": "shop"}]
    assert all(request.headers["authorization"] == f"Bearer {TOKEN}" for request in double.requests)


def test_create_passes_on_what_was_given(cli: Cli, double: Double) -> None:
    ready_to_create(double, ("operation", operation()))
    done = cli("create", "shop", "--version", "~0.22.0", "--email", "a@b.org", "--password", "long enough it is")
    assert done.code == 0
    assert double.bodies("POST") == [
        {"name": "shop", "range": "~0.22.0", "email": "a@b.org", "password": "long enough it is"}
    ]


def test_create_reads_the_password_from_stdin(cli: Cli, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    ready_to_create(double, ("operation", operation()))
    monkeypatch.setattr("sys.stdin", io.StringIO("from the pipe\nand more\n"))
    assert cli("create", "shop", "--password-stdin").code == 0
    assert double.bodies("POST")[0]["password"] == "from the pipe"
    assert cli("create", "shop", "--password-stdin", "--password", "x").code == 2


def test_create_as_json_is_the_instance_with_its_superuser(cli: Cli, double: Double) -> None:
    ready_to_create(double, ("operation", operation()))
    made = cli("create", "shop", "--json").json
    assert {"id", "name", "state", "range", "release", "url"} <= set(made)
    assert made["superuser"]["password"] == "generated-once"
    assert made["operation"]["state"] == "succeeded"


def test_create_without_waiting_asks_for_nothing_more(cli: Cli, double: Double) -> None:
    ready_to_create(double)
    done = cli("create", "shop", "--no-wait")
    assert done.code == 0
    assert "being made" in done.out
    assert double.paths() == ["POST /instances"]


@pytest.mark.parametrize(("state", "code"), [("failed", 1), ("cancelled", 1), ("asking", 3), ("rolled_back", 4)])
def test_create_ends_as_its_operation_does(cli: Cli, double: Double, state: str, code: int) -> None:
    ready_to_create(double, ("operation", operation(state, error={"detail": "The disk is full."})))
    done = cli("create", "shop")
    assert done.code == code
    assert done.err == "✗ The disk is full.\n"
    assert done.out == ""


def test_create_outlives_a_restart_of_the_server(cli: Cli, double: Double) -> None:
    ready_to_create(double)
    double.answers["GET /operations/operation123456/events"] = [
        stream(("operation", operation("running"))),
        httpx.ConnectError("refused"),
        httpx.Response(503, text="<html>"),
        httpx.ReadError("cut"),
        stream(("operation", operation())),
    ]
    double.answers["GET /operations/operation123456"] = operation("running")
    assert cli("create", "shop").code == 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (problem(409, "name_taken", "The name “shop” is taken."), 1),
        (problem(422, "wrong_name", "“shop” does not fit."), 2),
        (problem(422, "wrong_range", "“x” is not a range."), 2),
        (problem(422, "no_release_matches", "No release matches."), 1),
        (problem(500, "error", "Something went wrong."), 1),
    ],
)
def test_a_refusal_is_one_line_and_an_exit_code(cli: Cli, double: Double, answer: httpx.Response, code: int) -> None:
    double.answers["POST /instances"] = answer
    done = cli("create", "shop")
    assert done.code == code
    assert done.err == f"✗ {answer.json()['detail']}\n"


def test_a_refusal_as_json_is_the_servers_problem(cli: Cli, double: Double) -> None:
    double.answers["POST /instances"] = problem(422, "no_release_matches", "None.", near=["0.40.6"])
    done = cli("create", "shop", "--json")
    assert (done.code, done.out) == (1, "")
    assert json.loads(done.err)["near"] == ["0.40.6"]


def test_list_off_a_terminal_is_plain_columns(cli: Cli, double: Double) -> None:
    double.answers["GET /instances"] = {"items": [instance(), instance(name="b", state="awake")], "total": 2}
    lines = cli("list").out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "RELEASE", "RANGE", "ADDRESS"]
    assert lines[1].split() == ["shop", "asleep", "0.40.6", "~0.40.6", "http://shop.localhost:8080"]
    assert lines[2].startswith("b     awake ")


def test_list_reads_every_page(cli: Cli, double: Double) -> None:
    def page(request: httpx.Request) -> dict[str, Any]:
        offset = int(request.url.params["offset"])
        return {"items": [instance(name=f"n{number}") for number in range(offset, min(offset + 2, 5))], "total": 5}

    double.answers["GET /instances"] = page
    assert [item["name"] for item in cli("list", "--json").json] == ["n0", "n1", "n2", "n3", "n4"]


def test_an_empty_list_names_the_next_step_and_leaves_stdout_alone(cli: Cli, double: Double) -> None:
    double.answers["GET /instances"] = {"items": [], "total": 0}
    done = cli("list")
    assert (done.code, done.out) == (0, "")
    assert "pocketfleet create" in done.err
    assert cli("list", "--json").json == []


def test_show_tells_the_reason_without_obeying_it(cli: Cli, double: Double) -> None:
    reason = "PocketBase ended.\n\x1b[2J\x1b]0;owned\x07last line"
    double.answers["GET /instances/shop"] = instance(state="failing", reason=reason, secrets=["A", "B"])
    double.answers["GET /instances/abcdefghij12345/usage"] = usage()
    out = cli("show", "shop").out
    assert "failing" in out
    assert "last line" in out
    assert "A, B" in out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert cli("show", "shop", "--json").json["reason"] == reason


def test_show_tells_what_it_was_used_for(cli: Cli, double: Double) -> None:
    moment = (datetime.now(UTC) - timedelta(minutes=3)).isoformat()
    day = {"requests": 1234, "client_errors": 5, "server_errors": 1, "bytes_in": 1, "bytes_out": 2}
    double.answers["GET /instances/shop"] = instance(last_request_at=moment, size=3_400_000)
    found = usage(last_day=day, last_month=day | {"requests": 20_345, "server_errors": 0}, snapshots_size=12_000_000)
    double.answers["GET /instances/abcdefghij12345/usage"] = found
    out = cli("show", "shop").out
    assert "1,234 in 24 hours (1 server error), 20,345 in 30 days" in out
    assert "3.4 MB, snapshots 12 MB\n" in out
    assert f"{moment} (3 min ago)" in out
    shown = cli("show", "shop", "--json").json
    assert shown["usage"]["last_day"] == day
    assert shown["size"] == 3_400_000


def test_show_of_one_that_was_never_used(cli: Cli, double: Double) -> None:
    double.answers["GET /instances/shop"] = instance()
    double.answers["GET /instances/abcdefghij12345/usage"] = usage()
    out = cli("show", "shop").out
    assert "0 in 24 hours, 0 in 30 days" in out
    assert "Size" not in out
    assert "Last request" not in out


def test_open_prints_the_address(cli: Cli, double: Double) -> None:
    double.answers["GET /instances/shop"] = instance()
    assert cli("open", "shop").out == "http://shop.localhost:8080\n"


def test_open_admin_leads_to_the_dashboards_page(cli: Cli, double: Double) -> None:
    double.answers["GET /instances/shop"] = shop = instance()
    double.answers["GET /server"] = {"url": "http://localhost:8080"}
    assert cli("open", "shop", "--admin").out == f"http://localhost:8080/instances/{shop['id']}/admin\n"
    assert cli("open", "--admin").code == 2


def test_open_without_a_name_is_the_dashboard_signed_in(cli: Cli, double: Double) -> None:
    link = "http://localhost:8080/sign-in/once"
    double.answers["POST /sign-in-links"] = httpx.Response(201, json={"link": link})
    assert cli("open").out == f"{link}\n"
    assert cli("open", "--json").json == {"url": link}


def test_rename_waits_until_it_is_so(cli: Cli, double: Double) -> None:
    double.answers["PATCH /instances/shop"] = instance(name="store", url="http://store.localhost:8080")
    done = cli("rename", "shop", "store")
    assert done.code == 0
    assert "http://store.localhost:8080" in done.out
    assert double.bodies("PATCH") == [{"name": "store"}]
    assert float(double.requests[0].url.params["wait"]) > 0


def test_an_intent_that_is_not_in_effect_in_time_is_a_failure(cli: Cli, double: Double) -> None:
    double.answers["PATCH /instances/shop"] = instance(generation=4)
    done = cli("rename", "shop", "store")
    assert done.code == 1
    assert "not in effect yet" in done.err
    as_json = cli("rename", "shop", "store", "--json")
    assert as_json.code == 1
    assert as_json.json["generation"] == 4
    assert cli("rename", "shop", "store", "--no-wait").code == 0


def test_delete_asks_first(cli: Cli, double: Double) -> None:
    double.answers["GET /instances/shop"] = instance(power="off", state="off")
    done = cli("delete", "shop")
    assert done.code == 2
    assert "--yes" in done.err
    assert "DELETE" not in " ".join(double.paths())


def test_delete_follows_its_operation(cli: Cli, double: Double) -> None:
    double.answers |= {
        "GET /instances/shop": instance(power="off", state="off"),
        "DELETE /instances/abcdefghij12345": httpx.Response(
            202, json={"operation": operation("pending", kind="delete")}
        ),
        "GET /operations/operation123456/events": stream(("operation", operation(kind="delete", instance=None))),
    }
    done = cli("delete", "shop", "--yes")
    assert done.code == 0
    assert "shop is deleted" in done.out


@pytest.mark.parametrize("name", ["../tokens", "a/b", "a?b", "", ".", "..", "Shop", "%2e", "a b", "ä"])
def test_what_is_no_name_never_becomes_another_path(cli: Cli, double: Double, name: str) -> None:
    done = cli("show", name)
    assert done.code == 1
    assert "no instance" in done.err
    assert double.requests == []
