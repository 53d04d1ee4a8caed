"""The shapes of what the API takes and gives about copies: snapshots, backups, restores, clones, imports, the feed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Schema
from pydantic import Field

from pocketfleet.web.api.schemas import In, InstanceOut, OperationOut


class SnapshotOut(Schema):
    """A copy on the server's disk, to go back to."""

    id: str
    purpose: Literal["manual", "scheduled", "rehearsal", "checkpoint"]
    release: str = Field(description="The one that the data belongs to.")
    size: int = Field(description="Bytes; what snapshots share is counted in each.")
    note: str
    kept_for: str = Field(description="The operation whose way back it is; then it is never pruned.")
    records: dict[str, int] = Field(description="Rows by table.")
    created_at: datetime


class SnapshotsOut(Schema):
    """An instance's snapshots, the newest first."""

    items: list[SnapshotOut]


class SnapshotIn(In):
    """A new snapshot."""

    note: str = Field("", max_length=500)


class BackupOut(Schema):
    """A zip that PocketBase can restore."""

    id: str
    name: str
    purpose: Literal["manual", "scheduled", "upgrade", "uploaded", "lost"] = Field(
        description="`lost`: what a rollback would lose, exported; nothing to restore."
    )
    release: str
    full: bool = Field(description="With hooks, migrations and public files.")
    size: int
    sha256: str
    verified_at: datetime | None
    created_at: datetime


class BackupsOut(Schema):
    """An instance's backups, the newest first."""

    items: list[BackupOut]


class BackupIn(In):
    """A new backup."""

    full: bool = False


class RestoreIn(In):
    """What to restore: one of these. `backup` is a name or an id, `upload` what `POST /uploads` answered."""

    snapshot: str | None = Field(None, max_length=100)
    backup: str | None = Field(None, max_length=200)
    upload: str | None = Field(None, max_length=100)
    rehearse: bool | None = Field(
        None, description="Try it on copies first, beside what is there now. Usual for an upload, and for nothing else."
    )
    rehearse_only: bool = Field(False, description="Stop after the rehearsal; an upload can still be used.")
    accept_changes: bool = Field(
        False, description="Go on where the verdict is `changed`, if the newest rehearsal of this told all of it."
    )
    rehearsal: str | None = Field(
        None, max_length=100, description="The rehearsal whose findings are accepted, instead of the newest."
    )


class CloneIn(In):
    """A new instance with the data of another: as it is now, or as a snapshot or backup of it has it."""

    name: str = Field(max_length=200)
    snapshot: str | None = Field(None, max_length=100)
    backup: str | None = Field(None, max_length=200)
    keep_mail: bool = False
    keep_s3: bool = False
    team: str | None = Field(None, max_length=100, description="Whose the clone is; else the source's team's.")


class ImportIn(In):
    """A new instance of an uploaded PocketBase. Without a range it follows the line that fits the data."""

    name: str = Field(max_length=200)
    upload: str = Field(max_length=100)
    range: str | None = Field(None, max_length=500)
    email: str | None = Field(None, max_length=500)
    password: str | None = Field(None, max_length=500)
    settings: dict[str, Any] | None = None
    team: str | None = Field(None, max_length=100, description="Whose it is; else your own.")


class MadeOut(Schema):
    """A new instance on its way."""

    instance: InstanceOut
    operation: OperationOut


class EventOut(Schema):
    """Something that happened to an instance."""

    id: int
    at: datetime
    kind: str
    weight: Literal["info", "warning", "problem"]
    text: str
    operation_id: str = Field(description="Empty where it came of no operation.")
    detail: dict[str, Any]
    mailed_at: datetime | None


class EventsOut(Schema):
    """An instance's feed, the newest first."""

    items: list[EventOut]
