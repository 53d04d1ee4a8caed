"""What django-allauth asks of the site it runs in: who may sign up, where links lead, what becomes of a mail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.forms import BaseForm
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from pocketfleet.actions import account_mail, accounts
from pocketfleet.models import User
from pocketfleet.web.accounts import invited
from pocketfleet.web.pages import invitations

#: How long a mail without a mail server is kept for an operator: as long as the link in it works.
_KEPT = {"account/email/password_reset_key": timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT)}
_KEPT_OTHERWISE = timedelta(days=1)
_STAGES = {"allauth.account.stages.EmailVerificationStage": "pocketfleet.web.accounts.stages.VerifiedAddress"}
_WAYS = {
    "reauthenticate": "Use my password",
    "mfa_reauthenticate": "Use a code",
    "mfa_reauthenticate:webauthn": "Use a passkey",
}
_TO_NOBODY = "account/email/unknown_account"
#: Where the edge does not say who the client is, the client is on this machine: the socket is open to nobody else.
_THIS_MACHINE = "127.0.0.1"


class AccountAdapter(DefaultAccountAdapter):
    """Our words and our ways."""

    error_messages = {  # noqa: RUF012  allauth's own name
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "This address and this password do not belong together.",
        "username_password_mismatch": "This name and this password do not belong together.",
        "incorrect_password": "This is not your password.",
        "enter_current_password": "This is not your present password.",
        "incorrect_code": "This code is not right, or no longer. Type the one that is shown now.",
        "too_many_login_attempts": "Too many attempts. Wait five minutes, then try again.",
        "rate_limited": "Too many attempts. Wait a few minutes, then try again.",
        "duplicate_email": "This is your address already.",
        "account_inactive": "This account is switched off.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """By the server's setting, and by invitation."""
        return invited.may_sign_up(request)

    def can_delete_email(self, email_address: EmailAddress) -> bool:
        """Only one that was never verified: the one that counts goes when another takes its place, by a link."""
        return not (email_address.primary or email_address.verified)

    def get_client_ip(self, request: HttpRequest) -> str:
        """As the edge says it, and nobody else."""
        return request.headers.get(settings.ALLAUTH_TRUSTED_CLIENT_IP_HEADER) or _THIS_MACHINE

    def is_safe_url(self, url: str | None) -> bool:
        """Where `next` may lead: to a path of ours; allauth would take our host by any scheme, too."""
        return url_has_allowed_host_and_scheme(url, allowed_hosts=None)

    def login(self, request: HttpRequest, user: AbstractBaseUser) -> None:
        """In for two weeks, no longer for the hour that strangers are kept."""
        super().login(request, user)
        request.session.set_expiry(None)

    def get_login_stages(self) -> list[str]:
        """Ours in place of allauth's question for a verified address."""
        return [_STAGES.get(stage, stage) for stage in super().get_login_stages()]

    def get_reauthentication_methods(self, user: AbstractBaseUser | AnonymousUser) -> list[dict[str, Any]]:
        """How somebody may show once more that it is them, in our words."""
        return [{**way, "description": _WAYS[way["id"]]} for way in super().get_reauthentication_methods(user)]

    def save_user(
        self, request: HttpRequest, user: AbstractBaseUser, form: BaseForm, commit: bool = True
    ) -> AbstractBaseUser:
        """Somebody new, with the password that the form has hashed already."""
        if not isinstance(user, User):
            raise TypeError(user)
        user.email = form.cleaned_data["email"]
        user.password = form.hashed_password  # type: ignore[attr-defined]
        self.populate_username(request, user)
        accounts.sign_up(user, invitation_id=invited.invitation_of(request))
        return user

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Write it down, for node to send: an answer then takes as long whether or not anybody is written to."""
        public = settings.CONFIG.public_url
        message = self.render_mail(template_prefix, email, {"site": public, "email": email, **context})
        account_mail.write_mail(
            email,
            str(message.subject),
            str(message.body),
            keep=_KEPT.get(template_prefix, _KEPT_OTHERWISE),
            to_nobody=template_prefix == _TO_NOBODY,
        )

    def send_notification_mail(
        self,
        template_prefix: str,
        user: AbstractBaseUser,
        context: dict[str, Any] | None = None,
        email: str | None = None,
    ) -> None:
        """Only where there is a mail server: no operator needs to pass on what holds no link."""
        if settings.CONFIG.smtp_url:
            super().send_notification_mail(template_prefix, user, context, email)

    def send_account_already_exists_mail(self, email: str) -> None:
        """To the owner of an address with which somebody signs up once more."""
        reset = _public(reverse("account_reset_password"))
        self.send_mail("account/email/account_already_exists", email, {"password_reset_url": reset})

    def get_reset_password_from_key_url(self, key: str) -> str:
        """At the address that people type, whatever address this request came by."""
        return _public(reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})).replace(
            "UID-KEY", key
        )

    def get_email_confirmation_url(self, request: HttpRequest, emailconfirmation: Any) -> str:
        """The same."""
        return _public(reverse("account_confirm_email", args=[emailconfirmation.key]))

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """To the invitation that somebody opened before they were in, else to the list."""
        secret = invitations.waiting(request)
        return reverse("invitation", args=[secret]) if secret else super().get_login_redirect_url(request)

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        """The same."""
        return self.get_login_redirect_url(request)

    def get_email_verification_redirect_url(self, email_address: EmailAddress) -> str:
        """To the account, or to the sign-in."""
        return reverse("account" if self.request.user.is_authenticated else "account_login")

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """To the account."""
        return reverse("account")


def _public(path: str) -> str:
    return f"{settings.CONFIG.public_url}{path}"
