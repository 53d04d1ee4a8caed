"""What instances were used for: their requests by the hour, and up to where the edge's counters were counted."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from pocketfleet.models.instances import Instance


class Usage(models.Model):
    """One hour of one instance; hours without a request or a change of size have no row. Kept for 32 days."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="usage")
    #: when it began, UTC
    hour = models.DateTimeField()
    requests = models.PositiveBigIntegerField(default=0)
    #: of the requests, those answered with 4xx
    client_errors = models.PositiveBigIntegerField(default=0)
    #: of the requests, those that PocketBase answered with 5xx, or not at all
    server_errors = models.PositiveBigIntegerField(default=0)
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)
    #: of its files, at the end of the hour; None where it is not known
    size_bytes = models.PositiveBigIntegerField(null=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["hour"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["instance", "hour"], name="one_usage_per_hour")]
        indexes: ClassVar = [models.Index(fields=["hour"], name="usage_by_hour")]


class CounterMark(models.Model):
    """Up to where one instance's counters at the edge are in its Usage rows; only while the edge has such counters."""

    instance = models.OneToOneField(Instance, on_delete=models.CASCADE, primary_key=True)
    #: see routing/counters.py
    marks = models.JSONField(default=dict)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
