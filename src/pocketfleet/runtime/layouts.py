"""Where a PocketBase lies in an archive or folder that somebody made, by PocketBase, by us, or by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from pocketfleet.errors import ArchiveRefused
from pocketfleet.runtime.guest import FOLDERS
from pocketfleet.runtime.taking import PASSED_OVER

DATA = "pb_data"
#: The folder in our own zips that holds what PocketBase's own do not: hooks, migrations, public files. PocketBase's
#: restore puts it into `pb_data`, where nothing reads it.
EXTRAS = "pocketfleet"
_FIRST = "data.db"


@dataclass(frozen=True, slots=True)
class Layout:
    """`kind`: `pocketbase` (as its own backups), `folder` (a whole `pb_data`, maybe with its neighbours)."""

    kind: str
    #: what lies before `data.db`
    data: tuple[str, ...]
    #: what lies before `pb_hooks` and its like; None where there are none to expect
    neighbours: tuple[str, ...] | None

    def place(self, path: PurePosixPath) -> PurePosixPath | None:
        """Where a file belongs in an instance's folder, `pb_data/storage/...`; None where it does not."""
        parts = path.parts
        neighbours = self.neighbours
        if neighbours is not None and parts[: len(neighbours)] == neighbours:
            rest = parts[len(neighbours) :]
            if len(rest) > 1 and rest[0] in FOLDERS and rest[0] != DATA:
                return PurePosixPath(*rest)
        rest = parts[len(self.data) :]
        if parts[: len(self.data)] != self.data or not rest or rest[0] in (*PASSED_OVER, EXTRAS):
            return None
        return PurePosixPath(DATA, *rest)


def find_layout(paths: Iterable[PurePosixPath]) -> Layout:
    """The layout that the nearest `data.db` tells. Raises ArchiveRefused where there is none, or more than one."""
    found = sorted((path for path in paths if path.name == _FIRST), key=lambda path: len(path.parts))
    nearest = [path for path in found if len(path.parts) == len(found[0].parts)] if found else []
    if len(nearest) > 1:
        raise ArchiveRefused("There is more than one data.db in it; pack one PocketBase at a time.")
    where = nearest[0].parts[:-1] if nearest else ()
    if not nearest or len(where) > 2 or (len(where) == 2 and where[-1] != DATA):
        raise ArchiveRefused("There is no data.db in it, so it is not a PocketBase's.")
    if not where:
        return Layout("pocketbase", (), (EXTRAS,))
    return Layout("folder", where, where[:-1] if where[-1] == DATA else None)
