"""Packing somebody's PocketBase folder into a zip that can be uploaded; a PocketBase may be running on it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pocketfleet.errors import WrongUsage

_DATA = "pb_data"
_NEIGHBOURS = ("pb_hooks", "pb_migrations", "pb_public")
_DATABASES = (".db", ".sqlite", ".sqlite3")
_SIDES = ("-wal", "-shm", "-journal")
#: Folders in `pb_data` that PocketBase leaves out of its own backups, too.
_LEFT_OUT = ("backups", ".pb_temp_to_delete")


@contextlib.contextmanager
def packed(folder: Path) -> Iterator[Path]:
    """A zip of a `pb_data`, or of a folder that holds it with its hooks, migrations and public files.

    The folder is only read. Raises WrongUsage where there is no PocketBase in it, or it cannot be read.
    """
    data = folder if (folder / "data.db").is_file() else folder / _DATA
    if not (data / "data.db").is_file():
        raise WrongUsage(f"There is no data.db in {folder}, so it is not a PocketBase's.")
    with tempfile.TemporaryDirectory(prefix="pocketfleet-") as place:
        target = Path(place) / "folder.zip"
        try:
            with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False) as made:
                _pack_data(made, data, Path(place))
                for name in _NEIGHBOURS if data != folder else ():
                    for path in _files(folder / name):
                        made.write(path, f"{name}/{path.relative_to(folder / name)}")
        except (OSError, sqlite3.Error) as error:
            raise WrongUsage(f"{folder} cannot be read whole: {error}.") from error
        yield target


def _pack_data(made: zipfile.ZipFile, data: Path, place: Path) -> None:
    for path in _files(data):
        inner = path.relative_to(data)
        if inner.parts[0] in _LEFT_OUT or (len(inner.parts) == 1 and _is_beside(path.name)):
            continue
        if len(inner.parts) == 1 and path.name.endswith(_DATABASES):
            copy = place / path.name
            _copy_database(path, copy)
            made.write(copy, f"{_DATA}/{path.name}")
            copy.unlink()
        else:
            made.write(path, f"{_DATA}/{inner}")


def _files(folder: Path) -> Iterator[Path]:
    """Plain files below a folder; links are not followed."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _is_beside(name: str) -> bool:
    return any(name.endswith(side) for side in _SIDES)


def _copy_database(source: Path, target: Path) -> None:
    """With a `-shm` beside it somebody may have it open: SQLite's own way then. Else opening it would leave files."""
    if source.with_name(f"{source.name}-shm").exists():
        address = f"{source.absolute().as_uri()}?mode=ro"
        live, copy = sqlite3.connect(address, uri=True), sqlite3.connect(target)
        with contextlib.closing(live), contextlib.closing(copy):
            live.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        return
    shutil.copyfile(source, target)
    wal = source.with_name(f"{source.name}-wal")
    if wal.exists():
        shutil.copyfile(wal, target.with_name(f"{target.name}-wal"))
        with contextlib.closing(sqlite3.connect(target)) as copy:
            copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
