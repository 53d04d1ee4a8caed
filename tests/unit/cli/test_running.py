"""power, sleep, secrets, settings, releases, operations, logs."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest

from pocketfleet.cli import watching
from tests.unit.cli.conftest import Cli, Double, instance, operation, problem, stream


@pytest.mark.parametrize("to", ["on", "off"])
def test_power(cli: Cli, double: Double, to: str) -> None:
    double.answers |= {"GET /instances/shop": instance(), "PATCH /instances/shop": instance(power=to)}
    assert f"powered {to}" in cli("power", "shop", to).out
    assert double.bodies("PATCH") == [{"power": to}]


def test_stopping_one_that_fails_names_the_next_step(cli: Cli, double: Double) -> None:
    failing = instance(state="failing", reason="bad.js does not load")
    double.answers |= {"GET /instances/shop": failing, "PATCH /instances/shop": instance(power="off")}
    assert "pocketfleet backup shop --full" in cli("power", "shop", "off").err


def test_power_takes_on_and_off_alone(cli: Cli, double: Double) -> None:
    done = cli("power", "shop", "sideways")
    assert done.code == 2
    assert "on" in done.err
    assert double.requests == []


def test_sleep(cli: Cli, double: Double) -> None:
    double.answers |= {
        "POST /instances/shop/sleep": httpx.Response(202, json={"operation": operation("running", kind="sleep")}),
        "GET /operations/operation123456/events": stream(("operation", operation(kind="sleep"))),
    }
    assert cli("sleep", "shop").out == "shop sleeps.\n"
    assert cli("sleep", "shop", "--json").json["kind"] == "sleep"
    assert "being put" in cli("sleep", "shop", "--no-wait").out


def test_secrets_are_listed_by_name(cli: Cli, double: Double) -> None:
    double.answers["GET /instances/shop/secrets"] = {"items": [{"name": "A"}, {"name": "B"}]}
    assert cli("secrets", "shop").out.split() == ["NAME", "A", "B"]
    assert cli("secrets", "shop", "--json").json == [{"name": "A"}, {"name": "B"}]


def test_secrets_are_set_and_unset(cli: Cli, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    double.answers["PATCH /instances/shop/secrets"] = {"items": [{"name": "A"}]}
    monkeypatch.setattr("sys.stdin", io.StringIO("from\nstdin\n"))
    assert cli("secrets", "shop", "set", "A=1=2", "EMPTY=", "KEY=-").code == 0
    assert cli("secrets", "shop", "unset", "A", "B").code == 0
    assert double.bodies("PATCH") == [{"A": "1=2", "EMPTY": "", "KEY": "from\nstdin"}, {"A": None, "B": None}]


@pytest.mark.parametrize(
    "words", [["set"], ["unset"], ["set", "A"], ["set", "A=-", "B=-"], ["show"]], ids=lambda words: " ".join(words)
)
def test_secrets_that_do_not_fit(cli: Cli, double: Double, words: list[str]) -> None:
    done = cli("secrets", "shop", *words)
    assert done.code == 2
    assert done.err.startswith("✗ ")
    assert double.requests == []


def test_a_refused_secret_is_wrong_usage(cli: Cli, double: Double) -> None:
    double.answers["PATCH /instances/shop/secrets"] = problem(422, "wrong_secret", "“PATH” is refused.")
    assert cli("secrets", "shop", "set", "PATH=/tmp").code == 2


def test_settings_are_shown(cli: Cli, double: Double) -> None:
    double.answers["GET /instances/shop"] = instance(dev=True)
    out = cli("settings", "shop").out
    assert "60   (default)" in out
    assert cli("settings", "shop", "--json").json == {
        "idle_timeout": 60,
        "dev": True,
        "always_awake": False,
        "admin_sync": False,
        "range": "~0.40.6",
        "policy": "ask",
        "window": {},
        "backup": {},
        "snapshots": {},
        "limits": {},
    }


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["idle_timeout=30"], {"idle_timeout": 30}),
        (["idle_timeout=default"], {"idle_timeout": None}),
        (["dev=true", "always_awake=off"], {"dev": True, "always_awake": False}),
        (["admin_sync=on"], {"admin_sync": True}),
        (["range=>=0.22 <0.24"], {"range": ">=0.22 <0.24"}),
        (["dev=YES"], {"dev": True}),
    ],
)
def test_settings_are_changed(cli: Cli, double: Double, words: list[str], body: dict[str, Any]) -> None:
    double.answers["PATCH /instances/shop"] = instance()
    assert cli("settings", "shop", *words).code == 0
    assert double.bodies("PATCH") == [body]
    assert cli("settings", "shop", *words, "--json").json["id"] == "abcdefghij12345"


@pytest.mark.parametrize(
    "word", ["colour=red", "dev", "dev=maybe", "idle_timeout=soon", "idle_timeout=-1", "idle_timeout=²"]
)
def test_settings_that_do_not_fit(cli: Cli, double: Double, word: str) -> None:
    done = cli("settings", "shop", word)
    assert done.code == 2
    assert word.split("=")[0] in done.err
    assert double.requests == []


RELEASES = {
    "items": [
        {
            "version": "0.38.1",
            "line": "0.38",
            "sources": ["pypi", "github"],
            "fetched": True,
            "schema_boundary": True,
            "published_at": "2026-01-02T03:04:05Z",
        },
        {
            "version": "0.22.27",
            "line": "0.22",
            "sources": ["pypi"],
            "fetched": False,
            "schema_boundary": False,
            "published_at": None,
        },
    ],
    "sources": [{"name": "github", "refreshed_at": None, "warning": "GitHub did not answer."}],
}


def test_releases(cli: Cli, double: Double) -> None:
    double.answers["GET /releases"] = RELEASES
    done = cli("releases", "--line", "0.22")
    assert double.requests[0].url.params["line"] == "0.22"
    assert "0.38.1   pypi, github  here     2026-01-02" in done.out
    assert "GitHub did not answer" in done.err
    assert cli("releases", "--json").json == RELEASES


def test_releases_are_refreshed_first(cli: Cli, double: Double) -> None:
    double.answers |= {
        "POST /releases/refresh": httpx.Response(202, json={"operation": operation("pending", kind="refresh")}),
        "GET /operations/operation123456/events": stream(("operation", operation(kind="refresh"))),
        "GET /releases": RELEASES,
    }
    assert cli("releases", "--refresh").code == 0
    assert double.paths()[0] == "POST /releases/refresh"
    double.answers["GET /operations/operation123456/events"] = stream(("operation", operation("failed")))
    assert cli("releases", "--refresh").code == 1


def test_operations(cli: Cli, double: Double) -> None:
    failed = operation("failed", error={"detail": "The disk is full."})
    double.answers |= {
        "GET /instances/shop/operations": {"items": [operation(), failed]},
        "GET /operations": {"items": [operation(instance=None, finished_at=None)]},
    }
    out = cli("operations", "shop").out
    assert "1.0 s" in out
    assert "The disk is full." in out
    assert cli("operations").code == 0
    assert len(cli("operations", "shop", "--json").json) == 2


def line(text: str, at: str = "2026-01-02T03:04:05.678901Z", stream: str = "stdout") -> dict[str, str]:
    return {"at": at, "stream": stream, "text": text}


def test_logs(cli: Cli, double: Double) -> None:
    double.answers["GET /instances/shop/logs"] = {
        "items": [line("hello \x1b[31mred"), line("woken", stream="platform")]
    }
    done = cli("logs", "shop", "--tail", "5")
    assert done.out == "2026-01-02 03:04:05.678   hello �[31mred\n2026-01-02 03:04:05.678 * woken\n"
    assert double.requests[0].url.params["tail"] == "5"
    documents = [json.loads(text) for text in cli("logs", "shop", "--json").out.splitlines()]
    assert [document["text"] for document in documents] == ["hello \x1b[31mred", "woken"]


def test_following_a_log_shows_every_line_once_across_broken_streams(
    cli: Cli, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_PAUSE", 0)
    lines = [line(f"line {number}", at=f"2026-01-02T03:04:{number:02}Z") for number in range(6)]
    same = [line("same", at="2026-01-02T03:05:00Z")] * 3
    double.answers["GET /instances/shop/logs/events"] = [
        stream(("hello", None), *(("line", item) for item in lines[:3])),
        httpx.ReadError("cut"),
        stream(*(("line", item) for item in lines[1:5])),
        httpx.ConnectError("refused"),
        stream(*(("line", item) for item in [*lines[3:], *same])),
        problem(404, "instance_not_found", "There is no instance “shop” any more."),
    ]
    done = cli("logs", "shop", "-f", "--tail", "3")
    assert done.code == 1
    assert "any more" in done.err
    shown = [text.rsplit("  ", 1)[-1].strip() for text in done.out.splitlines()]
    assert [text[-6:].strip() for text in shown] == [*(f"line {number}" for number in range(6)), *["same"] * 3]
    assert [request.url.params["tail"] for request in double.requests][:2] == ["3", "500"]
