"""Teams: whose an instance is, who is in them, and who was invited."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from pocketfleet.domain.hostnames import new_id
from pocketfleet.domain.roles import Role


class Team(models.Model):
    """Whose an instance is. Everybody has one of their own from the start; others are made."""

    id = models.CharField(primary_key=True, max_length=15, default=new_id)
    name = models.CharField(max_length=100)
    #: whose own it is; None for one that somebody made
    own_of = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="own_team"
    )
    #: instances awake at once; None for the server's setting
    awake_limit = models.PositiveIntegerField(null=True)
    #: bytes of instances, snapshots and backups together; None for the server's setting
    storage_limit = models.PositiveBigIntegerField(null=True)
    #: limits of its instances' traffic by name (domain/traffic.py), where it has others than the server
    traffic_limits = models.JSONField(default=dict)
    #: what each of its instances may use, by name (domain/guest_limits.py), where that is not the server's
    guest_limits = models.JSONField(default=dict)
    #: addresses and networks that it trusts
    trusted = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["name", "id"]


class Membership(models.Model):
    """Somebody in a team."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "user"], name="one_membership_per_person")]


class Invitation(models.Model):
    """An open invitation into a team, by mail or by a link; only the link's SHA-256 is kept."""

    id = models.CharField(primary_key=True, max_length=15, default=new_id)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=10, default=Role.VIEWER)
    digest = models.CharField(max_length=64, unique=True)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [models.Index(fields=["email"], name="invitation_by_email")]


class Favourite(models.Model):
    """An instance that somebody wants at the top of their list."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="favourites")
    instance = models.ForeignKey("pocketfleet.Instance", on_delete=models.CASCADE, related_name="favourites")

    class Meta:
        app_label = "pocketfleet"
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "instance"], name="one_favourite")]
