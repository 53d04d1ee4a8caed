"""docs/security.md names tests: they are there, and what waits for a branch is taken in once that has landed."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, page

#: A test file, as the page names it.
_TEST = r"`(tests/[\w/]+\.py)`"
_WAITING = r"<!-- lands with the branch `(\w+)`\n(.*?)\n-->"


def promised() -> str:
    """The page without the sections that wait."""
    return re.sub(_WAITING, "", page("docs/security.md"), flags=re.S)


@pytest.mark.parametrize("name", sorted(set(re.findall(_TEST, promised()))))
def test_every_test_that_holds_a_promise_is_there(name: str) -> None:
    assert "def test_" in (ROOT / name).read_text()


def test_every_promise_names_a_test() -> None:
    tables = re.findall(
        r"^\| promise \| held by \|\n\|---\|---\|\n((?:\|.*\|\n)+)", page("docs/security.md"), flags=re.M
    )
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 20
    assert [row for row in rows if not re.search(_TEST, row.rsplit(" | ", 1)[1])] == []


@pytest.mark.parametrize(
    "branch, section", re.findall(_WAITING, page("docs/security.md"), flags=re.S), ids=lambda text: text[:10]
)
def test_no_section_waits_for_what_has_landed(branch: str, section: str) -> None:
    missing = [name for name in set(re.findall(_TEST, section)) if not (ROOT / name).exists()]
    assert missing, f"{branch} has landed: take its section out of the comment in docs/security.md"


def test_the_policy_says_how_to_report_and_what_is_supported() -> None:
    policy = page("SECURITY.md")
    for words in ("## Reporting", "## Supported versions", "docs/security.md"):
        assert words in policy
