"""Data on its way into an instance: brought aside from a snapshot, a backup or an upload, looked at, put in place.

It lies in `incoming/<operation>/new`, on the same disk as the instances, so that putting it in place is a rename.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

from pocketfleet.actions import copy_records, uploads
from pocketfleet.config import Config
from pocketfleet.domain.ids import derived_id
from pocketfleet.errors import BackupNotFound, DiskTrouble, UploadNotFound
from pocketfleet.operations.backup import path_of
from pocketfleet.operations.plan import Work
from pocketfleet.operations.snapshot import copy_instance
from pocketfleet.operations.tools import Tools
from pocketfleet.runtime import putting_back, tables
from pocketfleet.runtime.ages import Age, recognise
from pocketfleet.runtime.archives import Opened, read_archive
from pocketfleet.runtime.copying import copy_tree
from pocketfleet.runtime.disk import disk_trouble, flush, remove_tree
from pocketfleet.runtime.errands import Errand, carry_out
from pocketfleet.runtime.guest import FOLDERS
from pocketfleet.runtime.owners import disown
from pocketfleet.runtime.sources.archives import sha256_of
from pocketfleet.runtime.unpacking import Limits

log = logging.getLogger(__name__)

#: Seconds that an upload lies there for somebody to use it, and that an unfinished one may be silent.
UPLOAD_SECONDS = 86400.0
SILENT_SECONDS = 3600.0
#: What was in place before lies here until nothing can go wrong any more; putting_back.recover knows the name.
_OLD = ".aside-old"
_NEW = "new"


def folder_of(config: Config, operation_id: str) -> Path:
    """All that an operation has brought aside."""
    return config.incoming / operation_id


def new_data(config: Config, operation_id: str) -> Path:
    """What is to be put in place, in the form of an instance's folder."""
    return folder_of(config, operation_id) / _NEW


async def bring(work: Work, source_id: str) -> dict[str, Any]:
    """Bring aside what the params name: `snapshot`, `backup` or `upload`; none: the source instance as it is now.

    Answers {"release": what the copy says it was, "" where it says nothing, "full", "left_out"}. Done twice it is
    brought anew. Raises ArchiveRefused, SnapshotUnusable, DiskTrouble, and NotFound of what is gone.
    """
    tools: Tools = work.tools
    target = new_data(tools.config, work.operation_id)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if snapshot_id := work.params.get("snapshot"):
        return await _from_snapshot(work, source_id, str(snapshot_id), target)
    if backup_id := work.params.get("backup"):
        return await _from_backup(work, str(backup_id), target)
    if upload_id := work.params.get("upload"):
        path = tools.config.upload(str(upload_id))
        if not path.is_file():
            raise UploadNotFound("The uploaded file is gone. Upload it again.")
        return _told(await read_archive(path, target, _limits(tools), work.progress))
    return await _from_now(work, source_id, target)


async def throw_away(work: Work) -> None:
    """Take away what was brought aside; never old data that could not be put back."""
    await asyncio.to_thread(_sweep_folder, folder_of(work.tools.config, work.operation_id), frozenset())


async def complete(work: Work) -> None:
    """Give data that was brought alone the instance's own hooks, migrations and public files, as it would go live.

    Done again when it is put in place: they may change until then. Raises DiskTrouble.
    """
    config: Config = work.tools.config
    live, new = config.instances / work.instance_id, new_data(config, work.operation_id)

    def take(errand: Errand) -> None:
        with disk_trouble("The hooks could not be copied"):
            _take_own(live, new, errand)

    await carry_out(take)


async def origin_of(work: Work) -> str:
    """What is brought, so that it is known again: `snapshot:ID`, `backup:ID`, or `upload:` and the file's SHA-256."""
    for kind in ("snapshot", "backup"):
        if identifier := work.params.get(kind):
            return f"{kind}:{identifier}"
    path = work.tools.config.upload(str(work.params["upload"]))
    return f"upload:{await asyncio.to_thread(sha256_of, path)}"


async def keep_upload(work: Work) -> None:
    """Its day begins anew: somebody reads a report on it first."""
    if upload_id := work.params.get("upload"):
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(os.utime, work.tools.config.upload(str(upload_id)))


async def look_at(work: Work) -> Age:
    """How old the data is that was brought. Raises SnapshotUnusable."""
    return await asyncio.to_thread(recognise, new_data(work.tools.config, work.operation_id))


