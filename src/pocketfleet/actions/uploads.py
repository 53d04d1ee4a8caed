"""Uploads: whose they are, in whose storage they count while they wait, and when they are forgotten."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from pocketfleet.actions.limits import check_storage
from pocketfleet.actions.records import audited, changed
from pocketfleet.domain.hostnames import is_id
from pocketfleet.errors import TeamNotFound, UploadNotFound
from pocketfleet.models import Team, Token, Upload, User


def begin_upload(team_id: str, size: int, *, token: Token | None, acting_user: User) -> str:
    """Its id; in that team there is room for so many bytes, 0 where nobody says how many.

    Raises StorageFull, TeamNotFound.
    """
    with transaction.atomic():
        check_storage(_locked(team_id), size)
        made = Upload.objects.create(team_id=team_id, user=acting_user, token=token, size=size)
        changed("team", team_id)
    return made.id


def finish_upload(upload_id: str, size: int, sha256: str, *, acting_user: User) -> None:
    """It came in whole, with so many bytes; it waits for an operation that uses it.

    Raises StorageFull where more came than there is room for, UploadNotFound where its team is gone meanwhile.
    """
    with transaction.atomic():
        found = find_upload(upload_id)
        if size > found.size:
            check_storage(_locked(found.team_id), size - found.size)
        Upload.objects.filter(pk=found.pk).update(size=size, sha256=sha256)
        audited(acting_user, "upload", upload_id, team=found.team_id, size=size, sha256=sha256)
        changed("team", found.team_id)


def find_upload(upload_id: str) -> Upload:
    """The upload with this id. Raises UploadNotFound."""
    found = Upload.objects.filter(pk=upload_id).first() if is_id(upload_id) else None
    if found is None:
        raise UploadNotFound(f"There is no upload “{upload_id[:40]}”; upload the file first.")
    return found


def forget_upload(upload_id: str) -> None:
    """Its file is gone, or never came; doing it twice is as doing it once."""
    with transaction.atomic():
        found = Upload.objects.filter(pk=upload_id).first()
        if found is not None:
            found.delete()
            changed("team", found.team_id)


def forget_uploads_without_files(present: Collection[str], older_than: timedelta) -> None:
    """What a crash has left: rows that are older than this and have no file among those that are `present` (ids)."""
    old = Upload.objects.filter(created_at__lt=timezone.now() - older_than).values_list("id", flat=True)
    for upload_id in set(old) - set(present):
        forget_upload(upload_id)


def bytes_in(team: Team | None, upload_id: str) -> int:
    """What the upload takes of this team's storage: room that is free again once it is used."""
    found = Upload.objects.filter(pk=upload_id, team=team).values_list("size", flat=True) if team else None
    return (found.first() or 0) if found is not None else 0


def _locked(team_id: str) -> Team:
    """So that two that come at once do not take the same room."""
    team = Team.objects.select_for_update().filter(pk=team_id).first()
    if team is None:
        raise TeamNotFound("The team that this upload is for is gone.")
    return team
