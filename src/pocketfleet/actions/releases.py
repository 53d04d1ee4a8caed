"""The catalogue: what sources offer, what was fetched, and asking for more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from pocketfleet.actions.operations import open_operation
from pocketfleet.actions.records import audited, changed
from pocketfleet.domain.releases import Version
from pocketfleet.errors import NoReleaseMatches, ReleaseUnusable
from pocketfleet.models import Instance, Offer, Operation, Release, Source, User


@dataclass(frozen=True, slots=True)
class Offered:
    """One release as a source offers it."""

    version: str
    location: dict[str, Any] = field(default_factory=dict)
    checksum: str = ""
    published_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HowToFetch:
    """Where a release can be had, by source, and the sha256 (with the source that gave it) that it must have."""

    version: str
    sha256: str
    source: str
    offers: dict[str, Offered]


def refresh_releases(*, acting_user: User | None) -> Operation:
    """Look for releases at every source; one look at a time."""
    with transaction.atomic():
        operation = open_operation("refresh", key="refresh", acting_user=acting_user)
        audited(acting_user, "refresh_releases", "releases")
    return operation


def fetch_release(version: str, *, acting_user: User | None) -> Operation:
    """Fetch one release's executable; whoever asks meanwhile gets the same operation. Raises NoReleaseMatches."""
    version = Version.parse(version).text
    if not Release.objects.filter(id=version).exists():
        raise NoReleaseMatches(f"No source has the release {version}; `pocketfleet releases` shows them.")
    with transaction.atomic():
        operation = open_operation(
            "fetch", key=f"fetch {version}", params={"release": version}, acting_user=acting_user
        )
        audited(acting_user, "fetch_release", version)
    return operation


def record_offers(source: str, offered: Iterable[Offered]) -> int:
    """Write down what a source offers now; answers how many releases were new.

    A release that was fetched is never forgotten, and a checksum stays as it was first seen for as long as the
    source offers the release.
    """
    items = {item.version: item for item in offered}
    with transaction.atomic():
        seen = dict(Offer.objects.filter(source=source).exclude(checksum="").values_list("release_id", "checksum"))
        known = set(Release.objects.filter(id__in=list(items)).values_list("id", flat=True))
        new = [version for version in items if version not in known]
        Release.objects.bulk_create([Release(id=version) for version in new], ignore_conflicts=True)
        Offer.objects.bulk_create(
            [
                Offer(
                    release_id=item.version,
                    source=source,
                    location=item.location,
                    checksum=seen.get(item.version, item.checksum),
                    published_at=item.published_at,
                )
                for item in items.values()
            ],
            update_conflicts=True,
            unique_fields=["release", "source"],
            update_fields=["location", "checksum", "published_at"],
        )
        Offer.objects.filter(source=source).exclude(release_id__in=list(items)).delete()
        Release.objects.filter(offers=None, sha256="").delete()
        Source.objects.update_or_create(id=source, defaults={"refreshed_at": timezone.now(), "warning": ""})
        changed("release", *new[:100])
        changed("source", source)
    return len(new)


def record_source_down(source: str, warning: str) -> None:
    """Write down why a source did not answer; what it offered before stays."""
    with transaction.atomic():
        Source.objects.update_or_create(id=source, defaults={"warning": warning[:1000]})
        changed("source", source)


def record_fetched(version: str, source: str, sha256: str) -> None:
    """Write down the executable's sha256. The first source wins for ever: raises ReleaseUnusable for another."""
    with transaction.atomic():
        release = Release.objects.select_for_update().filter(id=version).first()
        if release is None:
            release = Release(id=version)
        if release.sha256 and release.sha256 != sha256:
            raise ReleaseUnusable(
                f"PocketBase {version} from {source} is not the one that was fetched first (from {release.source}): "
                "its sha256 differs. It was not installed; find out which of the two is right.",
                release=version,
            )
        if not release.sha256:
            release.sha256, release.source = sha256, source
        release.fetched_at = timezone.now()
        release.save()
        changed("release", version)


def how_to_fetch(version: str) -> HowToFetch:
    """What is known of a release's executable, and who offers it. Raises NoReleaseMatches."""
    release = Release.objects.filter(id=version).first()
    if release is None:
        raise NoReleaseMatches(f"No source has the release {version}; `pocketfleet releases` shows them.")
    offers = {
        offer.source: Offered(version, offer.location, offer.checksum, offer.published_at)
        for offer in Offer.objects.filter(release_id=version)
    }
    return HowToFetch(version, release.sha256, release.source, offers)


def fetched_releases() -> dict[str, str]:
    """The sha256 of every release that was ever fetched, by version."""
    return dict(Release.objects.exclude(sha256="").values_list("id", "sha256"))


def releases_in_use() -> set[str]:
    """The releases that instances run."""
    query = Instance.objects.filter(deleted_at=None).exclude(release="")
    return set(query.order_by().values_list("release", flat=True).distinct())


def release_count() -> int:
    """How many releases the catalogue holds."""
    return Release.objects.count()


def known_releases() -> list[str]:
    """The versions of the whole catalogue, in no order."""
    return list(Release.objects.values_list("id", flat=True))
