"""What going back would lose, to take away: a zip of records as JSON and of files."""

from __future__ import annotations

import json
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pocketfleet.runtime.archives import Written
from pocketfleet.runtime.changes import Changes, changes_between, records
from pocketfleet.runtime.disk import disk_trouble, flush
from pocketfleet.runtime.errands import Errand, Progress, carry_out
from pocketfleet.runtime.sources.archives import sha256_of

VERSION = 1


async def write_losses(
    old: Path, new: Path, target: Path, facts: Mapping[str, Any], progress: Progress | None = None
) -> Written:
    """All records and files that `new` has and `old` has not, or not so, at `target`: flushed, then renamed.

    `lost.json` has the numbers and the ids of what was deleted (going back brings that back), `records/NAME.json` the
    created and changed records of a collection, `files/` the files as they lie in storage, `own/` those of hooks,
    migrations and public files. Raises SnapshotUnusable, DiskTrouble.
    """

    def work(errand: Errand) -> Written:
        fresh = target.with_name(f".{target.name}.part")
        with disk_trouble("The export could not be written"):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                changes = changes_between(old, new, listed=None)
                with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as archive:
                    _pack(archive, new, changes, facts, errand)
                flush(fresh)
                written = Written(fresh.stat().st_size, sha256_of(fresh))
                fresh.rename(target)
            finally:
                fresh.unlink(missing_ok=True)
            flush(target.parent)
        return written

    return await carry_out(work, progress)


def _pack(archive: zipfile.ZipFile, new: Path, changes: Changes, facts: Mapping[str, Any], errand: Errand) -> None:
    found = {name: asdict(changed) for name, changed in changes.records.items()}
    summary = {"version": VERSION, **facts, "records": found, **changes.besides}
    archive.writestr("lost.json", json.dumps(summary, indent=1))
    for name, changed in changes.records.items():
        errand.say(None, f"writing records of {name}")
        with archive.open(f"records/{_file_name(name)}.json", "w", force_zip64=True) as opened:
            opened.write(b'{"created": [')
            _write_records(opened, new, name, changed.created_ids)
            opened.write(b'], "changed": [')
            _write_records(opened, new, name, changed.changed_ids)
            opened.write(b"]}\n")
    for changed, folder, name in (
        (changes.files, new / "pb_data" / "storage", "files"),
        (changes.own, new, "own"),
    ):
        for path in [*changed.created_ids, *changed.changed_ids]:
            errand.check()
            if stat.S_ISREG((folder / path).lstat().st_mode):
                archive.write(folder / path, f"{name}/{path}", zipfile.ZIP_STORED)


def _write_records(opened: Any, new: Path, collection: str, ids: list[str]) -> None:
    for number, record in enumerate(records(new, collection, ids)):
        opened.write((b",\n" if number else b"\n") + json.dumps(record, ensure_ascii=False).encode())


def _file_name(collection: str) -> str:
    return re.sub(r"[^\w-]", "_", collection)
