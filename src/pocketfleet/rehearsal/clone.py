"""A clone of a snapshot for one release: own copies of everything, neutralised before it is ever started."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketfleet.rehearsal.locked_settings import Key, loaded
from pocketfleet.rehearsal.sandbox import Place, Room, make_room
from pocketfleet.runtime import tables
from pocketfleet.runtime.beneath import exists
from pocketfleet.runtime.copying import copy_tree, note_tree, repair_tree
from pocketfleet.runtime.errands import Errand, carry_out
from pocketfleet.runtime.guest import make_folders
from pocketfleet.runtime.ledgers import RACY, Ledger
from pocketfleet.runtime.owners import own
from pocketfleet.runtime.switching_off import write_settings

#: Left out of clones: nothing of a rehearsal reads backups, and they may be larger than all the rest.
_LEFT_OUT = "pb_data/backups"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Release:
    """A release that is here: its version and its executable."""

    version: str
    executable: Path


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What PocketBase is given besides its data. `encryption_env` names the secret that holds the settings' key."""

    secrets: Mapping[str, str] = field(repr=False)
    dev: bool = False
    encryption_env: str = ""

    @property
    def key(self) -> str:
        """The key of encrypted settings, "" where none is known."""
        return self.secrets.get(self.encryption_env, "") if self.encryption_env else ""


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of a clone, and what they were when they were copied: the next clone takes them over."""

    folder: Path
    ledger: Ledger = field(repr=False)


@dataclass(frozen=True, slots=True)
class Clone:
    """Data that belongs to nobody else, and the room in which one release will run on it."""

    release: Release
    room: Room
    surroundings: Surroundings
    #: the settings in clear as they are now; None where they are encrypted and the key is not known
    settings: dict[str, Any] | None = field(repr=False)
    tree: Tree

    @property
    def folder(self) -> Path:
        """What holds `pb_data`, `pb_hooks` and the others."""
        return self.room.folder


async def make_clone(
    snapshot: Path,
    work: Path,
    release: Release,
    surroundings: Surroundings,
    place: Place,
    used: Tree | None = None,
) -> Clone:
    """Copy `snapshot` (a data folder) into the new folder `work` and neutralise the copy.

    `used`: files of a clone that nothing runs on any more. They are taken over, and only what its round changed is
    copied anew: copying and removing 50,000 files takes a minute, looking through them a second.

    Rate limits, backups by cron and S3 are switched off; mail goes to a sink of ours (switched off, PocketBase would
    look for the machine's `sendmail`). Raises DiskTrouble, SnapshotUnusable, ReleaseUnusable, OSError.
    """
    work.mkdir(mode=0o700, parents=True)
    folder = work / "instance"

    def copy(errand: Errand) -> Ledger:
        ledger = _taken_over(used, snapshot, folder, place.user, errand) if used else None
        if ledger is None:
            began = time.monotonic()
            copy_tree(snapshot, folder, errand, skip=_is_left_out, ours=True)
            own(folder, place.user, whole=True)
            # what was made in the last two seconds is not believed, and would be copied again and again
            errand.pause(min(RACY, (time.monotonic() - began) / 4))
            ledger = note_tree(folder, errand)
        make_folders(folder)
        own(folder, place.user)
        return ledger

    ledger = await carry_out(copy)
    room = await asyncio.to_thread(make_room, release.executable, folder, work / "room", place)
    settings = await _neutralise(room, work, surroundings.key)
    return Clone(release, room, surroundings, settings, Tree(folder, ledger))


def _taken_over(used: Tree, snapshot: Path, folder: Path, user: int, errand: Errand) -> Ledger | None:
    """The notes of what is there now; None where that did not go: then it is put aside, and nothing is there."""
    try:
        used.folder.rename(folder)
        repair_tree(snapshot, folder, used.ledger, errand, skip=_is_left_out)
        own(folder, user, whole=True)
    except OSError as error:
        # a hook may have closed folders to us
        _log.info("a clone's files could not be taken over: %s", error)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(folder.with_name("spoilt"))
        return None
    return used.ledger


def _is_left_out(path: str) -> bool:
    return path == _LEFT_OUT


async def _neutralise(room: Room, work: Path, key: str) -> dict[str, Any] | None:
    if not exists(room.folder, "pb_data/data.db"):
        return {}
    raw = await asyncio.to_thread(tables.raw_settings, room.folder)
    if not raw:
        return {}
    key_of = Key(key, room.executable, room.place, work)
    settings = loaded(raw)
    encrypted = settings is None
    if encrypted:
        settings = await key_of.unlocked(raw)
    if settings is None:
        return None
    neutral = neutral_settings(settings, room)
    text = await key_of.locked(neutral, raw) if encrypted else json.dumps(neutral)
    await asyncio.to_thread(write_settings, room.folder, text)
    return neutral


def neutral_settings(settings: dict[str, Any], room: Room) -> dict[str, Any]:
    """The settings with nothing in them that reaches out, or refuses many requests."""
    changed = dict(settings)
    mail = {"enabled": True, "host": room.place.address, "port": room.place.mail_port, "tls": False, "localName": ""}
    changed["smtp"] = {**_part(settings, "smtp"), **mail, "username": "", "password": "", "authMethod": ""}
    changed["s3"] = {**_part(settings, "s3"), "enabled": False}
    backups = _part(settings, "backups")
    changed["backups"] = {**backups, "cron": "", "s3": {**_part(backups, "s3"), "enabled": False}}
    if "rateLimits" in settings:
        changed["rateLimits"] = {**_part(settings, "rateLimits"), "enabled": False}
    if settings.get("superuserIPs"):
        changed["superuserIPs"] = []
    return changed


def _part(settings: dict[str, Any], name: str) -> dict[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}
