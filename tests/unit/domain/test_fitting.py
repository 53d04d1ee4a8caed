"""Which release fits data, and ids that follow from an operation's."""

from __future__ import annotations

import pytest

from pocketfleet.domain.fitting import check_fits, choose_release, range_for
from pocketfleet.domain.hostnames import is_id
from pocketfleet.domain.ids import derived_id
from pocketfleet.domain.releases import Version
from pocketfleet.errors import ReleaseDoesNotFit

KNOWN = [
    Version(text) for text in ("0.22.20", "0.22.27", "0.23.12", "0.30.4", "0.32.0", "0.36.9", "0.40.6", "0.41.0-rc1")
]
OLD, EARLY, LATE = ">=0.22.14 <0.23.0", ">=0.23.0 <0.33.0", ">=0.38.1"


@pytest.mark.parametrize(
    "age, preferred, chosen",
    [
        (OLD, ["0.22.20"], "0.22.20"),
        (OLD, ["0.40.6"], "0.22.27"),
        (OLD, ["0.40.6", "0.22.20"], "0.22.20"),
        (OLD, [], "0.22.27"),
        (EARLY, ["0.30.4"], "0.30.4"),
        (EARLY, ["0.22.27", ""], "0.32.0"),
        (EARLY, ["0.36.9", "0.23.12"], "0.23.12"),
        (LATE, ["0.36.9"], "0.40.6"),
        (LATE, ["0.39.0"], "0.39.0"),
    ],
)
def test_the_first_that_runs_it_as_it_is(age: str, preferred: list[str], chosen: str) -> None:
    assert choose_release(age, KNOWN, preferred).text == chosen


def test_where_nothing_fits_it_says_what_would() -> None:
    with pytest.raises(ReleaseDoesNotFit, match="0\\.22\\.14") as caught:
        choose_release(OLD, [Version("0.40.6")], ["0.40.6"])
    assert caught.value.facts["range"] == OLD
    with pytest.raises(ReleaseDoesNotFit):
        check_fits(OLD, Version("0.40.6"))
    check_fits(LATE, Version("0.40.6"))


@pytest.mark.parametrize(
    "current, release, after",
    [
        ("~0.40.0", "0.40.6", "~0.40.0"),
        ("~0.40.0", "0.22.27", "~0.22.27"),
        ("latest", "0.36.9", "latest"),
        ("", "0.36.9", "~0.36.9"),
        ("0.36.9", "0.36.9", "0.36.9"),
    ],
)
def test_the_range_stays_where_it_takes_the_release(current: str, release: str, after: str) -> None:
    assert range_for(current, Version(release)) == after


def test_derived_ids_are_ids_and_differ() -> None:
    made = {derived_id(operation, what) for operation in ("a" * 15, "b" * 15) for what in ("checkpoint", "rehearsal")}
    assert len(made) == 4
    assert all(is_id(each) for each in made)
    assert derived_id("a" * 15, "checkpoint") == derived_id("a" * 15, "checkpoint")
