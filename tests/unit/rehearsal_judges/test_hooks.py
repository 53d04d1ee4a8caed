"""What hooks register, and what no request went through."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketfleet.rehearsal.hooks import (
    Registers,
    Registration,
    compare_crons,
    load_errors,
    missing_crons,
    registrations,
    route_pattern,
    unobserved,
)

SOURCE = """
routerAdd("get", "/hello/{name}", handler)
// routerAdd("GET", "/no", handler)
routerUse((e) => e.next())
cronAdd("clean", "0 3 * * *", () => { onRecordCreate = 3 })
onRecordCreateRequest((e) => {
  e.next()
}, "posts", "pages")
onRecordsListRequest(listed)
const text = 'cronAdd("x", "y", z)'
function onRecordUpdate(e) {}
"""


@pytest.fixture
def found(tmp_path: Path) -> list[Registration]:
    hooks = tmp_path / "pb_hooks"
    hooks.mkdir()
    (hooks / "main.pb.js").write_text(SOURCE)
    return registrations(hooks)


def test_registrations_with_file_and_line(found: list[Registration]) -> None:
    assert [str(one) for one in found] == [
        "route GET /hello/{name} (pb_hooks/main.pb.js:2)",
        "middleware routerUse (pb_hooks/main.pb.js:4)",
        "cron clean (pb_hooks/main.pb.js:5)",
        "event onRecordCreateRequest of posts, pages (pb_hooks/main.pb.js:6)",
        "event onRecordsListRequest (pb_hooks/main.pb.js:9)",
    ]


def test_without_a_request_everything_is_unobserved(found: list[Registration]) -> None:
    assert unobserved(found) == [str(one) for one in found]


def test_what_requests_writes_and_runs_go_through(found: list[Registration]) -> None:
    assert unobserved(found, asked=[("GET", "/hello/ann?x=1")]) == [str(one) for one in found[2:]]
    assert str(found[4]) not in unobserved(found, asked=[("GET", "/api/collections/posts/records")])
    assert str(found[3]) in unobserved(found, written=[("posts", "create")])
    assert str(found[3]) in unobserved(found, written=[("posts", "create"), ("pages", "update")])
    assert str(found[3]) not in unobserved(found, written=[("posts", "create"), ("pages", "create")])
    assert str(found[2]) not in unobserved(found, ran=["clean"])


@pytest.mark.parametrize(
    "name", ["onMailerSend", "onRecordAfterCreateError", "onRealtimeMessageSend", "onSomethingNew"]
)
def test_what_nothing_of_ours_sets_off_stays_unobserved(name: str) -> None:
    one = Registration(Registers.EVENT, name, "a.pb.js", 1)
    asked = [("GET", "/api/collections/a/records"), ("POST", "/x")]
    assert unobserved([one], asked=asked, written=[("a", "create"), ("a", "update"), ("a", "delete")])


@pytest.mark.parametrize(
    "path, address, matches",
    [
        ("/hi/{name}", "/hi/ann", True),
        ("/hi/{name}", "/hi/ann/", True),
        ("/hi/{name}", "/hi/ann/b", False),
        ("/hi/:name", "/hi/ann?q=/x", True),
        ("/hi/:name/b.c", "/hi/ann/bxc", False),
        ("/files/{path...}", "/files/a/b/c", True),
        ("/files/*", "/files/a/b/c", True),
        ("/", "/", True),
    ],
)
def test_addresses_of_a_route_in_old_and_new_form(path: str, address: str, matches: bool) -> None:
    assert bool(route_pattern(path).match(address)) is matches


def test_jobs() -> None:
    assert [one.where for one in compare_crons(["__pbLogsCleanup__", "a", "b"], ["b", "c"])] == ["a"]
    assert compare_crons(None, ["a"]) == []
    job = Registration(Registers.CRON, "clean", "pb_hooks/a.pb.js", 7)
    assert [one.where for one in missing_crons([job], ["other"])] == ["pb_hooks/a.pb.js:7"]
    assert missing_crons([job], ["clean"]) == []
    assert missing_crons([job], None) == []


def test_output_without_trouble_has_none() -> None:
    assert load_errors("2026/11/23 09:38:53 Server started at http://127.0.0.1:1\n - item\n") == []
    assert load_errors("failed to execute a.pb.js:\nServer started\n") == []
