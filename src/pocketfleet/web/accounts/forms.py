"""allauth's forms where ours differ: no answer may take longer because an account exists."""

from __future__ import annotations

from typing import Any

from allauth.account.app_settings import LoginMethod
from allauth.account.forms import LoginForm, SignupForm
from allauth.account.internal.flows.login import derive_login_method
from allauth.core import context
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest

from pocketfleet.web.accounts import invited


class SignInForm(LoginForm):
    """By mail address; by name for whoever has no address yet."""

    def user_credentials(self) -> dict[str, Any]:
        """One way of knowing somebody at a time: allauth tries a known address twice, and takes twice as long."""
        login = self.cleaned_data["login"]
        by_mail = derive_login_method(login) == LoginMethod.EMAIL
        return {"email" if by_mail else "username": login, "password": self.cleaned_data["password"]}


class SignUpForm(SignupForm):
    """An address and a password; the name is made of the address."""

    #: hashed before anything is written, and for addresses that are taken, too: it takes longest by far
    hashed_password: str

    def clean_email(self) -> str:
        """Whoever was invited signs up with the address that was invited."""
        email: str = super().clean_email()
        wanted = invited.invited_address(self._request)
        if wanted is not None and email.lower() != wanted:
            raise ValidationError(f"Your invitation is for {wanted}.")
        return email

    def clean(self) -> dict[str, Any]:
        """Hash the password of a form that is in order."""
        cleaned: dict[str, Any] = super().clean()
        if not self.errors:
            self.hashed_password = make_password(cleaned["password1"])
        return cleaned

    def save(self, request: HttpRequest) -> AbstractBaseUser:
        """The account and its address, or neither."""
        with transaction.atomic():
            user: AbstractBaseUser = super().save(request)
        return user

    @property
    def _request(self) -> HttpRequest:
        request: HttpRequest = context.request
        return request
