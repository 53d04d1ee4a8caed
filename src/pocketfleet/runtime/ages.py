"""How old data is: which releases it may belong to, recognised from its tables and migrations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pocketfleet.domain.releases import SCHEMA_BOUNDARIES, Version
from pocketfleet.domain.system_migrations import FIRST_MIGRATION, SYSTEM_MIGRATIONS
from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime.tables import migrations_applied, opened, raw_settings, tables


@dataclass(frozen=True, slots=True)
class Age:
    """The releases that would run this data without changing its tables: from `lowest` on, below `below`."""

    #: the first release with all of its system migrations
    lowest: str
    #: the first release that would migrate it; "" where none is known
    below: str
    #: the form of 0.22 and before: `_admins`, `logs.db`
    old: bool
    superusers: int
    #: settings that need the key they were encrypted with
    encrypted: bool
    #: migrations in Go that no known release brings: a later PocketBase, or somebody's own build
    unknown: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """The same as npm writes it, `>=0.22.14 <0.23.0`."""
        return f">={self.lowest}" + (f" <{self.below}" if self.below else "")


def recognise(data: Path, *, live: bool = False) -> Age:
    """The age of what lies in a folder that holds `pb_data`. Raises SnapshotUnusable where that is no PocketBase's."""
    with opened(data, live=live) as connection:
        present = set(tables(connection))
        if not {"_migrations", "_collections", "_params"} <= present:
            raise SnapshotUnusable("data.db is not a PocketBase's: it has no collections.")
        people = "_superusers" if "_superusers" in present else "_admins"
        superusers = connection.execute(f"SELECT count(*) FROM {people}").fetchone()[0]  # noqa: S608
    applied = migrations_applied(data, live=live)
    lowest = _lowest(applied, old=people == "_admins")
    above = [boundary for boundary in SCHEMA_BOUNDARIES if boundary > lowest]
    text = raw_settings(data, live=live)
    return Age(
        lowest=str(lowest),
        below=str(min(above)) if above else "",
        old=people == "_admins",
        superusers=superusers,
        encrypted=bool(text) and not text.lstrip().startswith("{"),
        unknown=tuple(name for name in applied if _is_unknown(name)),
    )


def _lowest(applied: list[str], *, old: bool) -> Version:
    """The newest known migration decides; the tables outweigh it, since rows of it can be removed."""
    found = [SYSTEM_MIGRATIONS[name] for name in applied if name in SYSTEM_MIGRATIONS]
    newest = max(found, default=Version("0.8.0"))
    first = Version("0.23.0")
    return newest if old else max(newest, first)


def _is_unknown(name: str) -> bool:
    return name.endswith(".go") and name not in SYSTEM_MIGRATIONS and name != FIRST_MIGRATION
