"""Mail about somebody's account on its way: node sends it; without a mail server an operator reads it out."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class AccountMail(models.Model):
    """A mail that was not sent yet. Gone as soon as it is sent, or once what it says works no longer."""

    recipient = models.EmailField(max_length=254)
    subject = models.CharField(max_length=200)
    #: sealed, see actions/sealed.py: it holds a link that signs somebody in
    body = models.TextField()
    #: written like any other and dropped by who sends: there is no such account, and nobody may learn that by the time
    #: an answer takes
    to_nobody = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    version = models.PositiveSmallIntegerField(default=1)

    class Meta:
        app_label = "pocketfleet"
        ordering: ClassVar = ["id"]
