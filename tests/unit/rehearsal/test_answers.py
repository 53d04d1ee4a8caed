"""Comparing answers: what is found, what is masked, and what every upgrade brings."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

import pytest

from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.answers import Releases, cells, compare_answers, compare_probes, contains, slower
from pocketfleet.rehearsal.identities import ANONYMOUS, SUPERUSER, Identity
from pocketfleet.rehearsal.replay import Answer
from pocketfleet.rehearsal.report import Finding, Severity, Source
from pocketfleet.rehearsal.requests import Ask, ProbeSpec, pattern_of

SAME = Releases(Version("0.30.4"), Version("0.36.9"))
CROSSING = Releases(Version("0.22.27"), Version("0.40.6"))
PATH = "/api/collections/posts/records?sort=id"
SOMEBODY = Identity("one of users", "users", "abcdefghijklmno")


def ask(path: str = PATH, identity: Identity = ANONYMOUS, **more: Any) -> Ask:
    return Ask("GET", path, identity, pattern_of("GET", path), **{"about": "log", "source": Source.LOG, **more})


def answer(content: Any, status: int = 200, **more: Any) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = {"content-type": "application/json; charset=utf-8", **more.pop("headers", {})}
    return Answer(status, 1.0, headers, zlib.compress(body), len(body), hashlib.sha256(body).hexdigest(), **more)


def page(*items: dict[str, Any], total: int | None = None) -> dict[str, Any]:
    known = [{"collectionId": "c", **item} for item in items]
    return {"page": 1, "perPage": 30, "totalItems": len(items) if total is None else total, "items": known}


def found(old: Any, new: Any, again: Any = None, *, releases: Releases = SAME, **more: Any) -> list[Finding]:
    third = old if again is None else again
    before, after, last = (one if isinstance(one, Answer) else answer(one) for one in (old, new, third))
    return compare_answers([ask(**more)], [before], [after], [last], releases)


def kinds(findings: list[Finding]) -> list[tuple[Severity, list[str]]]:
    return [(one.severity, one.detail.get("paths", [])) for one in findings]


@pytest.mark.parametrize(
    "old, new, severity, paths",
    [
        ({"a": 1, "b": 2}, {"a": 1}, Severity.SHAPE, ["b"]),
        ({"a": 1}, {"a": "1"}, Severity.SHAPE, ["a"]),
        ({"a": 1}, {"a": True}, Severity.SHAPE, ["a"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, Severity.VALUE, ["a.b[]"]),
        ({"a": [1, 2]}, {"a": [1]}, Severity.VALUE, ["a"]),
        ({"a": 1}, {"a": 1, "b": 2}, Severity.ADDED, ["b"]),
        (page({"id": "1", "t": "x"}), page({"id": "1", "t": "y"}), Severity.VALUE, ["items[].t"]),
        (page({"id": "1", "t": "x"}), page({"id": "1"}), Severity.SHAPE, ["items[].t"]),
        (page({"id": "1"}), page({"id": "1", "mail": "x@y"}), Severity.EXPOSES, ["items[].mail"]),
        (page({"id": "1", "mail": ""}), page({"id": "1", "mail": "x@y"}), Severity.EXPOSES, ["items[].mail"]),
        (page({"id": "1"}), page({"id": "1", "mail": ""}), Severity.ADDED, ["items[].mail"]),
        (page({"id": "1"}), page({"id": "1"}, {"id": "2"}), Severity.EXPOSES, ["items"]),
        (page({"id": "1"}, {"id": "2"}), page({"id": "1"}), Severity.ROWS, ["items"]),
        (page({"id": "1"}), page({"id": "2"}), Severity.ROWS, ["items"]),
        (page({"id": "1"}, {"id": "2"}), page({"id": "2"}, {"id": "1"}), Severity.ORDER, ["items"]),
        (b"old bytes", b"new bytes", Severity.VALUE, [""]),
    ],
)
def test_differences_and_how_bad_they_are(old: Any, new: Any, severity: Severity, paths: list[str]) -> None:
    assert kinds(found(old, new)) == [(severity, paths)]


@pytest.mark.parametrize(
    "old, new, severity",
    [
        (403, 200, Severity.EXPOSES),
        (404, 200, Severity.EXPOSES),
        (200, 404, Severity.BREAKS),
        (200, 500, Severity.BREAKS),
        (404, 500, Severity.BREAKS),
        (200, 0, Severity.BREAKS),
        (400, 403, Severity.VALUE),
        (200, 204, Severity.VALUE),
    ],
)
def test_statuses(old: int, new: int, severity: Severity) -> None:
    findings = found(answer({}, old), answer({}, new, trouble="" if new else "timeout"))
    assert [one.severity for one in findings] == [severity]
    assert findings[0].source is Source.LOG


def test_to_the_superuser_nothing_is_exposed() -> None:
    assert kinds(found(page({"id": "1"}), page({"id": "1", "m": "x"}), identity=SUPERUSER)) == [
        (Severity.ADDED, ["items[].m"])
    ]


def test_what_varies_by_itself_is_masked_but_not_its_loss() -> None:
    old, again = {"at": "09:00", "n": 1}, {"at": "10:00", "n": 1}
    assert found(old, {"at": "11:00", "n": 1}, again) == []
    assert kinds(found(old, {"n": 1}, again)) == [(Severity.SHAPE, ["at"])]
    assert kinds(found(old, {"at": "11:00", "n": 2}, again)) == [(Severity.VALUE, ["n"])]


def test_the_mask_is_shared_by_all_requests_of_a_pattern() -> None:
    asks = [ask("/hello?to=a"), ask("/hello?to=b"), ask("/other")]
    old = [answer({"at": "1"}), answer({"at": "1"}), answer({"at": "1"})]
    again = [answer({"at": "2"}), answer({"at": "1"}), answer({"at": "1"})]
    new = [answer({"at": "3"}), answer({"at": "3"}), answer({"at": "3"})]
    assert [one.where for one in compare_answers(asks, old, new, again, SAME)] == ["GET /other"]


def test_what_the_old_release_answers_another_time_is_no_news() -> None:
    assert found({"n": 1}, {"n": 2}, {"n": 2}) == []


def test_one_finding_for_a_pattern_with_who_and_how_many() -> None:
    asks = [ask(f"/api/collections/posts/records/{c * 15}", SOMEBODY, stands_for=4) for c in "abc"]
    old, new = [answer({"id": c, "t": 1}) for c in "abc"], [answer({"id": c, "t": 2}) for c in "abc"]
    (finding,) = compare_answers(asks, old, new, old, SAME)
    assert finding.where == "GET /api/collections/posts/records/{id}"
    assert finding.detail["requests"] == 3
    assert finding.detail["logged"] == 12
    assert finding.detail["who"] == ["one of users"]


FILE = "/api/files/posts/abcdefghijklmno/a.txt"
KNOWN = [
    (PATH, answer({"code": 404, "message": "a", "data": {}}, 404), answer({"status": 404, "message": "b"}, 404)),
    (FILE, answer({}, 403), answer({}, 404)),
    (PATH, page({"id": "1", "expand": {}}), page({"id": "1"})),
    (PATH.partition("?")[0], page({"id": "1"}, {"id": "2"}), page({"id": "2"}, {"id": "1"})),
    (PATH.partition("?")[0], page({"id": "1"}, total=40), page({"id": "9"}, total=40)),
    ("/api/health", {"code": 200, "data": {}}, {"message": "fine"}),
    ("/api/collections/users/auth-methods", {"authProviders": []}, {"oauth2": {}}),
    ("/api/collections/users", {"schema": []}, {"fields": []}),
    ("/api/nothing", answer({}, 404), answer(b"<html>", 200, headers={"content-type": "text/html"})),
]


@pytest.mark.parametrize("path, old, new", KNOWN)
def test_known_across_the_rewrite(path: str, old: Any, new: Any) -> None:
    findings = found(old, new, releases=CROSSING, path=path)
    assert {one.severity for one in findings} == {Severity.KNOWN}


@pytest.mark.parametrize("path, old, new", [one for one in KNOWN if one[0] != "/api/collections/users"][1:])
def test_and_not_between_later_releases(path: str, old: Any, new: Any) -> None:
    findings = found(old, new, path=path)
    assert findings
    assert Severity.KNOWN not in {one.severity for one in findings}


def test_sorted_lists_keep_their_order() -> None:
    findings = found(page({"id": "1"}, {"id": "2"}), page({"id": "2"}, {"id": "1"}), releases=CROSSING)
    assert [one.severity for one in findings] == [Severity.ORDER]


def test_quotes_around_file_names_are_no_difference() -> None:
    old, new = ({"content-disposition": f"inline; filename={name}"} for name in ("a.txt", '"a.txt"'))
    assert found(answer(b"x", headers=old), answer(b"x", headers=new), path=FILE) == []


def test_no_token_gets_into_a_finding() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJpZCI6ImEifQ.c2lnbmF0dXJl"
    (finding,) = found({"token": token}, {"token": "none"}, path=f"/x?token={token}")
    assert "eyJ" not in json.dumps(finding.as_json())


@pytest.mark.parametrize(
    "content, expected, holds",
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": [{"id": 1}, {"id": 2}]}, {"a": [{"id": 2}]}, True),
        ({"a": []}, {"a": [1]}, False),
        (None, {"a": 1}, False),
        ([1, 2], [2], True),
        ("x", "x", True),
    ],
)
def test_what_a_probe_expects(content: Any, expected: Any, holds: bool) -> None:
    assert contains(content, expected) is holds


def test_probes() -> None:
    def probe(**more: Any) -> Ask:
        return ask("/p", source=Source.PROBE, about="probe", probe=ProbeSpec("GET", "/p", **more))

    asks = [probe(expect_status=200), probe(expect_json={"a": 1}), probe(expect_status=200)]
    old = [answer({}), answer({"a": 1}), answer({}, 500)]
    new = [answer({}), answer({"a": 2}), answer({}, 500)]
    assert [one.severity for one in compare_probes(asks, old, new)] == [Severity.BREAKS, Severity.KNOWN]


def test_cells_say_who_sees_what() -> None:
    where: dict[str, Any] = {"collection": "posts", "source": Source.SYNTHETIC}
    asks = [ask(about="list", **where), ask(about="sample", **where), ask(about="view", **where)]
    asks.append(ask(about="list", identity=SOMEBODY, **where))
    record = {"id": "1", "title": "x", "empty": "", "expand": {"a": 1}}
    answers = [answer(page(record, total=99)), answer(page(record)), answer(record), answer({}, 403)]
    got = cells(asks, answers)
    seen = got["posts", "anonymous"]
    assert (seen.status, seen.total) == (200, 99)
    assert seen.visible == {"1", "1 by itself"}
    assert seen.fields == {"id", "title", "collectionId"}
    assert (got["posts", "one of users"].status, got["posts", "one of users"].total) == (403, None)


def test_slower_routes_are_facts() -> None:
    asks = [ask("/a"), ask("/b")]
    old = [Answer(200, 10.0), Answer(200, 10.0)]
    new = [Answer(200, 12.0), Answer(200, 400.0)]
    assert slower(asks, old, new) == [{"route": "GET /b", "before": 10.0, "after": 400.0}]
