"""Which release fits data of some age: never one that would change it without being asked, never an older one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pocketfleet.domain.ranges import matches
from pocketfleet.domain.releases import Version
from pocketfleet.errors import ReleaseDoesNotFit


def choose_release(age_range: str, known: Iterable[Version], preferred: Sequence[str] = ()) -> Version:
    """The first of the preferred ones that runs this data as it is; else the newest known release that does.

    `age_range`: the releases that would run it without changing its tables, as npm writes it (`>=0.22.14 <0.23.0`).
    A preferred one need not be known: it is what the instance runs. Raises ReleaseDoesNotFit where nothing fits.
    """
    for text in preferred:
        if text and matches(age_range, Version.parse(text)):
            return Version.parse(text)
    fitting = [version for version in known if not version.is_prerelease and matches(age_range, version)]
    if not fitting:
        raise ReleaseDoesNotFit(
            f"This data is of PocketBase {age_range}, and no such release is known here. Look for more "
            "(`pocketfleet releases --refresh`), or give one to the source `folder`.",
            range=age_range,
        )
    return max(fitting)


def check_fits(age_range: str, release: Version) -> None:
    """Raises ReleaseDoesNotFit where this release would change the data's tables, or does not know them."""
    if not matches(age_range, release):
        raise ReleaseDoesNotFit(
            f"This data is of PocketBase {age_range}, and {release} is not. Take it in with a release that fits, then "
            "upgrade: that rehearses it first.",
            range=age_range,
            release=str(release),
        )


def range_for(current: str, release: Version) -> str:
    """The range as it is, if it takes this release; else the patches from this release on."""
    return current if current and matches(current, release) else f"~{release}"
