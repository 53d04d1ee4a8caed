"""Backups: zips that PocketBase's own admin can restore, made from a copy, so that nobody waits and nobody is woken."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pocketfleet.actions import copy_records
from pocketfleet.actions.copy_records import BackupFacts
from pocketfleet.domain.ids import derived_id
from pocketfleet.errors import ArchiveRefused, DiskTrouble, PocketfleetError
from pocketfleet.operations.plan import RESULT, Plan, PlanStep, Work
from pocketfleet.operations.snapshot import copy_instance
from pocketfleet.operations.tools import Tools
from pocketfleet.runtime.archives import verify_archive, write_backup
from pocketfleet.runtime.disk import flush, remove_tree
from pocketfleet.runtime.sources.archives import sha256_of

log = logging.getLogger(__name__)

#: Backups before upgrades that are kept.
BEFORE_UPGRADES = 3


def path_of(tools: Tools, backup: BackupFacts) -> Path:
    """Where a backup lies."""
    return tools.config.backups / backup.instance_id / backup.name


async def make_backup(work: Work, purpose: str, *, full: bool, keep: int | None = None) -> dict[str, Any]:
    """One step: 1 a copy of the instance, 2 a zip of it, 3 read again whole, 4 written down, 5 old ones of this purpose
    beyond `keep` removed.

    One per operation and purpose. Answers {"backup", "name", "bytes", "sha256", "release"}. Raises SnapshotUnusable,
    ArchiveRefused, DiskTrouble.
    """
    tools: Tools = work.tools
    backup_id = derived_id(work.operation_id, f"backup {purpose}")
    if not await tools.database.call(copy_records.has_backup, backup_id):
        await _make(work, backup_id, purpose, full=full)
        await clear_away(work)
    if keep is not None:
        await prune_backups(tools, work.instance_id, purpose, keep)
    made = await tools.database.call(copy_records.backup_facts, backup_id)
    size = path_of(tools, made).stat().st_size
    return {"backup": made.id, "name": made.name, "bytes": size, "sha256": made.sha256, "release": made.release}


async def clear_away(work: Work) -> None:
    """Remove what lies among the instance's backups without being one: what a killed or failed one has left, under
    its name then (somebody may have renamed the instance), and what was forgotten and not yet removed."""
    tools: Tools = work.tools
    known = await tools.database.call(copy_records.names_of_backups, work.instance_id)
    await asyncio.to_thread(_sweep, tools.config.backups / work.instance_id, known)


async def remove_backup(tools: Tools, backup: BackupFacts) -> None:
    """Forget it, then remove its file; or it was never there."""
    await tools.database.call(copy_records.forget_backup, backup.id)
    path_of(tools, backup).unlink(missing_ok=True)


async def prune_backups(tools: Tools, instance_id: str, purpose: str, keep: int) -> None:
    """Remove those of this purpose beyond the newest `keep`. One too many harms nobody: trouble is a warning."""
    for backup in await tools.database.call(copy_records.backups_to_remove, instance_id, purpose, keep):
        try:
            await remove_backup(tools, backup)
        except OSError as error:
            log.warning("backup %s not removed: %s", backup.name, error, extra={"instance": instance_id})


async def _make(work: Work, backup_id: str, purpose: str, *, full: bool) -> None:
    tools: Tools = work.tools
    name = await tools.database.call(copy_records.name_of_backup, work.operation_id)
    target = tools.config.backups / work.instance_id / name
    try:
        manifest = await copy_instance(tools, work.instance_id, backup_id, work=work)
        _check_room(tools, manifest.bytes)
        source = tools.snapshots.path(work.instance_id, backup_id)
        written = await write_backup(source, target, full=full, release=manifest.release, progress=work.progress)
        await verify_archive(target, progress=work.progress)
    finally:
        await tools.snapshots.remove(work.instance_id, backup_id)
    await asyncio.to_thread(flush, target.parent.parent)
    await tools.database.call(
        copy_records.record_backup,
        work.instance_id,
        backup_id,
        name=name,
        purpose=purpose,
        release=manifest.release,
        full=full,
        size=written.size,
        sha256=written.sha256,
    )


def _check_room(tools: Tools, needed: int) -> None:
    free = shutil.disk_usage(tools.config.home).free
    if needed > free:
        raise DiskTrouble(
            f"The backup may need {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free. Make room on the disk.",
            needed=needed,
            free=free,
        )


async def _back_up(work: Work) -> dict[str, Any]:
    params = work.params
    keep = params.get("keep")
    return {RESULT: await make_backup(work, str(params["purpose"]), full=bool(params["full"]), keep=keep)}


async def _tell_of_failure(work: Work) -> None:
    """Whoever asked for it sees that it failed; a scheduled one was asked for by nobody."""
    tools: Tools = work.tools
    await clear_away(work)
    if work.params.get("purpose") == "scheduled":
        await tools.database.call(copy_records.tell_of_failed_backup, work.instance_id, work.operation_id)


def _sweep(folder: Path, known: Collection[str]) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name in known:
            continue
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)


async def _verify(work: Work) -> dict[str, Any]:
    tools: Tools = work.tools
    backup = await tools.database.call(copy_records.backup_facts, str(work.params["backup"]))
    path = path_of(tools, backup)
    await work.progress(None, f"reading {backup.name}")
    if not path.is_file() or await asyncio.to_thread(sha256_of, path) != backup.sha256:
        raise ArchiveRefused(f"{backup.name} is gone or is not what was written. Make another backup.")
    await verify_archive(path, progress=work.progress)
    await tools.database.call(copy_records.mark_verified, backup.id)
    return {RESULT: {"backup": backup.id, "name": backup.name, "sha256": backup.sha256}}


async def _delete(work: Work) -> None:
    tools: Tools = work.tools
    try:
        backup = await tools.database.call(copy_records.backup_facts, str(work.params["backup"]))
    except PocketfleetError:
        await clear_away(work)
        return
    await remove_backup(tools, backup)


PLAN = Plan("backup", (PlanStep("back_up", _back_up, _tell_of_failure),))
VERIFY = Plan("verify", (PlanStep("read", _verify),))
DELETE = Plan("delete_backup", (PlanStep("remove", _delete),))
