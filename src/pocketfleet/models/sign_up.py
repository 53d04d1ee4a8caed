"""Who was invited to make an account on this server."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class SignUpInvitation(models.Model):
    """An operator's invitation to make an account with this address; only the SHA-256 of its link is kept."""

    email = models.EmailField(max_length=254)
    digest = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["id"]