async def first_superuser(work: Work) -> str:
    """The address of the oldest superuser in it; "" where there is none."""

    def read() -> str:
        with tables.opened(new_data(work.tools.config, work.operation_id)) as connection:
            table = "_superusers" if "_superusers" in tables.tables(connection) else "_admins"
            row = connection.execute(f"SELECT email FROM {table} ORDER BY created LIMIT 1").fetchone()  # noqa: S608
        return str(row[0])[:255] if row else ""

    return await asyncio.to_thread(read)


async def put_in_place(work: Work, *, with_data_only: bool) -> None:
    """The instance's folder becomes what was brought; the caller holds its lock, if it had any folder.

    `with_data_only`: hooks, migrations and public files stay what they are. 1 those are copied over, 2 the old folder
    goes aside, 3 the new one takes its place. Killed at any point and called again it ends the same.
    """
    config: Config = work.tools.config
    live, new = config.instances / work.instance_id, new_data(config, work.operation_id)

    def place(errand: Errand) -> None:
        old = new.with_name(_OLD)
        with disk_trouble("The data could not be put in place"):
            if new.exists():
                if live.exists():
                    _make_way(live, old, new, errand, with_data_only=with_data_only)
                new.rename(live)
            flush(new.parent)
            flush(live.parent)

    await carry_out(place)


async def put_old_back(work: Work) -> None:
    """The other way round; where it never came to that, nothing happens. The caller holds the lock.

    Killed at any point and called again it ends the same. Where a rename is refused, what was in place stays there,
    whole; where not even that can be, DiskTrouble says `half_undone`, and it is to be called until it works.
    """
    config: Config = work.tools.config
    live, new = config.instances / work.instance_id, new_data(config, work.operation_id)

    def place(errand: Errand) -> None:
        old = new.with_name(_OLD)
        with disk_trouble("The old data could not be put back"):
            if old.exists():
                _return(old, live, new)
            flush(new.parent)
            flush(live.parent)

    await carry_out(place)


def replaced_data(config: Config, operation_id: str) -> Path:
    """What was in place before, until `finish`."""
    return folder_of(config, operation_id) / _OLD


def kept_aside(config: Config, work: Work) -> Path:
    """Where `finish` puts it, if it is to be kept."""
    return config.quarantine_folder / f"{work.instance_id}-{work.operation_id}"


async def finish(work: Work, *, keep_old: bool) -> str:
    """It stays: PocketBase's own zips are moved over from the old folder, which is removed then.

    `keep_old`: there is no other copy of it, so it is moved to quarantine; answers its place there.
    """
    config: Config = work.tools.config
    folder, live = folder_of(config, work.operation_id), config.instances / work.instance_id

    def end(errand: Errand) -> str:
        kept = kept_aside(config, work)
        with disk_trouble("The replaced data could not be cleared away"):
            if keep_old:
                config.quarantine_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    (folder / _OLD).rename(kept)
            if folder.is_dir():
                putting_back.recover(folder, live, ())
                remove_tree(folder)
            if upload_id := work.params.get("upload"):
                config.upload(str(upload_id)).unlink(missing_ok=True)
        return str(kept) if keep_old else ""

    kept = await carry_out(end)
    if upload_id := work.params.get("upload"):
        await work.tools.database.call(uploads.forget_upload, str(upload_id))
    return kept


async def sweep(tools: Tools, *, by_age: bool = True) -> None:
    """Remove uploads that nobody used, and what operations that are over have left.

    `by_age`: data that was replaced, too, once it is old enough.
    """
    open_ids = await tools.database.call(copy_records.open_ids)
    used = await tools.database.call(copy_records.in_use, "upload")
    present = await asyncio.to_thread(_sweep, tools.config, open_ids, used)
    silent = timedelta(seconds=SILENT_SECONDS)
    await tools.database.call(uploads.forget_uploads_without_files, present, silent)
    if by_age:
        await asyncio.to_thread(_sweep_replaced, tools.config)
    await asyncio.to_thread(_sweep_rehearsals, tools.config, open_ids)


