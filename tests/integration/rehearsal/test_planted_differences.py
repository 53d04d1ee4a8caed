"""Differences that were planted between two releases, by hooks and a migration that know which one they run in."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketfleet.domain.policies import Verdict
from pocketfleet.rehearsal.report import Finding, Report, Section, Severity, Source
from tests.integration.rehearsal import datasets
from tests.integration.rehearsal.conftest import Rehearse

#: 0.40 has this setting and 0.36 has not
IS_NEW = 'JSON.stringify($app.settings()).includes("superuserIPs")'
MIGRATION = f"""
migrate((app) => {{
  if (!{IS_NEW.replace("$app", "app")}) return
  const set = (name, change) => {{ const c = app.findCollectionByNameOrId(name); change(c); app.save(c) }}
  set("products", (c) => {{ c.listRule = "active = true || @request.auth.role = 'staff'" }})
  set("reviews", (c) => {{ c.fields.removeByName("text"); c.updateRule = null }})
  set("orders", (c) => {{ c.indexes = [] }})
  app.db().newQuery("UPDATE products SET name = name || '!' WHERE name = 'product 3'").execute()
}}, (app) => null)
"""
HOOKS = f"""
routerAdd("GET", "/count", (e) => {{
  const isNew = {IS_NEW}
  return e.json(200, isNew ? {{total: 6, noise: Math.random()}} : {{total: 5, noise: Math.random(), until: "now"}})
}})
routerAdd("GET", "/report", (e) => {{
  if ({IS_NEW}) throw new ForbiddenError("not for you")
  return e.json(200, {{}})
}})
routerAdd("GET", "/secret", (e) => {{
  if (!{IS_NEW}) throw new ForbiddenError("not for you")
  return e.json(200, {{}})
}})
routerAdd("GET", "/die", (e) => $os.exit(7))
routerAdd("GET", "/fall", (e) => {{ if ({IS_NEW}) $os.exit(7); return e.json(200, {{}}) }})
routerAdd("POST", "/order", (e) => e.json({IS_NEW} ? 500 : 200, {{}}))
routerAdd("GET", "/mail", (e) => {{
  const message = new MailerMessage({{
    from: {{address: "shop@example.com"}}, to: [{{address: "some@example.com"}}], subject: "Your order", html: "<p/>",
  }})
  if (!{IS_NEW}) $app.newMailClient().send(message)
  return e.json(200, {{}})
}})
onRecordEnrich((e) => {{ if ({IS_NEW}) e.record.set("stars", 0); e.next() }}, "reviews")
cronAdd("nightly", "0 3 * * *", () => {{ if ({IS_NEW}) throw new Error("no night") }})
"""
PROBES = (
    {"method": "GET", "path": "/count", "expect_status": 200, "expect_json": {"total": 5}},
    {"method": "POST", "path": "/order", "identity": "superuser", "expect_status": 200},
    {"method": "GET", "path": "/api/health", "expect_status": 299},
)


async def test_everything_planted_is_found(spoilt: Callable[[str], Path], rehearsed: Rehearse) -> None:
    data = spoilt("0.36.9")
    (data / "pb_hooks" / "main.pb.js").write_text(HOOKS)
    (data / "pb_migrations" / "1900000000_planted.js").write_text(MIGRATION)
    report = await rehearsed(data, "0.36.9", "0.40.6", probes=PROBES)
    assert report.verdict is Verdict.CHANGED
    found = Found(report)

    # data and schema
    assert found.one(Section.RECORDS, "products.name")
    assert found.one(Section.SCHEMA, "reviews.text", severity=Severity.SHAPE)
    assert found.one(Section.SCHEMA, "orders")
    # rules: a staff rule shows with the staff alone
    exposed = found.all(Section.RULES, severity=Severity.EXPOSES, words="products")
    assert exposed
    assert all("role staff" in one.where for one in exposed)
    assert found.one(Section.RULES, words="can no longer change in reviews")
    # answers
    assert found.one(Section.ANSWERS, "GET /report", severity=Severity.BREAKS)
    assert found.one(Section.ANSWERS, "GET /secret", severity=Severity.EXPOSES)
    assert [one.detail["paths"] for one in found.all(Section.ANSWERS, "GET /count", severity=Severity.VALUE)] == [
        ["total"]
    ]
    assert found.one(Section.ANSWERS, "GET /count", severity=Severity.SHAPE).detail["paths"] == ["until"]
    # one that always ends PocketBase is left out, one that does so now is found, and all others are asked
    assert any("GET /die" in text for text in report.not_covered)
    assert found.one(Section.ANSWERS, "GET /fall", severity=Severity.BREAKS).detail["after"] == "ended"
    assert found.one(Section.ANSWERS, "POST /order", severity=Severity.BREAKS)
    stars = found.all(Section.ANSWERS, words="stars")
    assert any(one.source is Source.LOG for one in stars)
    assert not found.all(words="noise")
    # what hooks do by themselves
    assert found.one(Section.ATTEMPTS, severity=Severity.BREAKS, words="Your order")
    assert found.one(Section.HOOKS, severity=Severity.BREAKS, words="no night")
    # the owner's probes come before what we thought of; one that failed before is told, and no reason
    probes = [one for one in report.findings if one.source is Source.PROBE and "Your probe" in one.text]
    assert [(one.severity, one.where) for one in probes] == [
        (Severity.BREAKS, "GET /count"),
        (Severity.BREAKS, "POST /order"),
        (Severity.KNOWN, "GET /api/health"),
    ]
    # worst first
    assert report.reasons[0].severity is Severity.EXPOSES


async def test_a_lost_record_is_broken(spoilt: Callable[[str], Path], rehearsed: Rehearse) -> None:
    data = spoilt("0.36.9")
    lose = f'migrate((app) => {{ if ({IS_NEW.replace("$app", "app")}) app.delete(app.findAllRecords("ledger")[0]) }})'
    (data / "pb_migrations" / "1900000000_lose.js").write_text(lose)
    report = await rehearsed(data, "0.36.9", "0.40.6")
    assert report.verdict is Verdict.BROKEN
    assert report.reasons[0].section is Section.RECORDS
    assert "ledger" in report.reasons[0].text


OBSTACLES = [
    ("rule", "reviews.listRule"),
    ("view on a system table", "watch"),
    ("migration in old syntax", "1900000000_old.js"),
]


@pytest.mark.parametrize("what, where", OBSTACLES)
async def test_what_stops_a_release_is_named(
    spoilt: Callable[[str], Path], rehearsed: Rehearse, what: str, where: str
) -> None:
    data = spoilt("0.22.27")
    if what == "migration in old syntax":
        text = 'migrate((db) => { new Dao(db).findCollectionByNameOrId("reviews") }, () => null)'
        (data / "pb_migrations" / where).write_text(text)
    statement = {
        "rule": "UPDATE _collections SET listRule = 'gone = 1' WHERE name = 'reviews'",
        "view on a system table": "CREATE VIEW watch AS SELECT id, email FROM _admins",
    }.get(what)
    if statement:
        with sqlite3.connect(data / "pb_data" / "data.db") as database:
            database.execute(statement)
        database.close()
    report = await rehearsed(data, "0.22.27", "0.40.6")
    assert report.verdict is Verdict.BROKEN
    assert (report.reasons[0].section, report.reasons[0].where) == (Section.BOOT, where)
    starts = report.sections[Section.BOOT].facts
    assert [start["answered"] for start in starts["old"]] == [True, True]
    assert [start["answered"] for start in starts["new"]] == [False]


async def test_encrypted_settings_with_their_key_and_without(shop: Callable[[str], Path], rehearsed: Rehearse) -> None:
    data = shop("0.36.9 encrypted")
    known = {"secrets": {datasets.KEY_NAME: datasets.KEY}, "encryption_env": datasets.KEY_NAME}
    report = await rehearsed(data, "0.36.9", "0.40.6", **known)
    assert report.verdict is Verdict.SAFE
    report = await rehearsed(data, "0.36.9", "0.40.6")
    assert report.verdict is Verdict.BROKEN
    assert "encrypted" in report.reasons[0].text


class Found:
    """The findings of a report, by section, place, severity and words."""

    def __init__(self, report: Report) -> None:
        self._findings = report.findings

    def all(
        self, section: Section | None = None, where: str = "", *, severity: Severity | None = None, words: str = ""
    ) -> list[Finding]:
        return [
            one
            for one in self._findings
            if (section is None or one.section is section)
            and (not where or one.where == where)
            and (severity is None or one.severity is severity)
            and words in one.text
        ]

    def one(self, section: Section, where: str = "", *, severity: Severity | None = None, words: str = "") -> Finding:
        """Some of these are also found from another side; the worst is meant."""
        found = self.all(section, where, severity=severity, words=words)
        assert found, (section, where, severity, words, [(one.section, one.where, one.text) for one in self._findings])
        return found[0]
