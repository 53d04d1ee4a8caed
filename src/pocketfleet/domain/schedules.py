"""Schedules of backups: a cron expression in the owner's time zone, how many to keep, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from pocketfleet.errors import WrongSetting

KEEP = 7
MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """When to make a backup by itself. Clocks that go forward or back are read as Debian's cron reads them."""

    cron: str
    zone: ZoneInfo
    #: scheduled backups that are kept
    keep: int = KEEP
    #: with hooks, migrations and public files
    full: bool = False

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> BackupPlan | None:
        """From {"cron": "0 3 * * *", "zone": "Europe/Vienna", "keep": 7, "full": false}; None for {}: no backups.

        All but `cron` may be left out. Raises WrongSetting with what it takes.
        """
        if not data:
            return None
        unknown = set(data) - {"cron", "zone", "keep", "full"}
        if unknown:
            raise WrongSetting(f"A backup plan has cron, zone, keep and full, and no “{min(map(str, unknown))[:30]}”.")
        keep, full = data.get("keep", KEEP), data.get("full", False)
        if type(keep) is not int or not 1 <= keep <= MOST_KEPT:
            raise WrongSetting(f"keep takes a whole number from 1 to {MOST_KEPT}.")
        if not isinstance(full, bool):
            raise WrongSetting("full takes true or false.")
        return cls(_cron(data.get("cron")), _zone(data.get("zone", "UTC")), keep, full)

    def as_json(self) -> dict[str, Any]:
        """The opposite of `parse`."""
        return {"cron": self.cron, "zone": self.zone.key, "keep": self.keep, "full": self.full}

    def next_due(self, now: datetime) -> datetime:
        """The first moment of the plan after `now` (aware); in UTC."""
        return next(CronSim(self.cron, now.astimezone(self.zone))).astimezone(UTC)


def _cron(text: Any) -> str:
    words = text.split() if isinstance(text, str) and len(text) <= 100 else []
    try:
        if len(words) != 5:
            raise CronSimError("five fields")
        next(CronSim(" ".join(words), datetime(2024, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        raise WrongSetting(
            f"“{str(text)[:40]}” is no time. It takes five fields as cron has them, minute to day of the week: "
            "`0 3 * * *` is every night at three.",
            setting="backup",
        ) from None
    return " ".join(words)


def _zone(name: Any) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise WrongSetting(f"There is no time zone “{str(name)[:40]}”. One is `Europe/Vienna`.") from None
