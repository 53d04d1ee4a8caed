"""The addresses of django-allauth's views that we use, all below `account/`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from allauth.account import views as account
from allauth.mfa.base import views as factors
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as passkeys
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.generic.base import RedirectView

from pocketfleet.errors import PocketfleetError
from pocketfleet.web import problems
from pocketfleet.web.accounts.evenly import evenly
from pocketfleet.web.accounts.views import Address, ConfirmByPasskey

View = Callable[..., HttpResponseBase]


def whole(view: View) -> View:
    """What the form changes and the record of it, or neither."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        with transaction.atomic():
            return view(request, *args, **kwargs)

    return wrapped


def plainly(view: View) -> View:
    """Typed errors of our actions as people can read them."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except PocketfleetError as error:
            return problems.page(request, error)

    return wrapped


to_account = RedirectView.as_view(pattern_name="account")

urlpatterns: list[URLPattern | URLResolver] = [
    path("sign-in", account.login, name="account_login"),
    path("sign-in/passkey", passkeys.login_webauthn, name="mfa_login_webauthn"),
    path("sign-in/second-factor", factors.authenticate, name="mfa_authenticate"),
    path("sign-up", evenly(plainly(account.signup)), name="account_signup"),
    path("inactive", account.account_inactive, name="account_inactive"),
    path("confirm", account.reauthenticate, name="account_reauthenticate"),
    path("confirm/code", factors.reauthenticate, name="mfa_reauthenticate"),
    path("confirm/passkey", ConfirmByPasskey.as_view(), name="mfa_reauthenticate_webauthn"),
    path("address", whole(login_required(Address.as_view())), name="account_email"),
    path("address/sent", account.email_verification_sent, name="account_email_verification_sent"),
    path("address/verify/<str:key>", whole(account.confirm_email), name="account_confirm_email"),
    path("password", whole(account.password_change), name="account_change_password"),
    path("password/set", whole(account.password_set), name="account_set_password"),
    path("password/reset", evenly(account.password_reset), name="account_reset_password"),
    path("password/reset/sent", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        # the key holds hyphens itself
        r"^password/reset/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>[^/]+)$",
        whole(account.password_reset_from_key),
        name="account_reset_password_from_key",
    ),
    path("password/reset/done", account.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    path("second-factor/app", whole(totp.activate_totp), name="mfa_activate_totp"),
    path("second-factor/app/remove", whole(totp.deactivate_totp), name="mfa_deactivate_totp"),
    path("recovery-codes", codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("recovery-codes/new", whole(codes.generate_recovery_codes), name="mfa_generate_recovery_codes"),
    path("recovery-codes/download", codes.download_recovery_codes, name="mfa_download_recovery_codes"),
    path("passkeys/add", whole(passkeys.add_webauthn), name="mfa_add_webauthn"),
    path("passkeys/<int:pk>/remove", whole(passkeys.remove_webauthn), name="mfa_remove_webauthn"),
    path("passkeys/<int:pk>/rename", whole(passkeys.edit_webauthn), name="mfa_edit_webauthn"),
    # of these we have pages of our own
    path("second-factor", to_account, name="mfa_index"),
    path("passkeys", to_account, name="mfa_list_webauthn"),
]
