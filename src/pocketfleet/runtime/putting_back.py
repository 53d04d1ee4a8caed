"""Putting a snapshot back in an instance's place: one rename decides, and a kill at any instant leaves it whole.

PocketBase's own zips (`pb_data/backups`) are in no snapshot; they are moved over from the folder that is replaced.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Collection
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from pocketfleet.errors import SnapshotUnusable
from pocketfleet.runtime.copying import copy_tree
from pocketfleet.runtime.disk import UNSUPPORTED, exchange, flush, flush_all, opened_folder, remove_tree, rename_new
from pocketfleet.runtime.errands import Errand
from pocketfleet.runtime.manifest import Manifest
from pocketfleet.runtime.own_files import take_own
from pocketfleet.runtime.projects import let_in

#: Such a folder holds a copy that was not needed, or the data that a finished one replaced.
PREFIX = ".replaced-"
#: Such a folder holds an instance's only data: its own folder was moved out of the way where names cannot be exchanged.
_ASIDE = ".aside-"
#: Such a folder was a snapshot, whose data took the place of its instance's.
_GIVEN = "given-"
_REPLACED = "replaced"

_log = logging.getLogger(__name__)


def fresh_name(folder: Path, snapshot_id: str) -> Path:
    """Where the copy is made, in the instance's folder of snapshots; after the exchange the old data lies there."""
    return folder / f"{PREFIX}{snapshot_id}"


def put_back(data: Path, live: Path, fresh: Path, manifest: Manifest, errand: Errand) -> None:
    """Replace the folder `live` by a copy of `data`. The caller holds the instance's lock.

    1 what a put_back that was killed has left is brought in order; 2 a copy at `fresh`, flushed; 3 both folders swap
    names; 4 PocketBase's own zips are moved into the new one; 5 the old one is removed. Killed in 1 or 2 the instance
    is as it was; from 3 on it is what the snapshot holds, and the next call or `recover` does 4 and 5.
    Raises SnapshotUnusable, DiskTrouble, OSError.
    """
    recover(fresh.parent, live, ())
    copy_whole(data, fresh, manifest, errand)
    errand.check()
    replace(fresh, live)
    recover(fresh.parent, live, ())


def hand_over(snapshot: Path, live: Path, errand: Errand) -> None:
    """The data of `snapshot` itself becomes the folder `live`, which takes no room; then it is no snapshot any more.

    1 the snapshot's folder gets a name that says so; 2 `live` goes aside into it; 3 its data takes that place;
    4 files under storage that other snapshots share are replaced by those that `live` had of its own, where they are
    the same, whole folders at once (own_files.py); 5 PocketBase's own zips are moved over. Killed at any point and
    called again, it ends the same. Where 2 or 3 fails it is a snapshot again, and `live` is as it was. What is left of
    the snapshot's folder, what was replaced in it, says that it was done, until `forget_given`. The caller holds the
    instance's lock.
    Raises SnapshotUnusable where there is no such snapshot, OSError.
    """
    given = snapshot.with_name(_GIVEN + snapshot.name)
    if not given.exists():
        if not (snapshot / "data").is_dir():
            raise SnapshotUnusable(f"The snapshot {snapshot.name} is gone.", snapshot=snapshot.name)
        snapshot.rename(given)
    try:
        _swap(given, live)
    except OSError:
        if (given / "data").exists() and live.exists():
            given.rename(snapshot)
        raise
    try:
        _own_files(given, live, errand)
        _keep_zips(given / _REPLACED, live)
    except OSError as error:
        # the data is in its place, and that counts
        _log.warning("what a snapshot replaced could not be looked through: %s", error)


def forget_given(folder: Path, live: Path) -> None:
    """What `hand_over` has left in an instance's folder of snapshots goes, unless it holds data. Raises OSError."""
    for given in folder.glob(f"{_GIVEN}*"):
        if not (given / "data").exists():
            _clear_replaced(given / _REPLACED, live)
            remove_tree(given)


