"""Reading a log: what kind of request it was, and what is never asked again."""

from __future__ import annotations

from typing import Any

import pytest

from pocketfleet.rehearsal import requests
from pocketfleet.rehearsal.attempts import compare_attempts, not_reached
from pocketfleet.rehearsal.boot import obstacle
from pocketfleet.rehearsal.report import Severity
from pocketfleet.rehearsal.requests import pattern_of
from pocketfleet.rehearsal.sandbox import Attempt
from pocketfleet.runtime.tokens import admin_token, record_token


@pytest.mark.parametrize(
    "path, pattern",
    [
        ("/api/collections/posts/records", "/api/collections/posts/records"),
        ("/api/collections/posts/records?sort=a&filter=x", "/api/collections/posts/records?filter&sort"),
        ("/api/collections/posts/records/abcdefghijklmno?expand=a", "/api/collections/posts/records/{id}?expand"),
        ("/api/collections/abcdefghijklmno/records", "/api/collections/abcdefghijklmno/records"),
        ("/api/files/posts/short/photo_1.png?thumb=1x1", "/api/files/posts/{id}/{file}?thumb"),
        ("/orders/2024/17", "/orders/{number}/{number}"),
        ("/u/550e8400-e29b-41d4-a716-446655440000", "/u/{id}"),
        ("/hello%20you", "/hello you"),
    ],
)
def test_patterns(path: str, pattern: str) -> None:
    assert pattern_of("GET", path) == f"GET {pattern}"


FINE = {"method": "GET", "url": "/api/collections/posts/records", "status": 200, "execTime": 3.5, "type": "request"}


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "POST"},
        {"status": 0},
        {"status": 429},
        {"status": 500},
        {"execTime": 2500},
        {"referer": "https://shop.example.com/_/"},
        {"type": "job"},
        {"url": "/_/index.html"},
        {"url": "/api/health"},
        {"url": "/api/logs?page=1"},
        {"url": "/api/settings"},
        {"url": "/api/backups"},
        {"url": "/api/crons"},
        {"url": "/api/realtime"},
        {"url": "/api/admins"},
        {"url": "/api/collections/_superusers/records"},
        {"url": "/api/collections/users/auth-methods"},
        {"url": "/api/collections/posts/records?filter=" + "x" * 3000},
        {"url": "/custom?token=secret"},
        {"url": "http://elsewhere/"},
        {"url": None},
        {"status": "200"},
    ],
)
def test_left_out_of_the_log(changes: dict[str, Any]) -> None:
    assert requests._replayable(FINE) == FINE["url"]
    assert requests._replayable({**FINE, **changes}) is None


def test_files_with_tokens_are_kept_for_a_new_token() -> None:
    url = "/api/files/posts/abcdefghijklmno/a.txt?token=x"
    assert requests._replayable({**FINE, "url": url}) == url


@pytest.mark.parametrize(
    "output, named",
    [
        (
            'failed to apply migration 1717233556_v0.23_migrate.go: migrated collection "reviews" validation failure:'
            ' listRule: Invalid rule. Raw error: invalid left operand "gone" - unknown field "gone".',
            "reviews.listRule",
        ),
        (
            "failed to apply migration 1717233556_v0.23_migrate.go: failed to migrate settings: SQL logic error: error"
            " in view watch: no such table: main._admins (1)",
            "watch",
        ),
        ("Error: Failed to apply migration 1800000000_own.js: Error: no way at <eval>:1:24(3)", "1800000000_own.js"),
        ("panic: failed to execute main.pb.js:\n - ReferenceError: x is not defined", "main.pb.js"),
        ("failed to apply migration 1763020353_update.go: no such column: gone (1)", "gone"),
        ("failed to apply migration 1763020353_update.go: disk I/O error", "1763020353_update.go"),
        ("Applied 1640988000_init.go\nError: something else", ""),
        ("", ""),
    ],
)
def test_what_pocketbase_names(output: str, named: str) -> None:
    assert obstacle(output) == named


MAIL = Attempt("mail", "a@example.com", "Order 17")
WEB = Attempt("web", "pay.example.com:443", "CONNECT")


def test_attempts_that_stop_and_begin() -> None:
    other = Attempt("mail", "b@example.com", "Order 18")
    facts, findings = compare_attempts([MAIL, other, WEB], [other, WEB], [MAIL, WEB])
    assert findings == []
    assert [(one["kind"], one["before"], one["after"]) for one in facts] == [("mail", 2, 1), ("web", 1, 1)]
    _, findings = compare_attempts([MAIL, WEB], [WEB], [MAIL, WEB])
    assert [one.severity for one in findings] == [Severity.BREAKS]
    _, findings = compare_attempts([MAIL], [MAIL, WEB], [MAIL])
    assert [one.severity for one in findings] == [Severity.VALUE]
    # a job of the minute
    assert compare_attempts([MAIL], [], [])[1] == []
    assert "pay.example.com" in not_reached([WEB], [])[0]
    assert not_reached([MAIL], [MAIL]) == []


def test_tokens_are_three_parts_and_depend_on_both_keys() -> None:
    settings = {"adminAuthToken": {"secret": "s"}}
    token = admin_token("a", "k", settings)
    assert len(token.split(".")) == 3
    assert token != admin_token("a", "other", settings)
    collection = {"id": "c", "options": {"authToken": {"secret": "s"}}}
    assert record_token("a", collection, "k").startswith("eyJ")
