"""Getting into an instance's own admin page: tickets, and the superusers that pocketfleet made for people."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from pocketfleet.models.instances import Instance

#: Those that must go: access was lost, or the account is gone.
MUST_GO = models.Q(revoked_at__isnull=False) | models.Q(user=None)
#: What node has to do: one to be made that is wanted, one to be taken away that is not.
PENDING = models.Q(made_at=None, revoked_at=None, user__isnull=False) | (MUST_GO & models.Q(gone_at=None))


class AdminTicket(models.Model):
    """Lets one person into one instance's admin page, once, within seconds; only its SHA-256 is kept."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    #: hexadecimal SHA-256 of the ticket
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"


class MadeSuperuser(models.Model):
    """A superuser of an instance's PocketBase that is there for a person. What is not in this table is never deleted.

    Written before it is made, so that a crash in between forgets none.
    """

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="made_superusers")
    #: whose it is; None once the account is gone: then it must go, too
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    #: the address that it has there
    email = models.CharField(max_length=255)
    #: its id in PocketBase, chosen by us before it is made: by this we know ours again
    record_id = models.CharField(max_length=15)
    #: False where somebody else had made one with this address: it is used, and never taken away
    ours = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    #: when node saw to it that it is there; None where it is yet to be made
    made_at = models.DateTimeField(null=True)
    #: when somebody was last signed in as it
    opened_at = models.DateTimeField(null=True)
    #: when its person lost access; it must go
    revoked_at = models.DateTimeField(null=True)
    #: when node saw to it that it is gone
    gone_at = models.DateTimeField(null=True)
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["instance", "user"], condition=models.Q(revoked_at=None), name="one_superuser_per_person"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["record_id"], name="superuser_by_record"),
            models.Index(fields=["instance"], name="superuser_pending", condition=PENDING),
        ]
