"""The folders of an instance: made, moved to quarantine and back, removed. Symlinks in them are never followed."""

from __future__ import annotations

from pathlib import Path

from pocketfleet.config import Config
from pocketfleet.runtime import guest
from pocketfleet.runtime.disk import flush, remove_tree

#: Names inside `home/quarantine/<id>`.
_INSTANCE = "instance"
_LOGS = "logs"


def make_folders(config: Config, instance_id: str) -> None:
    """The tenant's folders and the one for its logs; those that are there stay as they are."""
    guest.make_folders(config.instances / instance_id)
    (config.logs / instance_id).mkdir(mode=0o700, parents=True, exist_ok=True)
    flush(config.instances)


def remove_folders(config: Config, instance_id: str) -> None:
    """Take away what `make_folders` made, and what has come into them since."""
    remove_tree(config.instances / instance_id)
    remove_tree(config.logs / instance_id)


def to_quarantine(config: Config, instance_id: str) -> None:
    """Move what is there by rename."""
    quarantine = config.quarantine_folder / instance_id
    quarantine.mkdir(mode=0o700, parents=True, exist_ok=True)
    for here, there in _moves(config, instance_id):
        if here.exists() and not there.exists():
            here.rename(there)
    flush(quarantine)
    flush(config.instances)


def from_quarantine(config: Config, instance_id: str) -> None:
    """Move back what is there."""
    for here, there in _moves(config, instance_id):
        if there.exists():
            # our own log may have been begun anew meanwhile; what was moved away is the longer one
            remove_tree(here)
            there.rename(here)
    remove_tree(config.quarantine_folder / instance_id)
    flush(config.instances)


def purge_quarantine(config: Config, instance_id: str) -> None:
    """Remove what is in quarantine for good, and logs that were written after the move."""
    remove_tree(config.quarantine_folder / instance_id)
    remove_tree(config.logs / instance_id)


def _moves(config: Config, instance_id: str) -> list[tuple[Path, Path]]:
    quarantine = config.quarantine_folder / instance_id
    return [
        (config.instances / instance_id, quarantine / _INSTANCE),
        (config.logs / instance_id, quarantine / _LOGS),
    ]
