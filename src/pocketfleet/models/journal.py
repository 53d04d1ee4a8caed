"""The journal: durable pieces of work and their steps."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from pocketfleet.domain.hostnames import new_id
from pocketfleet.domain.states import OPEN_OPERATION_STATES, OperationState, StepState
from pocketfleet.models.instances import Instance

_OPEN = models.Q(state__in=sorted(OPEN_OPERATION_STATES))


class Operation(models.Model):
    """One durable piece of work. At most one open, exclusive one per instance; at most one open one per key."""

    id = models.CharField(primary_key=True, max_length=15, default=new_id)
    kind = models.CharField(max_length=30)
    instance = models.ForeignKey(Instance, null=True, on_delete=models.CASCADE, related_name="operations")
    #: what two open operations may not share, such as `fetch 0.40.6`; "" for nothing
    key = models.CharField(max_length=100, default="", blank=True)
    exclusive = models.BooleanField(default=True)
    state = models.CharField(max_length=11, default=OperationState.PENDING)
    params = models.JSONField(default=dict)
    result = models.JSONField(default=dict)
    #: problem+json of what made it fail; empty otherwise
    error = models.JSONField(default=dict)
    #: who asked: a user's name, or `pocketfleet`
    actor = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["created_at", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["instance"], condition=_OPEN & models.Q(exclusive=True), name="one_open_per_instance"
            ),
            models.UniqueConstraint(fields=["key"], condition=_OPEN & ~models.Q(key=""), name="one_open_per_key"),
        ]
        indexes: ClassVar = [models.Index(fields=["state"], name="operation_open", condition=_OPEN)]


class Step(models.Model):
    """One step of an operation; recorded as done after its effect."""

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=30)
    state = models.CharField(max_length=12, default=StepState.RUNNING)
    #: what later steps read
    output = models.JSONField(default=dict)
    #: 0 to 1; None where it cannot be known
    progress = models.FloatField(null=True)
    message = models.CharField(max_length=200, default="", blank=True)
    #: how often it was begun
    attempts = models.PositiveSmallIntegerField(default=1)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["position"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["operation", "position"], name="one_step_per_position")
        ]
