"""Files of an instance's own in place of those that it shares with snapshots, once a snapshot has become its folder.

What was its folder before has them still. Folders in which nothing differs are exchanged whole, by one rename each; in
others the files that are the same are moved, and the rest is copied.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass

from pocketfleet.errors import DiskTrouble
from pocketfleet.runtime.disk import UNSUPPORTED, exchange_in, opened_folder
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.file_copying import alike, copy_within
from pocketfleet.runtime.projects import let_in

#: Nanoseconds by which the change time of a file may lag behind the clock.
_TICK = 20_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Match:
    """`same`: what the other folder has in this place may stand here. `shared`: something here has other names."""

    same: bool
    shared: bool


def take_own(here: int, other: int | None, name: str, taken_at: int, errand: Errand) -> None:
    """No file in the folder `name`, in the open folder `here`, shares its content with another name any more.

    `other`: the open folder that the instance had in this place. A file of that one counts as the same if it looks so
    and did not change since `taken_at` (nanoseconds since 1970), when the snapshot was taken of it. Killed at any
    point and called again, it ends the same. Raises OSError.
    """
    owner = _Owner(taken_at - _TICK, errand)
    match = owner.compared(here, other, name)
    if match.same and match.shared and other is not None:
        owner.exchange(here, other, name)


class _Owner:
    def __init__(self, before: int, errand: Errand) -> None:
        self._before = before
        self._errand = errand

    def compared(self, here: int, other: int | None, name: str) -> _Match:
        """Two folders of this name; where they differ, all in them is done."""
        with ExitStack() as opened:
            inner = opened.enter_context(opened_folder(name, here))
            own = _open_if_there(opened, name, other)
            entries = _entries(inner)
            others = _entries(own) if own is not None else {}
            same = own is not None and entries.keys() == others.keys() and _same_folder(inner, own)
            shared = {}
            for below, known in entries.items():
                self._errand.check()
                match = self._match(inner, own, below, known, others.get(below))
                same = same and match.same
                if match.shared:
                    shared[below] = match
            if not same:
                for below, match in shared.items():
                    self._settle(inner, own, below, entries[below], match)
        return _Match(same, bool(shared) and same)

    def exchange(self, here: int, other: int, name: str) -> None:
        """A folder that is the same takes the place of the one here; where that cannot be, its files do."""
        try:
            let_in(other, lambda: exchange_in(here, other, name))
        except OSError as error:
            if error.errno not in {*UNSUPPORTED, errno.EXDEV}:
                raise
            self._move_files(here, other, name)

    def _match(
        self, here: int, other: int | None, name: str, known: os.stat_result | None, own: os.stat_result | None
    ) -> _Match:
        if known is None:
            return self.compared(here, other, name)
        if stat.S_ISREG(known.st_mode):
            return _Match(own is not None and self._is_same_file(known, own), known.st_nlink > 1)
        if own is None or other is None or not (stat.S_ISLNK(known.st_mode) and stat.S_ISLNK(own.st_mode)):
            return _Match(False, False)
        return _Match(os.readlink(name, dir_fd=here) == os.readlink(name, dir_fd=other), False)

    def _is_same_file(self, known: os.stat_result, own: os.stat_result) -> bool:
        return stat.S_ISREG(own.st_mode) and own.st_nlink == 1 and own.st_ctime_ns < self._before and alike(known, own)

    def _settle(self, here: int, other: int | None, name: str, known: os.stat_result | None, match: _Match) -> None:
        """One entry of a folder that is not the same as a whole."""
        if known is None:
            if other is not None:
                self.exchange(here, other, name)
        elif match.same and other is not None:
            os.rename(name, name, src_dir_fd=other, dst_dir_fd=here)
        else:
            _copy(here, name, self._errand)

    def _move_files(self, here: int, other: int, name: str) -> None:
        with opened_folder(name, here) as inner, opened_folder(name, other) as own:
            for below, known in _entries(inner).items():
                if known is None:
                    self._move_files(inner, own, below)
                elif stat.S_ISREG(known.st_mode) and known.st_nlink > 1:
                    os.rename(below, below, src_dir_fd=own, dst_dir_fd=inner)


def _entries(folder: int) -> dict[str, os.stat_result | None]:
    """What is in an open folder, by name; None for folders, of which there may be many."""
    with os.scandir(folder) as entries:
        return {
            entry.name: None if entry.is_dir(follow_symlinks=False) else entry.stat(follow_symlinks=False)
            for entry in entries
        }


def _same_folder(here: int, own: int) -> bool:
    known, other = os.fstat(here), os.fstat(own)
    same_owner = os.geteuid() != 0 or (known.st_uid, known.st_gid) == (other.st_uid, other.st_gid)
    return same_owner and known.st_mode & 0o777 == other.st_mode & 0o777 | 0o700


def _open_if_there(opened: ExitStack, name: str, folder: int | None) -> int | None:
    """A folder of the tenant's, who may have put a link there: None where it is no folder."""
    try:
        return opened.enter_context(opened_folder(name, folder)) if folder is not None else None
    except OSError:
        return None


def _copy(here: int, name: str, errand: Errand) -> None:
    """There may be no room for it; the data is in its place, and that counts."""
    try:
        copy_within(here, name, errand)
    except (OSError, DiskTrouble) as error:
        _log.warning("%s shares its content with snapshots: %s", name, error)
