"""The catalogue: every release that any source knows."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Release(models.Model):
    """One published PocketBase version. Its sha256 is that of the executable, kept from its first fetch for ever."""

    #: exact version, `0.40.6`
    id = models.CharField(primary_key=True, max_length=50)
    #: hexadecimal SHA-256 of the executable; "" until it was fetched once
    sha256 = models.CharField(max_length=64, default="", blank=True)
    #: the source that gave the executable
    source = models.CharField(max_length=10, default="", blank=True)
    fetched_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"


class Offer(models.Model):
    """A source that has a release: where to get it, and its checksum where the source tells one."""

    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="offers")
    source = models.CharField(max_length=10)
    #: what the source needs to fetch it: {"url", "checksums_url", "path", ...}
    location = models.JSONField(default=dict)
    #: hexadecimal SHA-256 of the archive or, for a folder, of the executable; "" where it is told at fetching
    checksum = models.CharField(max_length=64, default="", blank=True)
    published_at = models.DateTimeField(null=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        constraints: ClassVar = [models.UniqueConstraint(fields=["release", "source"], name="one_offer_per_source")]


class Source(models.Model):
    """How the last look at a source went."""

    #: `pypi`, `github`, `folder`
    id = models.CharField(primary_key=True, max_length=10)
    refreshed_at = models.DateTimeField(null=True)
    #: why the last look failed, in plain words; "" if it did not
    warning = models.TextField(default="", blank=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
