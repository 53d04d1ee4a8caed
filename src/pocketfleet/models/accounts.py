"""People, and the tokens and links by which they are known."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models

from pocketfleet.domain.roles import ALL_VERBS


class User(AbstractUser):
    """A person. The operator is the superuser that the first run makes."""

    class Meta:
        app_label = "pocketfleet"


def all_verbs() -> list[str]:
    """What a token may do that nobody scoped."""
    return [str(verb) for verb in ALL_VERBS]


class Token(models.Model):
    """A bearer token of the API; only its SHA-256 is kept. It never may more than its owner."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    #: hexadecimal SHA-256 of the token
    digest = models.CharField(max_length=64, unique=True)
    #: the first characters, to tell tokens apart in a list
    hint = models.CharField(max_length=12)
    created_at = models.DateTimeField(auto_now_add=True)
    #: written at most once an hour
    used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    #: the only team it may touch; None for all that its owner is in
    team = models.ForeignKey("pocketfleet.Team", null=True, on_delete=models.CASCADE, related_name="tokens")
    #: ids of the only instances it may touch; [] for all
    instances = models.JSONField(default=list)
    #: what it may do, see domain/roles.py
    verbs = models.JSONField(default=all_verbs)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["id"]


class SignInLink(models.Model):
    """A link that signs somebody in once; only its SHA-256 is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    #: whether a second factor is asked for, too, where its owner has one. Not for links made on the machine itself:
    #: they are the way back in for who has lost theirs
    second_factor = models.BooleanField(default=False)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
