"""Retention: which copies to keep (the last ones, one a day, one a week), and which may go."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Any

from pocketfleet.errors import WrongSetting

MOST = 1000


@dataclass(frozen=True, slots=True)
class Copy:
    """A snapshot or a backup: when it was made (aware), and whether something still needs it."""

    id: str
    made_at: datetime
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Retention:
    """How many to keep: the newest `last`, and the newest of each of the `daily` and `weekly` newest days and weeks."""

    last: int = 5
    daily: int = 7
    weekly: int = 4

    @classmethod
    def parse(cls, data: Mapping[str, Any], default: Retention | None = None) -> Retention:
        """From {"last": 5, "daily": 7, "weekly": 4}; left out: 0; {}: the default. Raises WrongSetting."""
        if not data:
            return default or cls()
        names = ("last", "daily", "weekly")
        fits = set(data) <= set(names) and all(type(n) is int and 0 <= n <= MOST for n in data.values())
        if not fits or not any(data.values()):
            raise WrongSetting(
                f"What to keep is said by last, daily and weekly: whole numbers up to {MOST}, not all of them 0."
            )
        return cls(**{name: data.get(name, 0) for name in names})

    def as_json(self) -> dict[str, int]:
        """The opposite of `parse`."""
        return asdict(self)


def to_remove(
    copies: Iterable[Copy], rule: Retention, *, zone: tzinfo = UTC, now: datetime | None = None
) -> list[Copy]:
    """Those that the rule does not keep and nothing needs, oldest first.

    `now` (aware): what was made later, by a clock that was ahead, is a matter of its own, and takes no place of those
    that are made from now on.

    Only days and weeks that have a copy count, so an instance that made none for a while loses none by that. Days and
    weeks (from Monday) are those of `zone`. Doing it twice removes nothing more.
    """
    newest_first = sorted(copies, key=lambda copy: (copy.made_at, copy.id), reverse=True)
    kept = {copy.id for copy in newest_first if copy.needed}
    ahead = [copy for copy in newest_first if now is not None and copy.made_at > now]
    for those in (ahead, newest_first[len(ahead) :]):
        kept |= {copy.id for copy in those[: rule.last]}
        kept |= _newest_of_each(those, rule.daily, lambda at: at.astimezone(zone).date())
        kept |= _newest_of_each(those, rule.weekly, lambda at: at.astimezone(zone).isocalendar()[:2])
    return [copy for copy in reversed(newest_first) if copy.id not in kept]


def _newest_of_each(newest_first: list[Copy], count: int, period: Callable[[datetime], Hashable]) -> set[str]:
    first: dict[Hashable, str] = {}
    for copy in newest_first:
        first.setdefault(period(copy.made_at), copy.id)
    return set(islice(first.values(), count))