def _clear_replaced(replaced: Path, live: Path) -> None:
    _keep_zips(replaced, live)
    remove_tree(replaced)


def _swap(given: Path, live: Path) -> None:
    data, replaced = given / "data", given / _REPLACED
    if not data.exists():
        return
    if live.exists():
        live.rename(replaced)
    try:
        data.rename(live)
    except OSError:
        replaced.rename(live)
        raise
    flush(given)
    flush(live.parent)


def _own_files(given: Path, live: Path, errand: Errand) -> None:
    """Give files a content of their own where their names are some of several: other snapshots must never change."""
    with ExitStack() as opened:
        here = opened.enter_context(opened_folder("pb_data", opened.enter_context(opened_folder(live))))
        other = None
        with contextlib.suppress(OSError):  # its tenant may have put a link there
            replaced = opened.enter_context(opened_folder(given / _REPLACED))
            other = opened.enter_context(opened_folder("pb_data", replaced))
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.stat("storage", dir_fd=here, follow_symlinks=False)
            take_own(here, other, "storage", _taken_at(given), errand)
            os.fsync(here)


def _taken_at(given: Path) -> int:
    """When the snapshot was taken, in nanoseconds since 1970; 0 where it does not say: then no file is as it was."""
    try:
        manifest = Manifest.from_json(json.loads((given / "manifest.json").read_text()))
    except (OSError, ValueError, SnapshotUnusable):
        return 0
    return int(manifest.taken_at.timestamp() * 1e9)


def copy_whole(data: Path, fresh: Path, manifest: Manifest, errand: Errand) -> None:
    """A copy of a snapshot's data, flushed. Raises SnapshotUnusable where that is not what its manifest says."""
    copied = copy_tree(data, fresh, errand, ours=True)
    found = (copied.files, copied.bytes, copied.left_out)
    if found != (manifest.files, manifest.bytes, []):
        raise SnapshotUnusable(
            f"The snapshot {manifest.snapshot_id} does not hold any more what it held when it was made:"
            f" {copied.files} of {manifest.files} files, {copied.bytes} of {manifest.bytes} bytes.",
            snapshot=manifest.snapshot_id,
        )
    flush_all(fresh)


def replace(fresh: Path, live: Path) -> None:
    """The folder at `fresh` is at `live` then, and what was there, if anything, is at `fresh`."""
    try:
        exchange(fresh, live)
    except FileNotFoundError:
        fresh.rename(live)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        aside = fresh.with_name(_ASIDE + fresh.name)
        live.rename(aside)
        fresh.rename(live)
        aside.rename(fresh)
    flush(live.parent)
    flush(fresh.parent)


def recover(folder: Path, live: Path, in_use: Collection[Path]) -> None:
    """After a kill: the instance has a folder, with PocketBase's own zips in it, and what was replaced is gone."""
    for aside in sorted(folder.glob(f"{_ASIDE}*")):
        if live.exists():
            aside.rename(aside.with_name(PREFIX + aside.name))
        else:
            aside.rename(live)
    for replaced in sorted(folder.glob(f"{PREFIX}*")):
        if replaced not in in_use:
            _clear_replaced(replaced, live)


def _keep_zips(replaced: Path, live: Path) -> None:
    """Move PocketBase's own zips, one by one, along open folders: their tenant may have put links there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), ExitStack() as opened:
        source = _below(opened, replaced, make=False)
        target = _below(opened, live, make=True)
        for name in os.listdir(source):  # noqa: PTH208 - an open folder
            with contextlib.suppress(FileExistsError):
                # the new folder may have been marked since
                let_in(target, partial(rename_new, source, target, name))
        os.fsync(target)


def _below(opened: ExitStack, folder: Path, *, make: bool) -> int:
    data = opened.enter_context(opened_folder("pb_data", opened.enter_context(opened_folder(folder))))
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir("backups", 0o700, dir_fd=data)
    return opened.enter_context(opened_folder("backups", data))
