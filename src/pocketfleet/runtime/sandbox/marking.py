"""What is in an instance's folder already gets its project, so that it is counted with what comes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.projects import hands_down, mark

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: Folders within folders beyond which nothing is marked but what comes.
_DEEPEST = 100


def mark_tree(folder: Path, project: int, most: int) -> bool:
    """All that belongs to this folder's user is marked, as far as that goes with so many names; whether it is done.

    A folder is marked after what is in it, so one that is marked is passed over, and the next call goes on where this
    one ended. Some 60 microseconds for every name, 15 for every folder that is passed over, and as much where all is
    marked. Nobody may be changing anything in there. Links are made anew, since nothing else marks them.
    Raises OSError.
    """
    with opened_folder(folder) as here:
        return _Marker(project, os.fstat(here).st_uid, most).mark_below(here, 1)


class _Marker:
    def __init__(self, project: int, user: int, most: int) -> None:
        self._project = project
        self._user = user
        self._left = most

    def mark_below(self, here: int, level: int) -> bool:
        """An open folder, after all that is in it; whether it is done."""
        if hands_down(here) == self._project:
            return True
        done, links = True, []
        with os.scandir(here) as entries:
            for entry in entries:
                if self._left <= 0:
                    return False
                known = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(known.st_mode) and level < _DEEPEST:
                    with opened_folder(entry.name, here) as inner:
                        done = self.mark_below(inner, level + 1) and done
                elif stat.S_ISREG(known.st_mode) and known.st_uid == self._user:
                    self._mark_file(here, entry.name)
                elif stat.S_ISLNK(known.st_mode):
                    links.append((entry.name, known))
        if done:
            self._left -= 1
            mark(here, self._project)
            for name, known in links:
                _link_anew(here, name, known)
        return done

    def _mark_file(self, folder: int, name: str) -> None:
        self._left -= 1
        opened = os.open(name, _READ, dir_fd=folder)
        try:
            mark(opened, self._project)
        finally:
            os.close(opened)


def _link_anew(folder: int, name: str, known: os.stat_result) -> None:
    """What is made in a marked folder is marked, a link too, which then may be renamed in there as before."""
    fresh = f".link-{known.st_ino}"
    with suppress(FileNotFoundError):
        os.unlink(fresh, dir_fd=folder)
    os.symlink(os.readlink(name, dir_fd=folder), fresh, dir_fd=folder)
    os.chown(fresh, known.st_uid, known.st_gid, dir_fd=folder, follow_symlinks=False)
    os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
