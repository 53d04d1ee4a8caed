"""docs/security.md names the tests that hold each promise: they are there."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, page

#: A test file, as the page names it.
_TEST = r"`(tests/[\w/]+\.py)`"


@pytest.mark.parametrize("name", sorted(set(re.findall(_TEST, page("docs/security.md")))))
def test_every_test_that_holds_a_promise_is_there(name: str) -> None:
    assert "def test_" in (ROOT / name).read_text()


def test_every_promise_names_a_test() -> None:
    tables = re.findall(
        r"^\| promise \| held by \|\n\|---\|---\|\n((?:\|.*\|\n)+)", page("docs/security.md"), flags=re.M
    )
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 20
    assert [row for row in rows if not re.search(_TEST, row.rsplit(" | ", 1)[1])] == []


def test_the_policy_says_how_to_report_and_what_is_supported() -> None:
    policy = page("SECURITY.md")
    for words in ("## Reporting", "## Supported versions", "docs/security.md"):
        assert words in policy
