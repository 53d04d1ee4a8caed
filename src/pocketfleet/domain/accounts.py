"""Who may make an account."""

from __future__ import annotations

from enum import StrEnum


class SignUp(StrEnum):
    """The values of the setting `sign_up`."""

    OPEN = "open"
    INVITATION = "invitation"
    CLOSED = "closed"
