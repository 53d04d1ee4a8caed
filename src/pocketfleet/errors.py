"""Typed errors: each has a code, an HTTP status and a plain sentence that names the next step."""

from __future__ import annotations

from typing import Any, ClassVar


class PocketfleetError(Exception):
    """Something went wrong in pocketfleet."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, detail: str = "", **facts: Any) -> None:
        self.facts: dict[str, Any] = facts
        self.detail = detail or self.title
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        """The class's docstring is its message."""
        return (type(self).__doc__ or "").strip().splitlines()[0]

    def as_problem(self) -> dict[str, Any]:
        """The body of an RFC 9457 answer (`application/problem+json`)."""
        return {
            "type": f"/docs/errors#{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.facts,
        }


class Unexpected(PocketfleetError):
    """Something went wrong that pocketfleet did not expect."""

    code = "unexpected"


class WrongUsage(PocketfleetError):
    """The input does not fit."""

    code = "wrong_usage"
    status = 422


class WrongName(WrongUsage):
    """This name cannot be used."""

    code = "wrong_name"


class WrongRange(WrongUsage):
    """This is not a version or a range of versions."""

    code = "wrong_range"


class WrongSecret(WrongUsage):
    """This secret cannot be set."""

    code = "wrong_secret"


class SecretsSealed(PocketfleetError):
    """Secrets cannot be opened with the keys that are here."""

    code = "secrets_sealed"


class WrongSetting(WrongUsage):
    """This setting, or its value, does not exist."""

    code = "wrong_setting"


class WrongConfiguration(PocketfleetError):
    """The configuration cannot be used."""

    code = "wrong_configuration"


class NotConfirmed(WrongUsage):
    """What cannot be taken back must be confirmed."""

    code = "not_confirmed"


class NotSignedIn(PocketfleetError):
    """You are not signed in."""

    code = "not_signed_in"
    status = 401


class NotAllowed(PocketfleetError):
    """You may not do this."""

    code = "not_allowed"
    status = 403


class NotFromHere(NotAllowed):
    """This request did not come from the dashboard's own page."""

    code = "not_from_here"


class WrongRequest(PocketfleetError):
    """The request cannot be read."""

    code = "wrong_request"
    status = 400


class MethodNotAllowed(PocketfleetError):
    """This address does not take that method."""

    code = "method_not_allowed"
    status = 405


class TooLarge(PocketfleetError):
    """The request is too large."""

    code = "too_large"
    status = 413


class LengthRequired(PocketfleetError):
    """The length of the body is missing."""

    code = "length_required"
    status = 411


class TooManyRequests(PocketfleetError):
    """Too many requests."""

    code = "too_many_requests"
    status = 429


class AddressDenied(PocketfleetError):
    """This address is not let in."""

    code = "address_denied"
    status = 403


class TooManyAttempts(PocketfleetError):
    """Too many attempts."""

    code = "too_many_attempts"
    status = 429


class TooManyStreams(PocketfleetError):
    """Too many event streams are open."""

    code = "too_many_streams"
    status = 503


class TooManyOwnStreams(TooManyStreams):
    """You have too many event streams open."""

    code = "too_many_own_streams"
    status = 429


class LinkUnusable(PocketfleetError):
    """This sign-in link does not work any more."""

    code = "link_unusable"
    status = 410


class TicketUnusable(PocketfleetError):
    """This ticket to an admin page does not work any more."""

    code = "ticket_unusable"
    status = 410


class NotFound(PocketfleetError):
    """There is no such thing."""

    code = "not_found"
    status = 404


class InstanceNotFound(NotFound):
    """There is no such instance."""

    code = "instance_not_found"

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"There is no instance “{reference}”; `pocketfleet list` shows those there are.",
            reference=reference,
        )


class OperationNotFound(NotFound):
    """There is no such operation."""

    code = "operation_not_found"


class TokenNotFound(NotFound):
    """There is no such token."""

    code = "token_not_found"


class SnapshotNotFound(NotFound):
    """There is no such snapshot."""

    code = "snapshot_not_found"


class BackupNotFound(NotFound):
    """There is no such backup."""

    code = "backup_not_found"


class RehearsalNotFound(NotFound):
    """There is no such rehearsal."""

    code = "rehearsal_not_found"


class UploadNotFound(NotFound):
    """There is no such upload."""

    code = "upload_not_found"


class TeamNotFound(NotFound):
    """There is no such team."""

    code = "team_not_found"


class AddressNotFound(NotFound):
    """This address is on no list."""

    code = "address_not_found"


class MemberNotFound(NotFound):
    """There is no such person or invitation in this team."""

    code = "member_not_found"


class AccountNotFound(NotFound):
    """There is no such account."""

    code = "account_not_found"


class InvitationUnusable(PocketfleetError):
    """This invitation does not work any more."""

    code = "invitation_unusable"
    status = 410


