"""What is known of each running guest, in `run/<id>.json`, so that a node that was killed finds it again."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

VERSION = 1


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One guest. `pid` and `start_time` are 0 in the moment between taking the lock and having spawned."""

    instance_id: str
    release: str
    #: `127.x.y.z:port`
    address: str
    #: ISO 8601, UTC
    since: str
    pid: int = 0
    #: clock ticks since boot, see `processes.start_time`
    start_time: int = 0
    #: whether the sandbox holds it: a runner of the other kind ends it instead of adopting it
    sandboxed: bool = False
    version: int = VERSION

    @property
    def awake_since(self) -> datetime:
        """The moment it was spawned."""
        return datetime.fromisoformat(self.since).astimezone(UTC)


class RunRecords:
    """The records in a folder. Written atomically, without fsync: after a crash of the machine no guest runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ids(self) -> list[str]:
        """Every instance that has a record."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def read(self, instance_id: str) -> RunRecord | None:
        """None where there is none, or none that can be understood."""
        try:
            values = json.loads(self._path(instance_id).read_bytes())
            record = RunRecord(**values)
            record.awake_since  # noqa: B018 - raises for what is no moment
        except (OSError, ValueError, TypeError):
            return None
        return record if record.version == VERSION and record.instance_id == instance_id else None

    def write(self, record: RunRecord) -> None:
        """Raises OSError."""
        path = self._path(record.instance_id)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(json.dumps(asdict(record)))
        fresh.replace(path)

    def remove(self, instance_id: str) -> None:
        """Nothing happens where there is none."""
        with contextlib.suppress(FileNotFoundError):
            self._path(instance_id).unlink()

    def _path(self, instance_id: str) -> Path:
        return self._folder / f"{instance_id}.json"
