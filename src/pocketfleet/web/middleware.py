"""What every request passes: headers that guard the page, problem+json for the API, and who is asking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware
from django.utils.http import http_date

from pocketfleet.actions.records import Whence, whence
from pocketfleet.errors import MethodNotAllowed, NotFromHere, NotSignedIn, PocketfleetError, WrongRequest
from pocketfleet.web import problems
from pocketfleet.web.callers import Caller, FleetRequest, identify
from pocketfleet.web.cookies import take_own_cookie
from pocketfleet.web.isolation import only_for_another_page

Handler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

#: No inline script or style, nothing from elsewhere, no frame around us, forms to ourselves only.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # the path of a sign-in link must never leave
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # instances are of the same site as we are, so `same-site` would not keep them out
    "Cross-Origin-Resource-Policy": "same-origin",
    # no page of ours shares a process, or `document.domain`, with an instance's
    "Origin-Agent-Cluster": "?1",
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")
    ),
    "Cache-Control": "no-store",
}
_YEAR = 365 * 86400
#: Seconds that is kept of a stranger what their forms need: whoever asks for such a page leaves a row behind.
STRANGERS = 3600


def guards() -> dict[str, str]:
    """The headers that every answer has, whoever makes it; where people come by https, they are told to go on so."""
    if not settings.SESSION_COOKIE_SECURE:
        return HEADERS
    # not for subdomains: those are the tenants', and it is not ours to say
    return {**HEADERS, "Strict-Transport-Security": f"max-age={_YEAR}"}


def refusal(request: HttpRequest) -> PocketfleetError | None:
    """Why a request is not even looked at; what is left of its cookies is our own."""
    take_own_cookie(request, settings.SESSION_COOKIE_NAME)
    try:
        request.get_host()
    except DisallowedHost:
        return WrongRequest("This host is not served here.")
    if only_for_another_page(request.method or "", request.headers):
        return NotFromHere("A page that is not the dashboard's asked for this. Open the dashboard itself.")
    return None


@async_only_middleware
def guarded(get_response: Handler) -> Handler:
    """Our host and pages only; every answer with those headers; every failed answer of the API as problem+json."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        refused = refusal(request)
        response: HttpResponseBase
        response = problems.answer(request, refused) if refused is not None else await get_response(request)
        if response.status_code >= 400 and problems.is_api(request) and not problems.is_problem(response):
            response = problems.from_status(response)
        if response.status_code == 405 and not problems.is_api(request):
            response = problems.page(request, MethodNotAllowed("This address is for a form; go back to the page."))
        for name, value in guards().items():
            response.headers.setdefault(name, value)
        if isinstance(response, HttpResponse):
            response.headers.setdefault("Content-Length", str(len(response.content)))
        response.headers.setdefault("Date", http_date())
        return response

    return middleware


@async_only_middleware
def known_caller(get_response: Handler) -> Handler:
    """Find out who is asking, once, before any view: `request.caller`."""

    async def middleware(request: HttpRequest) -> HttpResponseBase:
        fleet = cast(FleetRequest, request)
        fleet.caller, fleet.refusal = None, None
        if settings.SESSION_COOKIE_NAME in request.COOKIES or "Authorization" in request.headers:
            fleet.caller, fleet.refusal = await sync_to_async(_identify)(request)
        via = str(fleet.caller.via) if fleet.caller is not None else ""
        whence.set(Whence(address=address_of(request), via=via))
        fleet.hub = cast(ASGIRequest, request).scope["pocketfleet.hub"]
        response = await get_response(request)
        session = request.session
        if session.modified and not session.is_empty() and SESSION_KEY not in session:
            session.set_expiry(STRANGERS)
        return response

    return middleware


def address_of(request: HttpRequest) -> str:
    """The client's address, as the edge saw it; "" for what did not come through the edge."""
    # the edge is the only client of control, and takes away what others say of themselves
    found = request.headers.get("X-Real-IP", "").strip()
    return found[:45] if found.isascii() and found.isprintable() else ""


def _identify(request: HttpRequest) -> tuple[Caller | None, NotSignedIn | None]:
    try:
        return identify(request, settings.CONFIG), None
    except NotSignedIn as refusal:
        return None, refusal