class NoReleaseMatches(PocketfleetError):
    """No release matches this range."""

    code = "no_release_matches"
    status = 422


class Conflict(PocketfleetError):
    """That does not go together with how things are now."""

    code = "conflict"
    status = 409


class NameTaken(Conflict):
    """This name is taken."""

    code = "name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"The name “{name}” is taken; choose another one.", name=name)


class StorageFull(Conflict):
    """The team's storage is used up."""

    code = "storage_limit"


class OperationOpen(Conflict):
    """Another operation on this instance is still open."""

    code = "operation_open"


class InstanceInUse(Conflict):
    """Something else works on this instance's files."""

    code = "instance_in_use"


class InstanceBusy(Conflict):
    """The instance had no quiet moment."""

    code = "instance_busy"


class HoldTooLong(Conflict):
    """Requests would have waited too long."""

    code = "hold_too_long"


class ReleaseBroken(Conflict):
    """The release does not work with this instance's data."""

    code = "release_broken"


class RehearsalFailed(PocketfleetError):
    """The rehearsal could not be carried out."""

    code = "rehearsal_failed"


class ChangedMeanwhile(Conflict):
    """What was rehearsed is no longer what is there."""

    code = "changed_meanwhile"


class VerificationFailed(Conflict):
    """The new release started, but does not answer as it must."""

    code = "verification_failed"


class DowngradeRefused(Conflict):
    """The older release does not know this data."""

    code = "downgrade_refused"


class MustBePoweredOff(Conflict):
    """The instance must be powered off first."""

    code = "must_be_powered_off"

    def __init__(self, name: str) -> None:
        super().__init__(f"“{name}” is powered on. Power it off first: `pocketfleet power {name} off`.", name=name)


class RangeNeedsUpgrade(Conflict):
    """The instance has run already; its release does not change by setting a range."""

    code = "range_needs_upgrade"


class ReleaseDoesNotFit(Conflict):
    """This release does not fit the data."""

    code = "release_does_not_fit"


class SettingsEncrypted(Conflict):
    """The settings are encrypted, so nothing in them can be changed from outside."""

    code = "settings_encrypted"


class RestoreFailed(Conflict):
    """What was restored does not work, so everything is as it was before."""

    code = "restore_failed"


class RestoreRefused(Conflict):
    """What was to be restored does not work, as its rehearsal says; nothing was touched."""

    code = "restore_refused"


class RangeNotServed(PocketfleetError):
    """The file has no such bytes."""

    code = "range_not_served"
    status = 416


class Unavailable(PocketfleetError):
    """The instance cannot answer now."""

    code = "unavailable"
    status = 503


class DatabaseAway(PocketfleetError):
    """The database does not answer at the moment."""

    code = "database_away"
    status = 503


class TeamAtLimit(Unavailable):
    """The team's limit of awake instances is reached."""

    code = "awake_limit"

    def __init__(self, limit: int, retry_after: float = 5) -> None:
        super().__init__(f"This team's limit of {limit} awake instances is reached.", retry_after=retry_after)


class TooManyWakes(Unavailable):
    """Too many instances wait for their turn to start."""

    code = "wakes_queued"

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after=retry_after)


class WokenTooOften(Unavailable):
    """This instance was woken too often in the last minute."""

    code = "woken_too_often"

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after=retry_after)


class StartFailed(Unavailable):
    """PocketBase did not start."""

    code = "start_failed"

    def __init__(self, reason: str, retry_after: float) -> None:
        super().__init__(reason, retry_after=retry_after)
        self.reason = reason
        self.retry_after = retry_after


class InstanceFull(PocketfleetError):
    """The instance has used up its storage and sleeps until there is room; nothing is lost."""

    code = "storage_full"
    status = 507


class ReleaseUnusable(PocketfleetError):
    """The release could not be fetched or does not hold what it should."""

    code = "release_unusable"
    status = 502


class SourceDown(PocketfleetError):
    """A source of releases did not answer."""

    code = "source_down"
    status = 502


class ArchiveRefused(WrongUsage):
    """This archive cannot be used."""

    code = "archive_refused"


class SnapshotUnusable(PocketfleetError):
    """The copy of the data cannot be made, or cannot be used."""

    code = "snapshot_unusable"


class DiskTrouble(PocketfleetError):
    """The disk refused: full, read-only, or not ours."""

    code = "disk_trouble"
    status = 507


class AddressTaken(PocketfleetError):
    """The address is in use by another program."""

    code = "address_taken"


class SandboxUnavailable(PocketfleetError):
    """Instances cannot be locked in here."""

    code = "sandbox_unavailable"


class HomeInUse(PocketfleetError):
    """Another pocketfleet runs on this home."""

    code = "home_in_use"


class NotAnswering(PocketfleetError):
    """pocketfleet does not answer."""

    code = "not_answering"
    status = 503
