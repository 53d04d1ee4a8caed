"""A restore rehearsed: other data in place of what is there; what is missing, otherwise, and what does not work."""

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
from pocketfleet.runtime.guest import make_folders
from tests.integration.rehearsal import datasets
from tests.integration.rehearsal.conftest import Rehearse

RELEASE = "0.36.9"
Restored = Callable[..., Awaitable[Report]]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few records, a file, a view, somebody, and a log; nobody may write to it."""
    folder = tmp_path_factory.mktemp("there") / "instance"
    make_folders(folder)
    datasets.superuser(folder, RELEASE)
    with datasets.serving(folder, RELEASE) as owner:
        owner.token = owner.sign_in(datasets.EMAIL, collection="_superusers")
        both = [("text", "text")]
        for name, fields in {"posts": [("title", "text"), ("file", "file")], "notes": both, "pages": both}.items():
            made = {"name": name, "type": "base", "fields": [{"name": one, "type": kind} for one, kind in fields]}
            owner.ask("POST", "/api/collections", json={**made, "listRule": "title != ''" if name == "posts" else None})
        query = {"name": "titles", "type": "view", "listRule": "", "viewQuery": "SELECT id, title FROM posts"}
        owner.ask("POST", "/api/collections", json=query)
        for number in range(3):
            owner.create("posts", {"file": ("a.txt", b"content")}, title=f"post {number}")
            owner.create("notes", text=f"note {number}")
        owner.create("pages", text="about")
        word = datasets.PASSWORD
        owner.create("users", email="ann@example.com", password=word, passwordConfirm=word)
        for post in owner.ask("GET", "/api/collections/posts/records?sort=title")["items"]:
            owner.get("GET", f"/api/collections/posts/records/{post['id']}")
    return folder


@pytest.fixture
def brought(there: Path, tmp_path: Path) -> Path:
    """A copy of what is there, to be spoilt."""
    return datasets.copied(there, tmp_path / "brought")


@pytest.fixture
def restored(there: Path, rehearsed: Rehearse) -> Restored:
    """The report on bringing a folder in place of what is there."""

    async def carry_out(folder: Path, why_alone: str = "") -> Report:
        changes = None if why_alone else changes_between(there, folder)
        given = Brought(folder, changes, why_alone=why_alone)
        return await rehearsed(folder if why_alone else there, RELEASE, RELEASE, brought=given)

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


async def test_other_data_is_told_as_such_and_explains_other_answers(restored: Restored, brought: Path) -> None:
    by_hand(
        brought,
        "DELETE FROM posts WHERE title = 'post 2'",
        "UPDATE posts SET title = 'of before' WHERE title = 'post 1'",
        "UPDATE _collections SET listRule = '', viewRule = '' WHERE name = 'notes'",
        "DROP TABLE pages",
        "DELETE FROM _collections WHERE name = 'pages'",
    )
    shutil.rmtree(brought / "pb_data" / "storage")
    report = await restored(brought)
    assert report.verdict is Verdict.CHANGED
    assert {one.text for one in report.reasons if one.severity is Severity.ROWS} == {
        "posts: 1 record of now is missing, 1 record is otherwise.",
        "3 uploaded files of now are missing.",
    }
    exposed = {one.where for one in report.reasons if one.severity is Severity.EXPOSES}
    assert {"notes.listRule", "notes.viewRule", "notes as anonymous"} <= exposed
    texts = [one.text for one in report.reasons]
    assert "The collection pages is not in it, and 1 record with it." in texts
    assert any(one.where.startswith("GET /api/files/posts/") for one in report.reasons)
    # nothing else is a reason: other answers come of other records
    others = [one for one in report.reasons if not one.where.startswith(("GET /api/files/", "storage"))]
    assert {one.where.partition(" ")[0].partition(".")[0] for one in others} == {"posts", "notes", "pages"}
    assert any(one.severity is Severity.KNOWN and "Other records" in one.text for one in report.findings)
    assert any("requests of the log are about records" in text for text in report.not_covered)
    kept = report.as_json()
    assert (report.kind, Report.from_json(kept).as_json()) == ("restore", kept)


async def test_one_that_does_not_start_is_broken(restored: Restored, brought: Path) -> None:
    (brought / "pb_migrations" / "1999999999_bad.js").write_text("migrate((app) => { app.nothing() }, (app) => null)")
    report = await restored(brought)
    assert report.verdict is Verdict.BROKEN
    assert report.reasons[0].severity is Severity.FATAL
    assert "does not start on a copy of what is brought" in report.reasons[0].text
    assert report.reasons[0].where == "1999999999_bad.js"


async def test_one_that_loses_records_at_its_start_or_its_sign_in_is_broken(restored: Restored, brought: Path) -> None:
    losing = "migrate((app) => { app.db().newQuery('DELETE FROM notes').execute() }, (app) => null)"
    (brought / "pb_migrations" / "1999999999_losing.js").write_text(losing)
    hook = 'onRecordAuthRefreshRequest((e) => { throw new ForbiddenError() }, "_superusers")'
    (brought / "pb_hooks" / "main.pb.js").write_text(hook)
    report = await restored(brought, "it is alone.")
    assert report.verdict is Verdict.BROKEN
    fatal = [one.text for one in report.reasons if one.severity is Severity.FATAL]
    assert "notes loses 3 of the 3 records that are brought, when it starts." in fatal
    assert "Its superusers cannot get in: PocketBase answers 403." in fatal


async def test_alone_it_is_never_safe_and_says_why(restored: Restored, brought: Path) -> None:
    shutil.rmtree(brought / "pb_data" / "storage")
    report = await restored(brought, "its database is damaged.")
    assert report.verdict is Verdict.CHANGED
    assert {one.text for one in report.reasons} == {
        "It could not be compared with what is there now: its database is damaged.",
        "Files that its records name are not in it.",
    }
    assert report.sections[Section.ANSWERS].facts["requests"] > 10


async def test_present_data_that_does_not_start_is_compared_by_its_files(
    brought: Path, rehearsed: Rehearse, tmp_path: Path
) -> None:
    now = datasets.copied(brought, tmp_path / "now")
    (now / "pb_migrations" / "1999999999_bad.js").write_text("migrate((app) => { app.nothing() }, (app) => null)")
    by_hand(brought, "DELETE FROM notes")
    given = Brought(brought, changes_between(now, brought))
    report = await rehearsed(now, RELEASE, RELEASE, brought=given)
    assert report.verdict is Verdict.CHANGED
    texts = [one.text for one in report.reasons]
    assert "notes: 3 records of now are missing." in texts
    assert any("does not start on that" in text and "could not be compared" in text for text in texts)
