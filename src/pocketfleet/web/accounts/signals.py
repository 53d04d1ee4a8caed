"""What people do with their accounts through django-allauth, written into our journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account import signals as account
from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa import signals as mfa
from django.contrib.auth.signals import user_logged_out
from django.dispatch import Signal

from pocketfleet.actions.access import person_changed
from pocketfleet.actions.accounts import record
from pocketfleet.models import User

Receiver = Callable[..., None]


def connect() -> None:
    """Listen to allauth; to be called once Django is set up, as often as one likes."""
    for signal, receiver in RECEIVERS:
        signal.connect(receiver, weak=False, dispatch_uid=receiver.__name__)


def _signed_in(request: Any, user: User, **given: Any) -> None:
    ways = [_way(each) for each in get_authentication_records(request, user)]
    record(user, "sign_in", acting_user=user, by=" + ".join(dict.fromkeys(ways)) or "unknown")


def _signed_out(user: User | None, **given: Any) -> None:
    if user is not None:
        record(user, "sign_out", acting_user=user)


def _address_verified(email_address: Any, **given: Any) -> None:
    user = email_address.user
    record(user, "verify_address", acting_user=user, email=email_address.email)


def _address_added(user: User, email_address: Any, **given: Any) -> None:
    record(user, "add_address", acting_user=user, email=email_address.email)


def _address_removed(user: User, email_address: Any, **given: Any) -> None:
    record(user, "remove_address", acting_user=user, email=email_address.email)
    person_changed(user, acting_user=user)


def _address_changed(user: User, from_email_address: Any, to_email_address: Any, **given: Any) -> None:
    before, after = from_email_address.email if from_email_address else "", to_email_address.email
    if before:
        record(user, "change_address", acting_user=user, before=before, after=after)
    person_changed(user, acting_user=user)


def _password_set(user: User, **given: Any) -> None:
    record(user, "set_password", acting_user=user)


def _password_changed(user: User, **given: Any) -> None:
    record(user, "change_password", acting_user=user)


def _password_reset(user: User, **given: Any) -> None:
    record(user, "reset_password", acting_user=user)


def _factor_added(user: User, authenticator: Any, **given: Any) -> None:
    record(user, "add_second_factor", acting_user=user, kind=str(authenticator.type))


def _factor_removed(user: User, authenticator: Any, **given: Any) -> None:
    record(user, "remove_second_factor", acting_user=user, kind=str(authenticator.type))


def _factor_renewed(user: User, authenticator: Any, **given: Any) -> None:
    record(user, "renew_second_factor", acting_user=user, kind=str(authenticator.type))


def _factor_failed(user: User, authenticator: Any, **given: Any) -> None:
    """Somebody who knows the password does not have the second factor. allauth limits how often this can be."""
    record(user, "fail_second_factor", acting_user=None, kind=str(authenticator.type))


def _way(said: dict[str, Any]) -> str:
    kind = said.get("type") if said.get("method") == "mfa" else said.get("method")
    return {"webauthn": "passkey", "totp": "app", "recovery_codes": "recovery code"}.get(str(kind), str(kind))


RECEIVERS: list[tuple[Signal, Receiver]] = [
    (account.user_logged_in, _signed_in),
    (user_logged_out, _signed_out),
    (account.email_confirmed, _address_verified),
    (account.email_added, _address_added),
    (account.email_removed, _address_removed),
    (account.email_changed, _address_changed),
    (account.password_set, _password_set),
    (account.password_changed, _password_changed),
    (account.password_reset, _password_reset),
    (mfa.authenticator_added, _factor_added),
    (mfa.authenticator_removed, _factor_removed),
    (mfa.authenticator_reset, _factor_renewed),
    (mfa.authentication_failed, _factor_failed),
]
