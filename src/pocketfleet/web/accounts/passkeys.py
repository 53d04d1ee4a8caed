"""Passkeys are taken from the dashboard's own page alone.

A browser lets every page below a host use that host's passkeys, and instances are pages below the dashboard's: without
this, a tenant's page could ask a visitor for their passkey and sign in as them. allauth accepts any such origin.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django.conf import settings

if TYPE_CHECKING:
    from allauth.mfa.models import Authenticator


class AddForm(AddWebAuthnForm):
    """A new passkey. It always signs in by itself, so it must know its owner by finger, face or number."""

    def clean(self) -> dict[str, Any]:
        """Raises ValidationError for one that was made on another page."""
        refuse_other_pages(self.cleaned_data.get("credential"))
        return super().clean()


class AuthenticateForm(AuthenticateWebAuthnForm):
    """A passkey as a second factor."""

    def clean_credential(self) -> Authenticator:
        """Raises ValidationError for one that was given to another page."""
        refuse_other_pages(self.cleaned_data.get("credential"))
        return super().clean_credential()


class SignInForm(LoginWebAuthnForm):
    """A passkey in place of a password."""

    def clean_credential(self) -> Authenticator:
        """Raises ValidationError for one that was given to another page."""
        refuse_other_pages(self.cleaned_data.get("credential"))
        return super().clean_credential()


class ConfirmForm(ReauthenticateWebAuthnForm):
    """A passkey before something that matters."""

    def clean_credential(self) -> Authenticator:
        """Raises ValidationError for one that was given to another page."""
        refuse_other_pages(self.cleaned_data.get("credential"))
        return super().clean_credential()


def refuse_other_pages(credential: object) -> None:
    """Raises ValidationError unless the browser says that our page, in no frame, asked for this credential.

    What the browser says is signed with the passkey; whether it is, allauth checks.
    """
    try:
        text = credential["response"]["clientDataJSON"]  # type: ignore[index]
        said = json.loads(base64.urlsafe_b64decode(text + "=="))
        ours = said["origin"] == settings.CONFIG.public_url and not said.get("crossOrigin")
    except (KeyError, TypeError, ValueError, AttributeError):
        ours = False
    if not ours:
        raise get_adapter().validation_error("incorrect_code")
