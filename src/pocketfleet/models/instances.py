"""Instances: what their owners want (intents) and what node last saw."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from pocketfleet.domain.states import Power, Process
from pocketfleet.models.teams import Team


class Instance(models.Model):
    """One tenant's PocketBase. A deleted one keeps its row, without a name, so that id and address never return."""

    id = models.CharField(primary_key=True, max_length=15)
    #: its subdomain; None once it is deleted, so that the name is free at once
    name = models.CharField(max_length=63, unique=True, null=True)
    #: see domain/addresses.py
    number = models.PositiveIntegerField(unique=True)
    #: whose it is; None (its team is gone) leaves it to the operators
    team = models.ForeignKey(Team, null=True, on_delete=models.SET_NULL, related_name="instances")
    #: the semver text it follows
    range = models.CharField(max_length=200)
    #: the exact version it runs; "" until it was resolved
    release = models.CharField(max_length=50, default="", blank=True)
    superuser_email = models.CharField(max_length=255, default="", blank=True)

    # intents: an action raises `generation`, node writes it to `observed_generation` when things are so
    power = models.CharField(max_length=3, default=Power.ON)
    suspended = models.TextField(default="", blank=True)
    idle_timeout = models.PositiveIntegerField(null=True)
    dev = models.BooleanField(default=False)
    always_awake = models.BooleanField(default=False)
    #: every member's address exists as a superuser of its PocketBase
    admin_sync = models.BooleanField(default=False)
    #: {NAME: value}, values sealed, see actions/sealed.py
    secrets = models.JSONField(default=dict)
    generation = models.PositiveBigIntegerField(default=1)
    observed_generation = models.PositiveBigIntegerField(default=0)

    #: limits of its traffic by name (domain/traffic.py) that are stricter than its team's
    traffic_limits = models.JSONField(default=dict)

    # how it follows its range
    #: `auto`, `schema-safe`, `ask`, `off`; see domain/policies.py
    policy = models.CharField(max_length=11, default="ask")
    #: {"days": [0..6, Monday is 0], "from": "02:00", "to": "05:00", "zone": "Europe/Vienna"}; {} for any time
    window = models.JSONField(default=dict)
    #: {release: see domain/refusals.py} of what failed or was taken back, not to be tried again by itself
    refused = models.JSONField(default=dict)

    # how it is kept
    #: {"cron": "0 3 * * *", "zone": "UTC", "keep": 7, "full": false}; {} for none
    backup_plan = models.JSONField(default=dict)
    #: the next moment of the plan; what is past is due, once however many moments were missed. None without a plan
    next_backup_at = models.DateTimeField(null=True)
    #: {"last": 5, "daily": 7, "weekly": 4}; {} for the server's own rule
    retention = models.JSONField(default=dict)

    # what node saw
    hold = models.CharField(max_length=15, default="", blank=True)
    process = models.CharField(max_length=7, default=Process.ASLEEP)
    #: why it is failing, in plain words and PocketBase's own last lines; "" otherwise
    reason = models.TextField(default="", blank=True)
    retry_at = models.DateTimeField(null=True)
    #: folders and first superuser are there
    ready = models.BooleanField(default=False)
    #: it has been started at least once
    has_run = models.BooleanField(default=False)
    awake_since = models.DateTimeField(null=True)
    #: written every few minutes while it is awake, and when it falls asleep
    last_request_at = models.DateTimeField(null=True)
    #: of its files when they were last measured; None until then
    size_bytes = models.PositiveBigIntegerField(null=True)

    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)
    #: its files are gone for good
    purged_at = models.DateTimeField(null=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["name"]
        indexes: ClassVar = [
            models.Index(
                fields=["deleted_at"],
                name="instance_quarantined",
                condition=models.Q(deleted_at__isnull=False, purged_at__isnull=True),
            ),
            models.Index(
                fields=["process"],
                name="instance_not_asleep",
                condition=~models.Q(process="asleep"),
            ),
            models.Index(
                fields=["id"],
                name="instance_always_awake",
                condition=models.Q(always_awake=True),
            ),
            models.Index(
                fields=["next_backup_at"],
                name="instance_backup_due",
                condition=models.Q(next_backup_at__isnull=False),
            ),
            models.Index(
                fields=["generation"],
                name="instance_unobserved",
                condition=~models.Q(observed_generation=models.F("generation")),
            ),
        ]
