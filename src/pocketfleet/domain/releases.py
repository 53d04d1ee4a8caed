"""Releases and their lines; which releases carry a system migration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, total_ordering

import nodesemver

from pocketfleet.errors import WrongRange


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """One exact version as semver.org orders them; `text` is canonical (`0.22.27`, `0.23.0-rc1`)."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Version:
        """Raises WrongRange for what is not a whole version; a leading `v` or `=` is taken off."""
        fits = isinstance(text, str) and text.isascii() and len(text) <= 100
        parsed = nodesemver.valid(text.strip(), False) if fits else None
        if parsed is None:
            raise WrongRange(f"“{str(text)[:70]}” is not a version such as 0.40.6.", range=str(text)[:70])
        return cls(str(parsed))

    def __lt__(self, other: Version) -> bool:
        if self.is_prerelease or other.is_prerelease:
            return bool(nodesemver.lt(self.text, other.text, False))
        # the same order, some thirty times as fast: pages sort the whole catalogue
        return self.numbers < other.numbers

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Major, minor, patch."""
        return _numbers(self.text)

    @property
    def line(self) -> str:
        """The minor series this belongs to, `0.22`."""
        major, minor, _ = self.numbers
        return f"{major}.{minor}"

    @property
    def is_prerelease(self) -> bool:
        """Whether it carries a pre-release tag."""
        return "-" in self.text

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=5_000)
def _numbers(text: str) -> tuple[int, int, int]:
    # pages compare each release of the catalogue with many others
    major, minor, patch = text.partition("-")[0].split(".")
    return int(major), int(minor), int(patch)


#: Releases that carry a system migration, from PocketBase's tags up to 0.39.11. Patch releases are among them, so
#: following a patch range is not schema-safe by itself.
SCHEMA_BOUNDARIES = tuple(
    Version(text)
    for text in [
        "0.6.0",
        "0.8.0",
        "0.11.0",
        "0.13.0",
        "0.14.0",
        "0.16.3",
        "0.16.10",
        "0.17.0",
        "0.17.4",
        "0.18.0",
        "0.20.0",
        "0.22.14",
        "0.23.0",
        "0.33.0",
        "0.38.1",
    ]
)
#: The newest release that was read for the list above; a newer one counts as a boundary until a rehearsal says no.
SCHEMA_BOUNDARIES_KNOWN_UNTIL = Version("0.39.11")


def boundaries_between(old: Version, new: Version) -> list[Version]:
    """The schema boundaries that a change from `old` to `new` crosses, either way."""
    low, high = sorted((old, new))
    return [boundary for boundary in SCHEMA_BOUNDARIES if low < boundary <= high]


def has_superusers_collection(version: Version) -> bool:
    """From 0.23.0 on superusers are records of `_superusers`; before, rows of `_admins`."""
    return version.numbers >= (0, 23, 0)
