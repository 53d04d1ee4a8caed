"""Ranges: npm's semver text that an instance follows, and the release it resolves to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import nodesemver

from pocketfleet.domain.releases import Version
from pocketfleet.errors import NoReleaseMatches, WrongRange

LATEST = "latest"
MAX_LENGTH = 200
_SPACES = re.compile(r"[ \t\n\r\f\v]+")
#: `0.*.3`, `x.22`: npm refuses them, and ignores the number in `~0.*.3`; the library ignores it everywhere. A person
#: who writes such a thing means something else: refused everywhere.
_NUMBER_AFTER_WILDCARD = re.compile(r"(?:^|[\s|<>=~^v])(?:\d+\.)?[xX*]\.(?:[xX*]\.)?\d")


def check_range(text: str) -> str:
    """The range, with white space trimmed and single, if npm takes it for one. Raises WrongRange."""
    if not isinstance(text, str):
        raise WrongRange("A range is text, for example ~0.40.0.")
    trimmed = _SPACES.sub(" ", text.strip())
    if not trimmed:
        raise WrongRange("A range is needed, for example ~0.40.0, 0.40.6 or latest.", range="")
    if len(trimmed) > MAX_LENGTH or not trimmed.isascii() or not trimmed.isprintable():
        raise WrongRange(f"“{trimmed[:70]}” is not a version or a range such as ~0.40.0.", range=trimmed[:70])
    if trimmed == LATEST:
        return trimmed
    if _NUMBER_AFTER_WILDCARD.search(trimmed) or not _parses(trimmed):
        raise WrongRange(
            f"“{trimmed[:70]}” is not a version or a range. Examples: 0.40.6, ~0.40.0, 0.40.*, >=0.36 <0.41, latest.",
            range=trimmed[:70],
        )
    return trimmed


def _parses(text: str) -> bool:
    try:
        return nodesemver.valid_range(text, False) is not None
    except Exception:  # the library raises whatever its parser stumbles on
        return False


def is_pin(text: str) -> bool:
    """Whether the range is one exact version, which never moves."""
    return text != LATEST and text.isascii() and nodesemver.valid(text.strip(), False) is not None


@lru_cache(maxsize=20_000)
def matches(text: str, version: Version) -> bool:
    """Whether npm would let the range take this version. `latest` takes any but pre-releases."""
    if text == LATEST:
        return not version.is_prerelease
    return bool(nodesemver.satisfies(version.text, text, False))


def resolve(text: str, available: Iterable[Version]) -> Version:
    """The newest of the available releases that the range takes.

    Raises WrongRange for what is no range, and NoReleaseMatches with the nearest releases there are.
    """
    text = check_range(text)
    releases = sorted(available)
    # newest first: a look at every release of the catalogue would take tens of milliseconds
    found = next((version for version in reversed(releases) if matches(text, version)), None)
    if found is not None:
        return found
    if not releases:
        raise NoReleaseMatches(
            "No release of PocketBase is known yet. Look for some: `pocketfleet releases --refresh`.",
            range=text,
        )
    near = [str(version) for version in nearest(text, releases)]
    raise NoReleaseMatches(f"No release matches “{text}”. Near it: {', '.join(near)}.", range=text, near=near)


def nearest(text: str, releases: Sequence[Version], count: int = 4) -> list[Version]:
    """Up to `count` releases nearest to the first version that the range names; the newest ones where it names none."""
    anchor = _anchor(text)
    if anchor is None:
        return sorted(releases)[-count:]

    def distance(version: Version) -> tuple[int, int, int]:
        major, minor, patch = (abs(a - b) for a, b in zip(version.numbers, anchor, strict=True))
        return major, minor, patch

    return sorted(sorted(releases, key=distance)[:count])


def default_range(available: Iterable[Version]) -> str:
    """What a new instance follows: patches of the newest line, `~X.Y.Z` with that line's newest release."""
    return f"~{resolve(LATEST, available)}"


def _anchor(text: str) -> tuple[int, int, int] | None:
    for word in text.replace("|", " ").split():
        parts = word.lstrip("<>=~^v").split("-")[0].split("+")[0].split(".")
        if _is_number(parts[0]):
            numbers = [int(part) if _is_number(part) else 0 for part in [*parts, "0", "0"][:3]]
            return numbers[0], numbers[1], numbers[2]
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10
