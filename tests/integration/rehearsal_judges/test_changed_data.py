"""What is really changed is found and weighed, also across the rewrite of 0.23."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.domain.releases import Version
from pocketfleet.rehearsal.digests import compare_records
from pocketfleet.rehearsal.inspected import read_data
from pocketfleet.rehearsal.limits import compare_limits
from pocketfleet.rehearsal.report import Finding, Severity
from tests.integration.rehearsal_judges.shops import clone, running
from tests.integration.rehearsal_judges.test_plain_data import After, compared

#: Data of 0.22 under the newest, and data of 0.23 under the newest.
PAIRS = [("0.22.27", "0.40.6"), ("0.23.12", "0.40.6")]
Change = Callable[[sqlite3.Connection], object]


@pytest.fixture
def findings_of(
    after: After, started: Callable[[str, str], Path], tmp_path: Path
) -> Callable[[str, str, Change], list[Finding]]:
    """What is found where something happens to upgraded data."""

    def find(old: str, new: str, change: Change) -> list[Finding]:
        folder = clone(started(old, new), tmp_path / old)
        with closing(sqlite3.connect(folder / "pb_data" / "data.db")) as database:
            change(database)
            database.commit()
        found = compared(after(old, old), read_data(folder, Version(new)))
        return [finding for finding in found if finding.severity is not Severity.KNOWN]

    return find


def collection(database: sqlite3.Connection, name: str, column: str, change: Callable[[str], str]) -> None:
    (text,) = database.execute(f"SELECT {column} FROM _collections WHERE name = ?", [name]).fetchone()
    changed = change(text)
    assert changed != text
    database.execute(f"UPDATE _collections SET {column} = ? WHERE name = ?", [changed, name])


def fields(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        all_ = json.loads(text)
        change({field["name"]: field for field in all_})
        return json.dumps([field for field in all_ if field.get("type")])

    return apply


def options(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def apply(text: str) -> str:
        all_ = json.loads(text)
        change(all_)
        return json.dumps(all_)

    return apply


CASES: dict[str, tuple[Change, Severity, str]] = {
    "a record lost": (lambda db: db.execute("DELETE FROM orders WHERE rowid = 1"), Severity.FATAL, "orders"),
    "records replaced": (
        lambda db: db.execute("UPDATE products SET id = 'zzzzzzzzzzzzzz' || (rowid % 10) WHERE rowid = 1"),
        Severity.FATAL, "products.id",
    ),
    "a table lost": (lambda db: db.execute("DROP TABLE orders"), Severity.FATAL, "orders"),
    "a title changed": (
        lambda db: db.execute("UPDATE products SET title = 'Other' WHERE rowid = 1"), Severity.VALUE, "products.title",
    ),
    "a password changed": (
        lambda db: db.execute("UPDATE people SET password = 'x' WHERE rowid = 1"), Severity.BREAKS, "people.password",
    ),
    "keys changed": (
        lambda db: db.execute("UPDATE people SET tokenKey = tokenKey || 'x'"), Severity.BREAKS, "people.tokenKey",
    ),
    "an index dropped": (lambda db: db.execute("DROP INDEX idx_active"), Severity.VALUE, "products"),
    "a unique index dropped": (lambda db: db.execute("DROP INDEX idx_title"), Severity.SHAPE, "products"),
    "a rule loosened": (
        lambda db: collection(db, "orders", "listRule", lambda text: f"{text} || note != ''"),
        Severity.VALUE, "orders.listRule",
    ),
    "a rule opened to everybody": (
        lambda db: collection(db, "people", "viewRule", lambda text: ""), Severity.EXPOSES, "people.viewRule",
    ),
    "a field unprotected": (
        lambda db: collection(db, "people", "fields", fields(lambda f: f["avatar"].update(protected=False))),
        Severity.EXPOSES, "people.avatar",
    ),
    "a field hidden": (
        lambda db: collection(db, "products", "fields", fields(lambda f: f["price"].update(hidden=True))),
        Severity.SHAPE, "products.price",
    ),
    "a field gone": (
        lambda db: collection(db, "products", "fields", fields(lambda f: f["about"].update(type=""))),
        Severity.SHAPE, "products.about",
    ),
    "another type": (
        lambda db: collection(db, "products", "fields", fields(lambda f: f["released"].update(type="text"))),
        Severity.SHAPE, "products.released",
    ),
    "a limit of zero lost": (
        lambda db: collection(db, "products", "fields", fields(lambda f: f["price"].update(min=None))),
        Severity.VALUE, "products.price",
    ),
    "another duration of tokens": (
        lambda db: collection(db, "people", "options", options(lambda o: o["authToken"].update(duration=9))),
        Severity.VALUE, "people.authToken.duration",
    ),
    "passwords switched off": (
        lambda db: collection(db, "people", "options", options(lambda o: o["passwordAuth"].update(enabled=False))),
        Severity.BREAKS, "people.passwordAuth.enabled",
    ),
    "another sender": (
        lambda db: db.execute("UPDATE _params SET value = replace(CAST(value AS TEXT), 'shop@example.com', 'x@y.z')"),
        Severity.VALUE, "settings.meta.senderAddress",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_change_is_found_weighed_and_named(
    findings_of: Callable[[str, str, Change], list[Finding]], name: str
) -> None:
    change, severity, where = CASES[name]
    for old, new in PAIRS:
        found = findings_of(old, new, change)
        assert (severity, where) in [(finding.severity, finding.where) for finding in found], found


def test_a_secret_is_never_shown(findings_of: Callable[[str, str, Change], list[Finding]]) -> None:
    def change(database: sqlite3.Connection) -> None:
        collection(database, "people", "options", lambda text: text.replace("s" * 40, "t" * 40))
        old, new = '"password":"p"', '"password":"q7"'
        database.execute("UPDATE _params SET value = replace(CAST(value AS TEXT), ?, ?)", [old, new])

    found = findings_of("0.22.27", "0.40.6", change)
    assert {finding.where for finding in found} == {"people.authToken.secret", "settings.smtp.password"}
    told = json.dumps([finding.as_json() for finding in found])
    assert "tttt" not in told
    assert "ssss" not in told
    assert "q7" not in told


def test_a_text_too_long_for_the_new_release_is_found_and_really_cannot_be_saved(shop: Callable[[str], Path]) -> None:
    old, new = "0.22.27", "0.40.6"
    folder = shop(old)
    with running(folder, old) as there:
        there.sign_in()
        (order,) = there.request("GET", "/api/collections/orders/records?perPage=1")["items"]
        path = f"/api/collections/orders/records/{order['id']}"
        there.request("PATCH", path, {"note": "ä" * 5001})
    before = read_data(folder, Version(old))
    with running(folder, new) as there:
        there.sign_in()
        assert there.ask("PATCH", path, {"items": []})[0] == 400
    (finding,) = compare_limits(before, read_data(folder, Version(new)))
    assert (finding.severity, finding.where) == (Severity.BREAKS, "orders.note")
    assert finding.detail == {"longest": 5001, "limit": 5000}
    assert [one.where for one in compare_records(before, read_data(folder, Version(new)))] == ["orders.note"]
