"""What rehearsals found, what owners want probed, and what happened to instances."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from pocketfleet.domain.hostnames import new_id
from pocketfleet.models.instances import Instance


class Rehearsal(models.Model):
    """A release, or data to be restored, judged on clones; `report` is data, and pages and terminal are views of it."""

    id = models.CharField(primary_key=True, max_length=15, default=new_id)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="rehearsals")
    #: id of the operation that carried it out
    operation_id = models.CharField(max_length=15)
    from_release = models.CharField(max_length=50)
    to_release = models.CharField(max_length=50)
    #: `safe`, `changed`, `broken`
    verdict = models.CharField(max_length=7)
    #: plain sentences in order of weight
    reasons = models.JSONField(default=list)
    report = models.JSONField(default=dict)
    #: `upgrade`, or `restore`: other data takes the place of what is there
    kind = models.CharField(max_length=7, default="upgrade")
    #: what a restore brings: `snapshot:ID`, `backup:ID`, or `upload:` with its SHA-256; "" for an upgrade
    origin = models.CharField(max_length=80, default="", blank=True)
    #: of hooks, migrations, schema and both executables: the same inputs need no second rehearsal; "" for a restore
    fingerprint = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [models.Index(fields=["instance", "-created_at"], name="rehearsal_by_instance")]


class Probe(models.Model):
    """A request of the owner's own that every rehearsal makes; those marked safe also after a switch."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="probes")
    method = models.CharField(max_length=7, default="GET")
    path = models.CharField(max_length=2000)
    #: `anonymous` or `superuser`
    identity = models.CharField(max_length=10, default="anonymous")
    body = models.JSONField(null=True)
    expect_status = models.PositiveSmallIntegerField(null=True)
    #: what the JSON answer must contain; None for nothing
    expect_json = models.JSONField(null=True)
    #: changes nothing, so it may be sent to live data
    safe = models.BooleanField(default=False)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["id"]


class Event(models.Model):
    """The durable feed of an instance: what happened, in plain words."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    #: `upgraded`, `upgrade_failed`, `upgrade_available`, `asking`, `rolled_back`, `backup_failed`, `restored`, ...
    kind = models.CharField(max_length=30)
    #: `info`, `warning`, `problem`; the last two are mailed where a mail server is set
    weight = models.CharField(max_length=7, default="info")
    text = models.TextField()
    operation_id = models.CharField(max_length=15, default="", blank=True)
    detail = models.JSONField(default=dict)
    #: when it was mailed; None where it was not (yet)
    mailed_at = models.DateTimeField(null=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [models.Index(fields=["instance", "-id"], name="event_by_instance")]
