"""Copies of instances: snapshots to go back to, backups to keep and take away, uploads that wait to be used."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from pocketfleet.domain.hostnames import new_id
from pocketfleet.models.instances import Instance
from pocketfleet.models.teams import Team


class Snapshot(models.Model):
    """A consistent copy on the same disk, under `snapshots/<instance>/<id>/`; written down once it is verified."""

    id = models.CharField(primary_key=True, max_length=15, default=new_id)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="snapshots")
    #: `manual`, `scheduled`, `rehearsal`, `checkpoint`
    purpose = models.CharField(max_length=10)
    #: the release that the data belongs to
    release = models.CharField(max_length=50)
    #: bytes, hard-linked files counted as if they were alone
    size = models.PositiveBigIntegerField(default=0)
    #: what runtime/snapshots.py noted: counts per collection, fingerprints, integrity
    manifest = models.JSONField(default=dict)
    #: id of the operation whose way back this is; never pruned while set
    kept_for = models.CharField(max_length=15, default="", blank=True)
    note = models.CharField(max_length=200, default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [models.Index(fields=["instance", "-created_at"], name="snapshot_by_instance")]


class Backup(models.Model):
    """A zip that PocketBase's own admin can restore, under `backups/<instance>/<name>`."""

    id = models.CharField(primary_key=True, max_length=15, default=new_id)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="backups")
    #: file name, `shop-20261123-080300.zip`
    name = models.CharField(max_length=150)
    #: `manual`, `scheduled`, `upgrade`, `uploaded`
    purpose = models.CharField(max_length=10)
    release = models.CharField(max_length=50)
    #: hooks, migrations and public files are in it, too
    full = models.BooleanField(default=False)
    size = models.PositiveBigIntegerField(default=0)
    #: hexadecimal SHA-256 of the file
    sha256 = models.CharField(max_length=64)
    #: when it was last read whole and found sound
    verified_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["-created_at"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["instance", "name"], name="one_backup_per_name")]


class Upload(models.Model):
    """A file in `incoming/` that waits for an operation that uses it; written down before its first byte."""

    id = models.CharField(primary_key=True, max_length=15, default=new_id)
    #: in whose storage it counts while it lies there, and whose members may use it
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="uploads")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    #: the token that it came with; None for a browser, and for the machine's own command line
    token = models.ForeignKey("pocketfleet.Token", null=True, on_delete=models.SET_NULL, related_name="+")
    #: bytes; of one that is still on its way, those that were announced
    size = models.PositiveBigIntegerField(default=0)
    #: hexadecimal SHA-256 of the file; "" while it is on its way
    sha256 = models.CharField(max_length=64, default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["id"]
