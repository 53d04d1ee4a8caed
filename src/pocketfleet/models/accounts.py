"""People, and the tokens and links by which they are known."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person. The operator is the superuser that the first run makes."""

    class Meta:
        app_label = "pocketfleet"


class Token(models.Model):
    """A bearer token of the API; only its SHA-256 is kept."""

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
