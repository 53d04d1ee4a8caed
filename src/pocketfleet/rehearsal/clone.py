"""A clone of a snapshot for one release: own copies of everything, neutralised before it is ever started."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketfleet.errors import ReleaseUnusable, SnapshotUnusable
from pocketfleet.rehearsal.sandbox import Confined, Place, Room, make_room
from pocketfleet.runtime import tables
from pocketfleet.runtime.copying import copy_tree
from pocketfleet.runtime.databases import settle
from pocketfleet.runtime.errands import Errand, carry_out
from pocketfleet.runtime.guest import make_folders

#: Seconds that PocketBase may take to decrypt or encrypt its settings.
_PATIENCE = 20.0
#: Left out of clones: nothing of a rehearsal reads backups, and they may be larger than all the rest.
_LEFT_OUT = "pb_data/backups"


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
class Clone:
    """Data that belongs to nobody else, and the room in which one release will run on it."""

    release: Release
    room: Room
    surroundings: Surroundings
    #: the settings in clear as they are now; None where they are encrypted and the key is not known
    settings: dict[str, Any] | None = field(repr=False)

    @property
    def folder(self) -> Path:
        """What holds `pb_data`, `pb_hooks` and the others."""
        return self.room.folder


async def make_clone(snapshot: Path, work: Path, release: Release, surroundings: Surroundings, place: Place) -> Clone:
    """Copy `snapshot` (a data folder) into the new folder `work` and neutralise the copy.

    Rate limits, backups by cron and S3 are switched off; mail goes to a sink of ours (switched off, PocketBase would
    look for the machine's `sendmail`). Raises DiskTrouble, SnapshotUnusable, ReleaseUnusable, OSError.
    """
    work.mkdir(mode=0o700, parents=True)
    folder = work / "instance"

    def copy(errand: Errand) -> None:
        copy_tree(snapshot, folder, errand, skip=lambda path: path == _LEFT_OUT)
        make_folders(folder)

    await carry_out(copy)
    room = await asyncio.to_thread(make_room, release.executable, folder, work / "room", place)
    settings = await _neutralise(room, work, surroundings.key)
    return Clone(release, room, surroundings, settings)


async def _neutralise(room: Room, work: Path, key: str) -> dict[str, Any] | None:
    if not (room.folder / "pb_data" / "data.db").exists():
        return {}
    raw = await asyncio.to_thread(tables.raw_settings, room.folder)
    if not raw:
        return {}
    settings = _loaded(raw)
    encrypted = settings is None
    if encrypted and key:
        text = await _by_pocketbase(room, work / "unlocking", f"$security.decrypt({_js(_bare(raw))}, {_js(key)})")
        settings = _loaded(text)
    if settings is None:
        return None
    neutral = neutral_settings(settings, room)
    text = json.dumps(neutral)
    if encrypted:
        text = await _by_pocketbase(room, work / "locking", f"$security.encrypt({_js(text)}, {_js(key)})")
        text = json.dumps(text) if raw.startswith('"') else text
    await asyncio.to_thread(_write, room.folder, text)
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


def _loaded(raw: str) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        found = json.loads(raw)
        return found if isinstance(found, dict) else None
    return None


def _bare(raw: str) -> str:
    """The base64 without the quotation marks that some releases store around it."""
    return str(json.loads(raw)) if raw.startswith('"') else raw


def _js(text: str) -> str:
    return json.dumps(text)


def _write(folder: Path, value: str) -> None:
    path = folder / "pb_data" / "data.db"
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            column = "key" if "key" in tables.columns(connection, "_params") else "id"
            connection.execute(f"UPDATE _params SET value = ? WHERE {column} = 'settings'", [value])  # noqa: S608
        settle(path)
    except sqlite3.Error as error:
        raise SnapshotUnusable(f"The clone's settings cannot be written: {error}.", file="data.db") from error


async def _by_pocketbase(room: Room, folder: Path, expression: str) -> str:
    """What an expression is to this release's own hooks, which know its encryption; it runs before any data is opened.

    Answers "" where it fails, as with a wrong key.
    """
    hooks = folder / "instance" / "pb_hooks"
    hooks.mkdir(mode=0o700, parents=True)
    script = f'try {{ $os.writeFile("answer", {expression}, 0o600) }} catch (error) {{ }}\n$os.exit(0)\n'
    (hooks / "ask.pb.js").write_text(script)
    make = asyncio.to_thread(make_room, room.executable, folder / "instance", folder / "room", room.place)
    asked = await make
    paths = [f"--dir={asked.root}/pb_data", f"--hooksDir={asked.root}/pb_hooks", "--hooksWatch=false"]
    confined = await Confined.start(asked, ["serve", f"--http={asked.place.address}:{asked.place.port}", *paths], {})
    try:
        async with asyncio.timeout(_PATIENCE):
            await asyncio.shield(confined.ended)
    except TimeoutError:
        raise ReleaseUnusable("PocketBase did not say within 20 s what its settings hold.") from None
    finally:
        await confined.close()
    answer = folder / "instance" / "answer"
    return answer.read_text() if answer.exists() else ""
