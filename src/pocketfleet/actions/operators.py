"""What operators do with accounts: switched off and on, made operators and no longer, let in by a link."""

from __future__ import annotations

from django.db import transaction

from pocketfleet.actions.access import person_changed
from pocketfleet.actions.records import audited, changed
from pocketfleet.actions.sign_in import OPERATOR, make_link
from pocketfleet.errors import AccountNotFound, Conflict
from pocketfleet.models import User


def find_account(user_id: int) -> User:
    """The account with this number. Raises AccountNotFound."""
    # a number that no column can hold is an OverflowError of SQLite's
    found = User.objects.filter(pk=user_id).first() if user_id < 2**63 else None
    if found is None:
        raise AccountNotFound("There is no such account.")
    return found


def switch_account_off(user_id: int, *, acting_user: User) -> User:
    """They are signed out and stay out, their tokens too; what is theirs stays. Raises AccountNotFound, Conflict."""
    with transaction.atomic():
        user = _locked(user_id)
        if not user.is_active:
            return user
        if user.pk == acting_user.pk:
            raise Conflict("This is your own account; another operator has to switch it off.")
        _check_operator_left(user, "switched off")
        user.is_active = False
        user.save(update_fields=["is_active"])
        person_changed(user, acting_user=acting_user)
        _said(acting_user, "switch_account_off", user)
    return user


def switch_account_on(user_id: int, *, acting_user: User) -> User:
    """They may sign in again, as before. Raises AccountNotFound."""
    with transaction.atomic():
        user = _locked(user_id)
        if user.is_active:
            return user
        user.is_active = True
        user.save(update_fields=["is_active"])
        person_changed(user, acting_user=acting_user)
        _said(acting_user, "switch_account_on", user)
    return user


def make_operator_of(user_id: int, *, acting_user: User) -> User:
    """They may do everything here from now on. Raises AccountNotFound, Conflict for one that is switched off."""
    with transaction.atomic():
        user = _locked(user_id)
        if user.is_superuser:
            return user
        if not user.is_active:
            raise Conflict("This account is switched off; switch it on first.")
        user.is_superuser = user.is_staff = True
        user.save(update_fields=["is_superuser", "is_staff"])
        _said(acting_user, "make_operator", user)
    return user


def take_operator_back(user_id: int, *, acting_user: User) -> User:
    """They are somebody like all others again. Raises AccountNotFound, Conflict for the last operator."""
    with transaction.atomic():
        user = _locked(user_id)
        if not user.is_superuser:
            return user
        _check_operator_left(user, "taken back")
        user.is_superuser = user.is_staff = False
        user.save(update_fields=["is_superuser", "is_staff"])
        person_changed(user, acting_user=acting_user)
        _said(acting_user, "take_operator_back", user)
    return user


def let_in(user_id: int, *, acting_user: User) -> tuple[User, str]:
    """The secret of a link that signs somebody in once, for one who cannot get in. Raises AccountNotFound, Conflict."""
    user = find_account(user_id)
    if not user.is_active:
        raise Conflict("This account is switched off; switch it on first.")
    return user, make_link(user, acting_user=acting_user)


def _check_operator_left(user: User, what: str) -> None:
    if not user.is_superuser:
        return
    if user.username == OPERATOR:
        raise Conflict(f"The command line of this machine acts as “{OPERATOR}”, so it cannot be {what}.")
    if not User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk).exists():
        raise Conflict("This is the last operator; make somebody else one first.")


def _locked(user_id: int) -> User:
    find_account(user_id)
    # all operators, in one order: of two who take each other's place away the second sees what the first did
    list(User.objects.select_for_update().filter(is_superuser=True).order_by("pk"))
    user = User.objects.select_for_update().filter(pk=user_id).first()
    if user is None:
        raise AccountNotFound("There is no such account.")
    return user


def _said(acting_user: User, verb: str, user: User) -> None:
    audited(acting_user, verb, str(user.pk), team="", name=user.get_username())
    changed("account", str(user.pk))
