"""upgrade, rollback, report, probes; policy and window among the settings."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from pocketfleet.cli.windows import parse_window, show_window
from pocketfleet.errors import WrongSetting
from tests.unit.cli.conftest import Cli, Double, instance, operation, problem, stream

REASON = "Anonymous clients see 3 more records of posts"
FACTS: dict[str, Any] = {"from": "0.22.27", "to": "0.40.6"}
JUDGED: dict[str, Any] = FACTS | {"verdict": "changed", "reasons": [REASON]}


def finding(severity: str, section: str, text: str, **more: Any) -> dict[str, Any]:
    return {"severity": severity, "section": section, "text": text, "where": "", "source": "data", "detail": {}} | more


def rehearsal(**changes: Any) -> dict[str, Any]:
    places = [{"line": 3, "text": "$app.dao() is gone.", "instead": "$app"}]
    reasons = [finding("exposes", "rules", REASON, source="log")]
    report = {
        "version": 1,
        "took_ms": 12_300,
        "sandboxed": True,
        "reasons": reasons,
        "sections": {
            "rules": {"facts": {}, "findings": reasons},
            "schema": {"facts": {}, "findings": [finding("added", "schema", "A field more")]},
            "lint": {
                "facts": {},
                "findings": [
                    finding("breaks", "lint", "one", where="pb_hooks/main.pb.js:3", detail={"places": places})
                ],
            },
            "known_changes": [{"since": "0.23.0", "text": "Tokens change", "kind": "tokens"}],
            "not_covered": ["Mail was not sent\x1b[2J"],
        },
    }
    return {
        "id": "rehearsed123456",
        "instance": "shop",
        "instance_id": "abcdefghij12345",
        "operation": "operation123456",
        **JUDGED,
        "report": report,
        "created_at": "2026-01-02T03:04:05Z",
    } | changes


def answers(
    double: Double, state: str, *, verb: str = "upgrade", result: dict[str, Any] | None = None, **more: Any
) -> None:
    """The operation ends in this state; what it found is there."""
    result = {"rehearsal": "rehearsed123456"} if result is None else result
    ended = operation(state, kind=verb, result=result, **more)
    double.answers |= {
        f"POST /instances/shop/{verb}": httpx.Response(202, json={"operation": operation("pending", kind=verb)}),
        "GET /operations/operation123456/events": stream(("operation", operation("running")), ("operation", ended)),
        "GET /rehearsals/rehearsed123456": rehearsal(),
    }


def test_an_upgrade_asks_with_3_and_tells_all_that_was_found(cli: Cli, double: Double) -> None:
    answers(double, "asking", **JUDGED)
    done = cli("upgrade", "shop", "~0.40.0")
    assert done.code == 3
    assert double.bodies("POST") == [{"range": "~0.40.0"}]
    for words in (
        "0.22.27 -> 0.40.6",
        "Verdict: changed",
        f"[lets more people in] {REASON} (clients ask this)",
        "pb_hooks/main.pb.js:3  $app.dao() is gone. Write $app.",
        "schema: [added] A field more",
        "0.23.0  Tokens change",
        "Mail was not sent",
        "To go on: pocketfleet upgrade shop '~0.40.0' --accept-changes",
    ):
        assert words in done.out, done.out
    assert "\x1b" not in done.out
    assert done.out.count(REASON) == 1
    assert done.err == ""


def test_what_is_new_since_the_accepted_report_is_said(cli: Cli, double: Double) -> None:
    result = {"rehearsal": "rehearsed123456", "new_reasons": ["Everybody can list posts now."]}
    answers(double, "asking", result=result, **JUDGED)
    done = cli("upgrade", "shop", "--report", "rehearsed000000")
    assert done.code == 3
    assert double.bodies("POST") == [{"rehearsal": "rehearsed000000"}]
    assert "New since the report that you accepted: Everybody can list posts now." in done.out


@pytest.mark.parametrize(("state", "code"), [("succeeded", 0), ("failed", 1), ("asking", 3), ("rolled_back", 4)])
def test_in_json_it_is_the_operation_whatever_its_end(cli: Cli, double: Double, state: str, code: int) -> None:
    error = {"code": "verification_failed", "detail": "It did not answer."} if code in (1, 4) else {}
    answers(double, state, error=error, **JUDGED, held_ms=812)
    done = cli("upgrade", "shop", "~0.40.0", "--json")
    assert done.code == code
    assert {key: done.json[key] for key in (*JUDGED, "held_ms", "state")} == JUDGED | {"held_ms": 812, "state": state}
    assert bool(done.err) == bool(error)
    if error:
        assert json.loads(done.err)["code"] == "verification_failed"


def test_after_a_switch_it_says_how_long_requests_waited(cli: Cli, double: Double) -> None:
    answers(double, "succeeded", **JUDGED, held_ms=812)
    done = cli("upgrade", "shop", "--accept-changes")
    assert done.code == 0
    assert double.bodies("POST") == [{"accept_changes": True}]
    assert "0.40.6 now" in done.out
    assert "0.8 s" in done.out
    assert "pocketfleet rollback shop" in done.out


def test_a_rehearsal_is_a_report_and_nothing_else(cli: Cli, double: Double) -> None:
    answers(double, "succeeded", **JUDGED)
    done = cli("upgrade", "shop", "0.40.6", "--rehearse")
    assert done.code == 0
    assert double.bodies("POST") == [{"range": "0.40.6", "rehearse_only": True}]
    assert REASON in done.out
    assert "nothing was changed" in done.out


def test_what_was_put_back_ends_with_4_and_why(cli: Cli, double: Double) -> None:
    answers(double, "rolled_back", error={"detail": "GET /api/health answered 500, not 200."}, **JUDGED, held_ms=900)
    done = cli("upgrade", "shop", "~0.40.0", "--accept-changes")
    assert done.code == 4
    assert "answered 500" in done.err


def test_a_broken_release_names_the_last_one_that_works(cli: Cli, double: Double) -> None:
    result = {"rehearsal": "rehearsed123456", "last_that_works": "0.22.30"}
    answers(double, "failed", result=result, error={"detail": "It does not start."}, **JUDGED)
    done = cli("upgrade", "shop", "~0.40.0")
    assert done.code == 1
    assert "0.22.30" in done.out
    assert "does not start" in done.err


def test_the_release_that_it_runs_already(cli: Cli, double: Double) -> None:
    answers(double, "succeeded", result={}, **{"from": "0.40.6", "to": "0.40.6"})
    done = cli("upgrade", "shop")
    assert (done.code, done.out) == (0, "shop runs PocketBase 0.40.6 already.\n")


def test_nobody_has_to_wait(cli: Cli, double: Double) -> None:
    answers(double, "succeeded", verb="upgrade")
    done = cli("upgrade", "shop", "--no-wait")
    assert done.code == 0
    assert "under way" in done.out
    assert double.paths() == ["POST /instances/shop/upgrade"]


def test_a_refusal_is_told_as_it_is(cli: Cli, double: Double) -> None:
    double.answers["POST /instances/shop/upgrade"] = problem(422, "no_release_matches", "No release matches “9”.")
    done = cli("upgrade", "shop", "9")
    assert done.code == 1
    assert "No release matches" in done.err


LOST = {
    "records": {"posts": {"created": 3, "changed": 1, "deleted": 0, "created_ids": ["a", "b", "c"]}},
    "files": {"created": 2, "changed": 0, "deleted": 0},
    "files_by_collection": {"posts": {"created": 2, "changed": 0, "deleted": 0}},
    "schema": [],
}


def test_going_back_says_first_what_would_be_lost(cli: Cli, double: Double) -> None:
    result = {"from": "0.40.6", "to": "0.22.27", "snapshot": "snapshot1234567", "lost": LOST}
    answers(double, "asking", verb="rollback", result=result, **FACTS)
    done = cli("rollback", "shop")
    assert done.code == 3
    assert double.bodies("POST") == [{}]
    assert [line.split() for line in done.out.splitlines() if "posts" in line or "(files)" in line] == [
        ["posts", "3", "1", "0"],
        ["posts", "(files)", "2", "0", "0"],
    ]
    assert "pocketfleet rollback shop snapshot1234567 --accept-loss" in done.out


def test_going_back_with_consent(cli: Cli, double: Double) -> None:
    answers(double, "succeeded", verb="rollback", result={"checkpoint": "kept12345678901"}, **FACTS, held_ms=400)
    done = cli("rollback", "shop", "snapshot1234567", "--accept-loss")
    assert done.code == 0
    assert double.bodies("POST") == [{"snapshot": "snapshot1234567", "accept_loss": True}]
    assert "kept12345678901" in done.out


def test_reports_are_listed_and_shown(cli: Cli, double: Double) -> None:
    brief = {key: value for key, value in rehearsal().items() if key != "report"}
    double.answers |= {
        "GET /instances/shop/rehearsals": {"items": [brief]},
        "GET /rehearsals/rehearsed123456": rehearsal(),
    }
    assert REASON in cli("report", "shop").out
    assert REASON in cli("report", "shop", "rehearsed123456").out
    assert cli("report", "shop", "--json").json["report"]["took_ms"] == 12_300
    assert cli("report", "shop", "--list", "--json").json == [brief]
    assert "rehearsed123456" in cli("report", "shop", "--list").out
    assert cli("report", "shop", "../../tokens").code == 1
    assert "GET /rehearsals/unknown" in double.paths()


def test_without_a_report_the_next_step_is_named(cli: Cli, double: Double) -> None:
    double.answers["GET /instances/shop/rehearsals"] = {"items": []}
    assert "--rehearse" in cli("report", "shop").err


PROBE = {
    "method": "GET",
    "path": "/api/health",
    "identity": "anonymous",
    "body": None,
    "expect_status": 200,
    "expect_json": {"code": 200},
    "safe": True,
}


def test_probes_are_shown_added_and_removed(cli: Cli, double: Double) -> None:
    double.answers |= {
        "GET /instances/shop/probes": lambda _: {"items": [dict(PROBE)]},
        "PUT /instances/shop/probes": lambda request: json.loads(request.content),
    }
    assert "/api/health" in cli("probes", "shop").out
    words = ["add", "POST", "/pay", "--status", "201", "--expect", '{"ok": true}', "--body", "[1]", "--as", "superuser"]
    assert cli("probes", "shop", *words).code == 0
    assert cli("probes", "shop", "remove", "1").code == 0
    added, removed = double.bodies("PUT")
    assert added["items"][0] == PROBE
    assert added["items"][1] == PROBE | {
        "method": "POST",
        "path": "/pay",
        "identity": "superuser",
        "body": [1],
        "expect_status": 201,
        "expect_json": {"ok": True},
        "safe": False,
    }
    assert removed == {"items": []}


@pytest.mark.parametrize("words", [["add"], ["remove", "2"], ["remove", "0"], ["remove"], ["add", "/a", "--body", "{"]])
def test_probes_that_do_not_fit_change_nothing(cli: Cli, double: Double, words: list[str]) -> None:
    double.answers["GET /instances/shop/probes"] = {"items": [PROBE]}
    assert cli("probes", "shop", *words).code == 2
    assert double.bodies("PUT") == []


def test_policy_and_window_are_settings(cli: Cli, double: Double) -> None:
    window = {"days": [0, 1, 2, 3, 4], "from": "02:00", "to": "05:00", "zone": "Europe/Vienna"}
    double.answers["PATCH /instances/shop"] = instance(policy="auto", window=window)
    done = cli("settings", "shop", "policy=auto", "window=mon-fri 2:00-05:00 Europe/Vienna")
    assert double.bodies("PATCH") == [{"policy": "auto", "window": window}]
    assert "mon-fri 02:00-05:00 Europe/Vienna" in done.out
    assert cli("settings", "shop", "window=any").code == 0
    assert double.bodies("PATCH")[-1] == {"window": {}}
    assert cli("settings", "shop", "window=at night").code == 2


@pytest.mark.parametrize(
    ("text", "days", "shown"),
    [
        ("02:00-05:00", None, "02:00-05:00 UTC"),
        ("sat,sun 22:00-04:00", [5, 6], "sat,sun 22:00-04:00 UTC"),
        ("FRI-MON 00:00-00:00 America/New_York", [0, 4, 5, 6], "mon,fri,sat,sun 00:00-00:00 America/New_York"),
        ("mon,wed-fri 1:30-2:30", [0, 2, 3, 4], "mon,wed,thu,fri 01:30-02:30 UTC"),
        ("mon-sun 01:00-02:00", [0, 1, 2, 3, 4, 5, 6], "01:00-02:00 UTC"),
    ],
)
def test_windows_as_people_write_them(text: str, days: list[int] | None, shown: str) -> None:
    window = parse_window(text)
    assert window.get("days") == days
    assert show_window(window) == shown
    assert show_window(parse_window(shown)) == shown


@pytest.mark.parametrize(
    "text", ["", "always", "mon", "mon-fri", "nil 02:00-03:00", "mon 2-3", "a b c d", "1:00-2:00 UTC x"]
)
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(WrongSetting):
        parse_window(text)
