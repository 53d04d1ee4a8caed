"""Copying a tenant's folder, whatever the tenant put there: no link is followed, nothing special is opened.

Every name is opened below its own open folder without following links, so that a rename in between leads nowhere
else. What cannot be taken is left out with a word.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path

from pocketfleet.errors import DiskTrouble
from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.file_copying import RESERVE as RESERVE
from pocketfleet.runtime.file_copying import dress, make_way, stat_of, write_copy
from pocketfleet.runtime.file_copying import keep_reserve as keep_reserve
from pocketfleet.runtime.ledgers import Ledger, read_page
from pocketfleet.runtime.tree_copying import DEEPEST, At, Folder, Skip, TreeCopy, nothing
from pocketfleet.runtime.tree_copying import Copied as Copied
from pocketfleet.runtime.tree_copying import plain as plain
from pocketfleet.runtime.tree_copying import stays_inside as stays_inside


def copy_tree(
    source: Path,
    target: Path,
    errand: Errand,
    *,
    skip: Skip = nothing,
    base: Path | None = None,
    linkable: Skip = nothing,
    ours: bool = False,
    exact: bool = False,
    notes: Ledger | None = None,
    since: Ledger | None = None,
) -> Copied:
    """Copy a folder to `target`, made where missing; its own parents and `target`'s must be out of a tenant's reach.

    Reflinks where the file system can, else copies, with modes, times, and owners where we may set them; holes stay
    holes. What is in `target` already with the same size, time, mode and owner stays; else it is replaced, never
    written in place.
    `base`: an earlier copy nobody writes to; files of it that are `linkable` and unchanged get a second name.
    `ours`: no tenant's but a snapshot, whose files may have names in other snapshots.
    `exact`: what is in `target` and not in `source` goes, unless `skip` names it.
    `notes`: gets a page for each folder. `since`: the notes of the pass that made `target`: what is as it was then is
    not looked at there, and everything else is copied anew, whatever its times say.
    Not flushed. Raises DiskTrouble where the disk gets full, OSError.
    """
    copy = TreeCopy(errand, skip, linkable, ours=ours, exact=exact, notes=notes, since=since)
    with ExitStack() as opened:
        here = opened.enter_context(opened_folder(source))
        target.mkdir(mode=0o700, exist_ok=True)
        there = opened.enter_context(opened_folder(target))
        before = _open_if_there(opened, base, None) if base else None
        copy.folder(At(here, Folder(there), Folder(before), "", 0))
        copy.finish_several(here, there)
        dress(there, os.fstat(here), 0o700)
    return copy.done


def repair_tree(source: Path, target: Path, made: Ledger, errand: Errand, *, skip: Skip = nothing) -> None:
    """`target`, a copy of ours of `source` that others have written to since, is that copy again.

    `made`: the notes that `note_tree` took of it when it was new. What changed since goes and is copied anew, what is
    missing is copied, the rest stays. Raises DiskTrouble, OSError.
    """
    copy = TreeCopy(errand, skip, nothing, ours=True, exact=True, notes=None, since=None)
    with opened_folder(source) as here, opened_folder(target) as there:
        _repair(copy, made, Folder(here), there, "", 0)


def note_tree(folder: Path, errand: Errand) -> Ledger:
    """What a folder holds now, all of it. Raises OSError."""
    ledger = Ledger()
    with opened_folder(folder) as here:
        _note(here, "", ledger, errand)
    return ledger


def measure(folder: Path, skip: Skip = nothing) -> Copied:
    """Files below a folder and their bytes, holes counted. Raises OSError."""
    found = Copied()
    with opened_folder(folder) as here:
        _measure(here, "", 0, skip, found)
    return found


def copy_file(source: Path, target: Path, errand: Errand) -> int:
    """Copy one plain file with one name; its bytes. Raises DiskTrouble where it is a link, or special; OSError."""
    with opened_folder(source.parent) as here, opened_folder(target.parent) as there:
        known = os.stat(source.name, dir_fd=here, follow_symlinks=False)
        if not stat.S_ISREG(known.st_mode) or known.st_nlink != 1:
            raise DiskTrouble(f"{source} is not a plain file; put the file itself there.", path=str(source))
        return write_copy(here, there, source.name, target.name, known, errand)


def _repair(copy: TreeCopy, made: Ledger, here: Folder, there: int, path: str, depth: int) -> None:
    page = read_page(there)
    as_it_was, unchanged = made.unchanged(path, page)
    kept = set()
    for name, mode, is_same in zip(page.names, page.modes, unchanged, strict=True):
        if not is_same:
            make_way(name, there)
            continue
        kept.add(name)
        if stat.S_ISDIR(mode):
            below = here.below(name)
            with opened_folder(name, there) as inner:
                _repair(copy, made, below, inner, f"{path}/{name}" if path else name, depth + 1)
            below.close()
    if not as_it_was:
        copy.fill(At(here.make(), Folder(there), Folder(None), path, depth), kept)


def _note(here: int, path: str, ledger: Ledger, errand: Errand) -> None:
    errand.check()
    page = read_page(here)
    ledger.note(path, page, [True] * len(page.names))
    for name, mode in zip(page.names, page.modes, strict=True):
        if stat.S_ISDIR(mode):
            with opened_folder(name, here) as inner:
                _note(inner, f"{path}/{name}" if path else name, ledger, errand)


def _measure(here: int, path: str, depth: int, skip: Skip, found: Copied) -> None:
    folders = []
    with os.scandir(here) as entries:
        for entry in entries:
            below = f"{path}/{entry.name}" if path else entry.name
            if skip(below):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
            elif (known := stat_of(entry.name, here)) is not None and stat.S_ISREG(known.st_mode):
                found.files += 1
                found.bytes += known.st_size
    for name in folders if depth < DEEPEST else ():
        with ExitStack() as opened:
            inner = _open_if_there(opened, name, here)
            if inner is not None:
                _measure(inner, f"{path}/{name}" if path else name, depth + 1, skip, found)


def _open_if_there(opened: ExitStack, name: str | Path, parent: int | None) -> int | None:
    try:
        return opened.enter_context(opened_folder(name, parent))
    except (FileNotFoundError, NotADirectoryError):
        return None
