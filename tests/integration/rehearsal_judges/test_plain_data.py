"""On plain, realistic data nothing is reported but what is known: real releases, old form and new."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pocketfleet.rehearsal.digests import compare_master, compare_records, record_counts
from pocketfleet.rehearsal.inspected import Inspected
from pocketfleet.rehearsal.report import Finding, Severity
from pocketfleet.rehearsal.rules import compare_rules
from pocketfleet.rehearsal.schema import compare_indexes, compare_schema
from pocketfleet.rehearsal.settings import compare_settings, ways_to_sign_in

After = Callable[[str, str], Inspected]
PAIRS = [
    ("0.22.27", "0.22.27"), ("0.22.27", "0.23.12"), ("0.22.27", "0.30.4"), ("0.22.27", "0.36.9"),
    ("0.22.27", "0.40.6"), ("0.23.12", "0.30.4"), ("0.23.12", "0.36.9"), ("0.23.12", "0.40.6"),
]  # fmt: skip


def compared(old: Inspected, new: Inspected) -> list[Finding]:
    """All that the files of two clones say."""
    return [
        *compare_schema(old.collections, new.collections),
        *compare_indexes(old.master, new.master, {"_admins": "_superusers"}),
        *compare_master(old.master, new.master),
        *compare_records(old, new),
        *compare_rules(old.collections, new.collections),
        *compare_settings(old, new),
    ]


@pytest.mark.parametrize("old, new", PAIRS)
def test_nothing_but_known_changes(after: After, old: str, new: str) -> None:
    findings = compared(after(old, old), after(old, new))
    assert [finding for finding in findings if finding.severity is not Severity.KNOWN] == []


def test_the_forms_that_are_compared_hold_what_the_shop_has(after: After) -> None:
    """The comparison is not clean for want of something to compare."""
    for release in ("0.22.27", "0.23.12"):
        seen = after(release, release)
        assert seen.counts["products"] == 12
        assert {"orders", "people", "prices", "products"} <= {one["name"] for one in seen.collections}
        ways = ways_to_sign_in(seen)["people"]
        assert ways["passwordAuth.enabled"] is True
        assert "authToken.secret" in ways


def test_counts_for_the_report_name_tables_as_they_are_called_now(after: After) -> None:
    counts = record_counts(after("0.22.27", "0.22.27"), after("0.22.27", "0.40.6"))
    assert counts["_superusers"] == {"before": 1, "after": 1}
    assert counts["orders"] == {"before": 8, "after": 8}
    assert "_collections" not in counts
