"""Addresses that the operator lets in without limits, or not at all."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class ListedAddress(models.Model):
    """An address or a network, on one of two lists."""

    #: as `domain/networks.py` shows it
    network = models.CharField(max_length=50, unique=True)
    #: `allow` or `deny`
    listing = models.CharField(max_length=5)
    note = models.CharField(max_length=200, default="", blank=True)
    listed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["listing", "network"]
