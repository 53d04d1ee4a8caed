"""What a snapshot says about itself: written beside its data once it was verified."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pocketfleet.errors import SnapshotUnusable

VERSION = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """A snapshot's manifest; JSON on disk and in the database."""

    snapshot_id: str
    instance_id: str
    #: the release that the data belongs to, `0.40.6`
    release: str
    #: UTC, when the copying of the databases began: every write acknowledged before is in
    taken_at: datetime
    #: whether PocketBase ran meanwhile
    awake: bool
    #: of all files, hard-linked ones counted as if they were alone
    bytes: int
    files: int
    #: rows by table of `data.db`
    counts: dict[str, int]
    #: SHA-256 of `hooks`, `migrations` and `schema`
    fingerprints: dict[str, str]
    took_ms: int
    #: of that, until the files besides the databases were there
    files_ms: int = 0
    #: files that an earlier snapshot holds, too
    linked: int = 0
    #: whether every page of the databases was read; else they were opened only
    thorough: bool = True
    #: words about what was in the folder and is not in the snapshot
    left_out: list[str] = field(default_factory=list)
    version: int = VERSION

    def as_json(self) -> dict[str, Any]:
        """Everything, as `from_json` takes it."""
        return dataclasses.asdict(self) | {"taken_at": self.taken_at.isoformat()}

    @classmethod
    def from_json(cls, value: Any) -> Manifest:
        """Raises SnapshotUnusable for what is no manifest, or one of a later pocketfleet."""
        if not isinstance(value, dict) or not isinstance(value.get("version"), int):
            raise SnapshotUnusable("The snapshot's manifest cannot be read.")
        if value["version"] > VERSION:
            raise SnapshotUnusable("The snapshot was made by a later pocketfleet; use that one to read it.")
        names = {item.name for item in dataclasses.fields(cls)}
        try:
            known = {name: value[name] for name in names if name in value}
            return cls(**known | {"taken_at": datetime.fromisoformat(value["taken_at"])})
        except (KeyError, TypeError, ValueError) as error:
            raise SnapshotUnusable(f"The snapshot's manifest cannot be read: {error}.") from error
