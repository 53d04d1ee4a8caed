"""The folders of an instance: made, moved to quarantine and back, removed. Symlinks in them are never followed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pocketfleet.config import Config
from pocketfleet.runtime import guest

#: Names inside `home/quarantine/<id>`.
_INSTANCE = "instance"
_LOGS = "logs"


def make_folders(config: Config, instance_id: str) -> None:
    """The tenant's folders and the one for its logs; those that are there stay as they are."""
    guest.make_folders(config.instances / instance_id)
    (config.logs / instance_id).mkdir(mode=0o700, parents=True, exist_ok=True)
    _flush(config.instances)


def remove_folders(config: Config, instance_id: str) -> None:
    """Take away what `make_folders` made, and what has come into them since."""
    _remove(config.instances / instance_id)
    _remove(config.logs / instance_id)


def to_quarantine(config: Config, instance_id: str) -> None:
    """Move what is there by rename."""
    quarantine = config.quarantine_folder / instance_id
    quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)
    for here, there in _moves(config, instance_id):
        if here.exists() and not there.exists():
            here.rename(there)
    _flush(quarantine)
    _flush(config.instances)


def from_quarantine(config: Config, instance_id: str) -> None:
    """Move back what is there."""
    for here, there in _moves(config, instance_id):
        if there.exists():
            # our own log may have been begun anew meanwhile; what was moved away is the longer one
            _remove(here)
            there.rename(here)
    _remove(config.quarantine_folder / instance_id)
    _flush(config.instances)


def purge_quarantine(config: Config, instance_id: str) -> None:
    """Remove what is in quarantine for good, and logs that were written after the move."""
    _remove(config.quarantine_folder / instance_id)
    _remove(config.logs / instance_id)


def _moves(config: Config, instance_id: str) -> list[tuple[Path, Path]]:
    quarantine = config.quarantine_folder / instance_id
    return [
        (config.instances / instance_id, quarantine / _INSTANCE),
        (config.logs / instance_id, quarantine / _LOGS),
    ]


def _remove(folder: Path) -> None:
    """rmtree works along open folders here, so that a symlink put in its way meanwhile is not followed."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
