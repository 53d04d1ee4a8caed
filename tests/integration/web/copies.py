"""Copies as node would have written them down, with the file of a backup."""

from __future__ import annotations

import hashlib

from pocketfleet.actions import copy_records
from pocketfleet.config import Config
from pocketfleet.domain.hostnames import new_id
from pocketfleet.models import Backup, Instance, Snapshot


def make_snapshot(instance: Instance, release: str = "0.40.6", **facts: str) -> Snapshot:
    """A snapshot that is there."""
    manifest = {"bytes": 12_345_678, "counts": {"posts": 3}}
    snapshot_id = new_id()
    given = {"purpose": "manual", **facts}
    copy_records.record_snapshot(instance.id, snapshot_id, release=release, manifest=manifest, **given)
    return Snapshot.objects.get(id=snapshot_id)


def make_backup(config: Config, instance: Instance, name: str = "shop-20261123-080300.zip") -> Backup:
    """A backup that is there; its file is no zip."""
    folder = config.backups / instance.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"the zip")
    sha256 = hashlib.sha256(b"the zip").hexdigest()
    return Backup.objects.create(
        instance=instance, name=name, purpose="manual", release="0.40.6", size=3_400_000, sha256=sha256
    )
