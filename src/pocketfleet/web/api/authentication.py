"""Who may use the API: whoever sends a bearer token, or is signed in with a browser and comes from our own page."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from pocketfleet.errors import NotFromHere
from pocketfleet.web.callers import Caller, Via, caller_of

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class SignedIn(AuthBase):
    """`Authorization: Bearer <token>`; or the dashboard's session, with `X-CSRFToken` for whatever changes things."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> Caller:
        """The caller. Raises NotSignedIn and NotFromHere."""
        caller = caller_of(request)
        # a browser sends its cookie whoever wrote the page, an Authorization header never
        if caller.via is Via.SESSION and request.method not in _SAFE and check_csrf(request) is not None:
            raise NotFromHere("With a session, X-CSRFToken and Origin must be the dashboard's own.")
        return caller
