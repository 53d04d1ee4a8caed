"""The tables; no behaviour."""

from pocketfleet.models.account_mail import AccountMail
from pocketfleet.models.accounts import SignInLink, Token, User
from pocketfleet.models.addresses import ListedAddress
from pocketfleet.models.admin import AdminTicket, MadeSuperuser
from pocketfleet.models.copies import Backup, Snapshot, Upload
from pocketfleet.models.instances import Instance
from pocketfleet.models.journal import Operation, Step
from pocketfleet.models.records import Audit, Change
from pocketfleet.models.releases import Offer, Release, Source
from pocketfleet.models.sign_up import SignUpInvitation
from pocketfleet.models.teams import Favourite, Invitation, Membership, Team
from pocketfleet.models.upgrades import Event, Probe, Rehearsal
from pocketfleet.models.usage import CounterMark, Usage

__all__ = [
    "AccountMail",
    "AdminTicket",
    "Audit",
    "Backup",
    "Change",
    "CounterMark",
    "Event",
    "Favourite",
    "Instance",
    "Invitation",
    "ListedAddress",
    "MadeSuperuser",
    "Membership",
    "Offer",
    "Operation",
    "Probe",
    "Rehearsal",
    "Release",
    "SignInLink",
    "SignUpInvitation",
    "Snapshot",
    "Source",
    "Step",
    "Team",
    "Token",
    "Upload",
    "Usage",
    "User",
]
