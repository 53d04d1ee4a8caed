"""A restore rehearsed: other data in place of what is there, with what is missing, otherwise, and what does not work."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pocketfleet.domain.policies import Verdict
from pocketfleet.rehearsal.replaced import Brought
from pocketfleet.rehearsal.report import Finding, Report, Section, Severity
from pocketfleet.runtime.changes import changes_between
from tests.integration.rehearsal import datasets
from tests.integration.rehearsal.conftest import Rehearse, Shop

RELEASE = "0.36.9"
Restored = Callable[..., Awaitable[Report]]


@pytest.fixture
def brought(shop: Shop, tmp_path: Path) -> Path:
    """A copy of what is there, to be spoilt."""
    return datasets.copied(shop(RELEASE), tmp_path / "brought")


@pytest.fixture
def restored(shop: Shop, rehearsed: Rehearse) -> Restored:
    """The report on bringing a folder into the shop."""

    async def carry_out(folder: Path, why_alone: str = "") -> Report:
        changes = None if why_alone else changes_between(shop(RELEASE), folder)
        given = Brought(folder, changes, why_alone=why_alone)
        return await rehearsed(folder if why_alone else shop(RELEASE), RELEASE, RELEASE, brought=given)

    return carry_out


def reasons(report: Report) -> dict[str, list[Finding]]:
    """What a person must look at, by what it is about."""
    found: dict[str, list[Finding]] = {}
    for one in report.reasons:
        found.setdefault(one.where, []).append(one)
    return found


def by_hand(folder: Path, *statements: str) -> None:
    """SQL on data that nothing runs on."""
    with contextlib.closing(sqlite3.connect(folder / "pb_data" / "data.db")) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


async def test_the_same_data_is_safe(restored: Restored, brought: Path) -> None:
    report = await restored(brought)
    assert (report.kind, report.verdict, list(report.reasons)) == ("restore", Verdict.SAFE, [])
    facts = report.sections[Section.ANSWERS].facts
    assert facts["replayed"] > 20
    kept = report.as_json()
    assert Report.from_json(kept).as_json() == kept


async def test_other_records_are_told_as_data_and_explain_other_answers(restored: Restored, brought: Path) -> None:
    by_hand(
        brought,
        "DELETE FROM reviews WHERE id IN (SELECT id FROM reviews ORDER BY id LIMIT 2)",
        "UPDATE products SET name = name || ' of before' WHERE id IN (SELECT id FROM products ORDER BY id LIMIT 1)",
    )
    report = await restored(brought)
    assert report.verdict is Verdict.CHANGED
    found = reasons(report)
    assert set(found) == {"reviews", "products"}, [one.text for one in report.reasons]
    assert [one.text for one in found["reviews"]] == ["reviews: 2 records of now are missing."]
    assert [one.text for one in found["products"]] == ["products: 1 record is otherwise."]
    assert {one.severity for one in report.reasons} == {Severity.ROWS}
    assert any(one.severity is Severity.KNOWN and "Other records" in one.text for one in report.findings)


async def test_a_rule_that_lets_in_more_is_seen_among_other_records(restored: Restored, brought: Path) -> None:
    by_hand(
        brought,
        "DELETE FROM orders WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 1)",
        "UPDATE _collections SET listRule = '', viewRule = '' WHERE name = 'orders'",
    )
    report = await restored(brought)
    exposed = [one for one in report.reasons if one.severity is Severity.EXPOSES]
    assert "orders.listRule" in {one.where for one in exposed}
    assert "orders as anonymous" in {one.where for one in exposed}


async def test_a_collection_that_is_not_in_it_is_named(restored: Restored, brought: Path) -> None:
    by_hand(brought, "DROP TABLE reviews", "DELETE FROM _collections WHERE name = 'reviews'")
    report = await restored(brought)
    assert report.verdict is Verdict.CHANGED
    assert report.reasons[0].severity is Severity.BREAKS
    assert any("The collection reviews is not in it, and" in one.text for one in report.reasons)


async def test_what_loses_its_sign_in_or_does_not_start_is_broken(restored: Restored, brought: Path) -> None:
    by_hand(brought, "DROP TABLE reviews")
    (brought / "pb_migrations").mkdir(exist_ok=True)
    (brought / "pb_migrations" / "1999999999_bad.js").write_text("migrate((app) => { app.nothing() }, (app) => null)")
    report = await restored(brought)
    assert report.verdict is Verdict.BROKEN
    assert report.reasons[0].severity is Severity.FATAL
    assert "does not start on a copy of what is brought" in report.reasons[0].text
    assert report.reasons[0].where == "1999999999_bad.js"


async def test_files_that_were_left_behind_are_missed(restored: Restored, brought: Path) -> None:
    shutil.rmtree(brought / "pb_data" / "storage")
    report = await restored(brought)
    assert "uploaded files of now are missing" in reasons(report)["storage"][0].text
    assert any(one.where.startswith("GET /api/files/") for one in report.reasons)


async def test_alone_it_is_never_safe_and_says_why(restored: Restored, brought: Path) -> None:
    report = await restored(brought, "its database is damaged.")
    assert report.verdict is Verdict.CHANGED
    assert [one.text for one in report.reasons] == [
        "It could not be compared with what is there now: its database is damaged."
    ]
    assert report.sections[Section.ANSWERS].facts["requests"] > 100
    shutil.rmtree(brought / "pb_data" / "storage")
    without = await restored(brought, "its database is damaged.")
    assert "storage" in reasons(without)
