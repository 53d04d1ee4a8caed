"""Who did what (Audit), and what changed (Change): every action writes one of each."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Audit(models.Model):
    """Who did what, and when. Never holds a secret's value."""

    at = models.DateTimeField(auto_now_add=True)
    #: a user's name, or `pocketfleet`
    actor = models.CharField(max_length=150)
    #: the action's name, `rename_instance`
    verb = models.CharField(max_length=50)
    #: id of what was acted upon
    subject = models.CharField(max_length=100)
    #: id of the team that it concerns, who may read it; "" for none
    team = models.CharField(max_length=15, default="", blank=True)
    #: from where: the client's address; "" for pocketfleet itself and the machine's own command line
    address = models.CharField(max_length=45, default="", blank=True)
    #: how the actor was known: `session`, `token`, `operator file`; "" for pocketfleet itself
    via = models.CharField(max_length=20, default="", blank=True)
    detail = models.JSONField(default=dict)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["subject"], name="audit_subject"),
            models.Index(fields=["team", "-id"], name="audit_by_team"),
        ]


class Change(models.Model):
    """What changed, for whoever reads on from the last id; old rows are pruned."""

    #: `instance`, `copy`, `event`, `usage` (key: the instance's id); `operation`, `release`, `source`, `token`, `team`,
    #: `addresses` (key: a network)
    kind = models.CharField(max_length=20)
    key = models.CharField(max_length=100)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["id"]
