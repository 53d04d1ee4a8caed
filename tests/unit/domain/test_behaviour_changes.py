"""The list of what changed for everybody: in order, cut to the way that is gone, and taken back where it was."""

from __future__ import annotations

import itertools

from pocketfleet.domain.behaviour_changes import BEHAVIOUR_CHANGES, changes_between, known_changes
from pocketfleet.domain.releases import Version


def test_in_the_order_of_releases_in_whole_sentences() -> None:
    assert all(one.since <= other.since for one, other in itertools.pairwise(BEHAVIOUR_CHANGES))
    assert all(change.text.endswith((".", ").")) and len(change.text) < 120 for change in BEHAVIOUR_CHANGES)
    assert len({change.text for change in BEHAVIOUR_CHANGES}) == len(BEHAVIOUR_CHANGES)


def test_only_what_lies_on_the_way() -> None:
    assert changes_between(Version("0.30.4"), Version("0.30.9")) == []
    assert {str(change.since) for change in changes_between(Version("0.22.27"), Version("0.23.12"))} == {"0.23.0"}
    assert changes_between(Version("0.40.6"), Version("0.36.9")) == changes_between(
        Version("0.36.9"), Version("0.40.6")
    )


def test_what_was_taken_back_is_told_only_in_between() -> None:
    def texts(old: str, new: str) -> str:
        return " ".join(change.text for change in changes_between(Version(old), Version(new)))

    assert "taken back" in texts("0.35.0", "0.36.0")
    assert "taken back" not in texts("0.35.0", "0.36.1")


def test_schema_boundaries_stand_among_them_as_a_report_keeps_them() -> None:
    told = known_changes(Version("0.30.4"), Version("0.38.1"))
    assert [one["since"] for one in told if one["touches"] == "schema"] == ["0.33.0", "0.38.1"]
    assert [Version(one["since"]) for one in told] == sorted(Version(one["since"]) for one in told)
