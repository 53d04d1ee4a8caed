"""The tables; no behaviour."""

from pocketfleet.models.accounts import SignInLink, Token, User
from pocketfleet.models.instances import Instance
from pocketfleet.models.journal import Operation, Step
from pocketfleet.models.records import Audit, Change
from pocketfleet.models.releases import Offer, Release, Source

__all__ = [
    "Audit",
    "Change",
    "Instance",
    "Offer",
    "Operation",
    "Release",
    "SignInLink",
    "Source",
    "Step",
    "Token",
    "User",
]
