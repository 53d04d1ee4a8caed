"""allauth's views where ours differ."""

from __future__ import annotations

from allauth.account.adapter import get_adapter
from allauth.account.views import EmailView
from allauth.mfa.webauthn.views import ReauthenticateWebAuthnView
from django.contrib import messages
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect


class Address(EmailView):
    """A change of address. Nothing but the link that is sent to it makes an address somebody's own."""

    def _action_primary(self, request: HttpRequest, *args: object, **kwargs: object) -> None:
        return None


class ConfirmByPasskey(ReauthenticateWebAuthnView):
    """The question who is there, answered by a passkey."""

    def form_invalid(self, form: BaseForm) -> HttpResponse:
        """Ask again, and say why; allauth would leave for the list of instances, and say it there or nowhere."""
        for message in form.errors.get("credential", []):
            get_adapter(self.request).add_message(self.request, messages.ERROR, message=str(message))
        return redirect(self.request.get_full_path())
