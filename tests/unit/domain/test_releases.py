"""Versions in their order, their lines, and the schema boundaries between them."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pocketfleet.domain.releases import (
    SCHEMA_BOUNDARIES,
    SCHEMA_BOUNDARIES_KNOWN_UNTIL,
    Version,
    boundaries_between,
    has_superusers_collection,
)
from pocketfleet.errors import WrongRange

#: in npm's own order
ORDERED = json.loads(Path(__file__).with_name("npm_ranges.json").read_text())["versions"]


def test_the_order_is_npms() -> None:
    shuffled = [Version(text) for text in ORDERED]
    random.Random(1).shuffle(shuffled)
    assert [version.text for version in sorted(shuffled)] == ORDERED
    for low, high in itertools.pairwise(ORDERED):
        assert Version(low) < Version(high) <= Version(high)
        assert Version(high) > Version(low)
        assert Version(low) != Version(high)


@given(st.text(max_size=120) | st.text("0123456789.-+vrc= ", max_size=20))
@example("1٢.0.0")
@example("0.22.27\n")
@example("9" * 90 + ".0.0")
@example("\ud800")
def test_any_text_is_a_version_or_refused(text: str) -> None:
    try:
        version = Version.parse(text)
    except WrongRange:
        return
    assert Version.parse(version.text) == version
    assert version.text.isascii()
    assert len(version.numbers) == 3
    assert version.line == f"{version.numbers[0]}.{version.numbers[1]}"
    assert not version < version


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("0.22.27", "0.22.27"), ("v0.22.27", "0.22.27"), (" 0.23.0-rc1 ", "0.23.0-rc1"), ("1.2.3+linux.5", "1.2.3")],
)
def test_what_is_parsed_is_canonical(text: str, canonical: str) -> None:
    assert Version.parse(text).text == canonical


@pytest.mark.parametrize("text", ["", "0.22", "latest", "0.22.x", "~0.22.0", "0.22.027", "0.22.27.1", "pocketbase"])
def test_what_is_no_whole_version_is_refused(text: str) -> None:
    with pytest.raises(WrongRange):
        Version.parse(text)


def test_prereleases_are_known() -> None:
    assert Version("0.23.0-rc1").is_prerelease
    assert not Version("0.23.0").is_prerelease


def test_boundaries_are_in_order_and_until_the_release_that_was_read() -> None:
    assert list(SCHEMA_BOUNDARIES) == sorted(set(SCHEMA_BOUNDARIES))
    assert SCHEMA_BOUNDARIES[-1] <= SCHEMA_BOUNDARIES_KNOWN_UNTIL


@pytest.mark.parametrize(
    ("old", "new", "crossed"),
    [
        ("0.22.13", "0.22.14", ["0.22.14"]),
        ("0.22.14", "0.22.38", []),
        ("0.22.38", "0.23.0", ["0.23.0"]),
        ("0.22.27", "0.40.6", ["0.23.0", "0.33.0", "0.38.1"]),
        ("0.40.6", "0.22.27", ["0.23.0", "0.33.0", "0.38.1"]),
        ("0.38.0", "0.38.1", ["0.38.1"]),
        ("0.40.6", "0.40.6", []),
    ],
)
def test_boundaries_between(old: str, new: str, crossed: list[str]) -> None:
    assert [version.text for version in boundaries_between(Version(old), Version(new))] == crossed


def test_superusers_are_records_from_0_23_on() -> None:
    assert not has_superusers_collection(Version("0.22.38"))
    assert has_superusers_collection(Version("0.23.0-rc1"))
    assert has_superusers_collection(Version("0.40.6"))