async def _from_snapshot(work: Work, source_id: str, snapshot_id: str, target: Path) -> dict[str, Any]:
    tools: Tools = work.tools
    manifest = await tools.snapshots.verify(source_id, snapshot_id)
    await tools.snapshots.copy_to(source_id, snapshot_id, target, work.progress)
    return {"release": manifest.release, "full": True, "left_out": manifest.left_out}


async def _from_now(work: Work, source_id: str, target: Path) -> dict[str, Any]:
    tools: Tools = work.tools
    snapshot_id = derived_id(work.operation_id, "source")
    try:
        manifest = await copy_instance(tools, source_id, snapshot_id, work=work)
        await tools.snapshots.copy_to(source_id, snapshot_id, target, work.progress)
    finally:
        await tools.snapshots.remove(source_id, snapshot_id)
    return {"release": manifest.release, "full": True, "left_out": manifest.left_out}


async def _from_backup(work: Work, backup_id: str, target: Path) -> dict[str, Any]:
    tools: Tools = work.tools
    backup = await tools.database.call(copy_records.backup_facts, backup_id)
    path = path_of(tools, backup)
    if not path.is_file():
        raise BackupNotFound(f"The file of {backup.name} is gone.")
    told = _told(await read_archive(path, target, _limits(tools), work.progress))
    return {**told, "release": backup.release, "full": backup.full}


def _told(opened: Opened) -> dict[str, Any]:
    return {"release": opened.release, "full": opened.full, "left_out": opened.left_out}


def _limits(tools: Tools) -> Limits:
    usage = shutil.disk_usage(tools.config.home)
    return Limits(bytes=usage.total, room=usage.free)


def _return(old: Path, live: Path, new: Path) -> None:
    """`old` in the place of `live`, which goes back to `new` where it came from."""
    replaced = live.exists()
    if replaced:
        remove_tree(new)
        live.rename(new)
    try:
        old.rename(live)
    except OSError as error:
        if replaced:
            # its release is still the one that this data needs: whole, if not what was wanted
            with contextlib.suppress(OSError):
                new.rename(live)
        if not live.exists():
            text = f"The old data could not be put back: {error.strerror}. It is tried until it can; check that disk."
            raise DiskTrouble(text, half_undone=True) from error
        raise


def _make_way(live: Path, old: Path, new: Path, errand: Errand, *, with_data_only: bool) -> None:
    if with_data_only:
        _take_own(live, new, errand)
    live.rename(old)


def _take_own(live: Path, new: Path, errand: Errand) -> None:
    # whole, since what a link leads to is judged by the instance's folder
    copy_tree(live, new, errand, skip=_is_not_own, exact=True)
    # the owner of the live folder came along, and what was brought is not that one's yet
    disown(new)


def _is_not_own(path: str) -> bool:
    top = path.partition("/")[0]
    return top == "pb_data" or top not in FOLDERS


def _sweep(config: Config, open_ids: set[str], used: set[str]) -> set[str]:
    """Ids of the uploads that are left."""
    now, present = time.time(), set()
    paths = list(config.incoming.iterdir()) if config.incoming.is_dir() else []
    for path in paths:
        silent = now - path.lstat().st_mtime
        if path.is_dir() and not path.is_symlink():
            _sweep_folder(path, open_ids)
        elif path.stem not in used and silent > (UPLOAD_SECONDS if path.suffix == ".zip" else SILENT_SECONDS):
            path.unlink(missing_ok=True)
            log.info("removed an upload that nobody used: %s", path.name)
        else:
            present.add(path.stem)
    return present


def _sweep_folder(folder: Path, open_ids: Collection[str]) -> None:
    if folder.name in open_ids:
        return
    if (folder / _OLD).exists():
        log.error("%s holds data that an operation could not put back; look at it before you remove it", folder)
        return
    remove_tree(folder)


def _sweep_rehearsals(config: Config, open_ids: Collection[str]) -> None:
    """Clones of one that was called off while node was away."""
    for path in (config.home / "rehearsals").glob("*"):
        if path.name.partition("-")[0] not in open_ids:
            remove_tree(path)


def _sweep_replaced(config: Config) -> None:
    """Damaged data that a restore replaced, once its time in quarantine is over."""
    for path in config.quarantine_folder.glob("?" * 15 + "-" + "?" * 15):
        # its own change is the move: what lies in it was changed before
        if time.time() - path.lstat().st_ctime > config.quarantine:
            remove_tree(path)
            log.info("replaced data removed: %s", path.name)
