"""Ranges: npm's own answers for some hundreds of them, and no text that breaks anything."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketfleet.domain import ranges
from pocketfleet.domain.releases import Version
from pocketfleet.errors import NoReleaseMatches, WrongRange

TABLE: dict[str, Any] = json.loads(Path(__file__).with_name("npm_ranges.json").read_text())
VERSIONS = [Version(text) for text in TABLE["versions"]]

#: node-semver lets `~0.40.1`, `0.40` and `<0.41` end at 0.41.0, npm at 0.41.0-0: so a range that names a pre-release
#: and shuts it out in the same breath (`0.40 >=0.41.0-rc.1`) takes it here. Nothing else differs in 23,775
#: random ranges.
MOST_DIFFERENT = 0.015
RANGE_LIKE = st.text("0123456789.xX*<>=~^|- v\tabrc+", max_size=40)


def accepted(text: str) -> str | None:
    try:
        return ranges.check_range(text)
    except WrongRange:
        return None


def names_a_number_after_a_wildcard(case: dict[str, Any]) -> bool:
    """Refused on purpose, wherever it stands; npm refuses `0.*.3` and shrugs at `~0.*.3`."""
    return bool(ranges._NUMBER_AFTER_WILDCARD.search(case["range"]))


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: repr(case["range"]))
def test_npm_says_the_same(case: dict[str, Any]) -> None:
    checked = accepted(case["range"])
    if not case["range"].strip() or names_a_number_after_a_wildcard(case):
        assert checked is None
        return
    assert (checked is not None) == case["valid"]
    assert ranges.is_pin(case["range"]) == case["exact"]
    if checked is None:
        return
    taken = [version.text for version in VERSIONS if ranges.matches(checked, version)]
    more = set(taken) - set(case["matches"])
    assert set(case["matches"]) <= set(taken)
    assert all("-" in version for version in more)
    if more:
        return
    if case["newest"] is None:
        with pytest.raises(NoReleaseMatches):
            ranges.resolve(checked, VERSIONS)
    else:
        assert ranges.resolve(checked, reversed(VERSIONS)).text == case["newest"]


def test_next_to_no_range_differs() -> None:
    different = [
        case["range"]
        for case in TABLE["cases"]
        if case["valid"]
        and (checked := accepted(case["range"])) is not None
        and [version.text for version in VERSIONS if ranges.matches(checked, version)] != case["matches"]
    ]
    assert "<=0.23.0-rc1 <0.23" in different
    assert len(different) <= MOST_DIFFERENT * len(TABLE["cases"])


def test_the_table_is_worth_something() -> None:
    assert len(TABLE["cases"]) > 500
    assert sum(case["valid"] for case in TABLE["cases"]) > 400
    assert sum(any("-" in version for version in case["matches"]) for case in TABLE["cases"]) > 40


@given(st.text(max_size=300) | RANGE_LIKE)
@example("²")
@example("1٢.0.0")
@example("\ud800")
@example("0.22\x1c")
@example("~" + "9" * 150)
@example("1.2.3-" + "a" * 180)
@example("9" * 60 + " - " + "9" * 60)
def test_any_text_gets_a_plain_answer(text: str) -> None:
    known = [Version("0.22.27"), Version("0.40.6"), Version("0.41.0-rc.1")]
    ranges.is_pin(text)
    assert len(ranges.nearest(text, known)) == 3
    try:
        checked = ranges.check_range(text)
    except WrongRange:
        with pytest.raises(WrongRange):
            ranges.resolve(text, known)
        return
    assert ranges.check_range(checked) == checked
    if any(ranges.matches(checked, version) for version in known):
        assert ranges.matches(checked, ranges.resolve(text, known))
        return
    with pytest.raises(NoReleaseMatches) as caught:
        ranges.resolve(text, known)
    assert set(caught.value.facts["near"]) == {version.text for version in known}


@pytest.mark.parametrize("text", [None, 5, b"0.22", ["0.22"]])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(WrongRange):
        ranges.check_range(text)


@pytest.mark.parametrize(
    "text",
    [
        " " * 100 + "0" + " " * 99,
        "=" * 200,
        "v " * 100,
        "= v" * 66,
        "~ " * 100,
        "0.0.0-" + "-" * 194,
        "0.0.0-" + "a." * 97,
        "0.0.0+" + "a." * 97,
        "|" * 200,
        "|| " * 66,
        "1 - " * 50,
        "x" * 200,
        "x." * 100,
        "<" * 200,
        "0" * 200,
        "9 " * 100,
    ],
)
def test_hostile_ranges_are_answered_at_once(text: str) -> None:
    start = time.process_time()
    accepted(text)
    ranges.is_pin(text)
    assert time.process_time() - start < 0.5


def test_longer_ranges_never_reach_the_library() -> None:
    with pytest.raises(WrongRange):
        ranges.check_range("0.22 || " * 26 + "0.22")
    assert ranges.check_range("0.22 || " * 24 + "0.22")


def test_white_space_is_made_single() -> None:
    assert ranges.check_range("  >=0.22 \t\n <0.24 ") == ">=0.22 <0.24"


def test_latest_is_the_newest_that_is_no_prerelease() -> None:
    assert ranges.resolve("latest", VERSIONS[: VERSIONS.index(Version("1.0.0-alpha"))]).text == "0.40.6"
    assert not ranges.is_pin("latest")
    with pytest.raises(NoReleaseMatches):
        ranges.resolve("latest", [Version("0.41.0-rc.1")])


def test_new_instances_follow_patches_of_the_newest_line() -> None:
    releases = [Version(text) for text in ("0.40.6", "0.22.27", "0.39.11", "0.40.0", "0.41.0-rc.1")]
    assert ranges.default_range(releases) == "~0.40.6"
    assert ranges.resolve(ranges.default_range(releases), releases) == Version("0.40.6")
    with pytest.raises(NoReleaseMatches, match="--refresh"):
        ranges.default_range([])


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("~0.22.90", ["0.22.14", "0.22.27"]),
        ("0.24.0", ["0.23.0", "0.23.12"]),
        (">=0.99", ["0.39.11", "0.40.6"]),
        ("7.x", ["0.22.14", "0.23.0"]),
        ("< 0.1", ["0.22.14", "0.22.27"]),
    ],
)
def test_what_matches_nothing_names_the_releases_near_it(text: str, near: list[str]) -> None:
    releases = [Version(item) for item in ("0.22.14", "0.22.27", "0.23.0", "0.23.12", "0.39.11", "0.40.6")]
    with pytest.raises(NoReleaseMatches) as caught:
        ranges.resolve(text, releases)
    shown = [item for item in caught.value.facts["near"] if item in near]
    assert shown == near
    assert all(item in caught.value.detail for item in near)


def test_nothing_named_means_the_newest_are_near() -> None:
    releases = [Version(f"0.{minor}.0") for minor in range(20)]
    assert [item.text for item in ranges.nearest("x", releases)] == ["0.16.0", "0.17.0", "0.18.0", "0.19.0"]
