"""What stands between a right password and being in."""

from __future__ import annotations

from allauth.account.stages import EmailVerificationStage
from django.http import HttpResponse

from pocketfleet.models import User


class VerifiedAddress(EmailVerificationStage):
    """Nobody gets in without a verified address, but the operators: the first has none until they say one."""

    def handle(self) -> tuple[HttpResponse | None, bool]:
        """Go on, or first to the mail."""
        user = self.login.user
        if isinstance(user, User) and user.is_superuser:
            return None, True
        response, go_on = super().handle()  # type: ignore[no-untyped-call]
        return response, go_on
