"""Errors as answers: problem+json for the API, a plain page for people. The one place that turns one into the other."""

from __future__ import annotations

import json
import logging
import math
import sys

from django.core.exceptions import RequestDataTooBig
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse

from pocketfleet.errors import (
    DatabaseAway,
    DiskTrouble,
    MethodNotAllowed,
    NotFound,
    NotFromHere,
    NotSignedIn,
    PocketfleetError,
    TooLarge,
    TooManyAttempts,
    WrongRequest,
    WrongUsage,
)

log = logging.getLogger("pocketfleet.web")

CONTENT_TYPE = "application/problem+json"
_BY_STATUS: dict[int, type[PocketfleetError]] = {
    error.status: error for error in (WrongRequest, NotSignedIn, NotFromHere, NotFound, MethodNotAllowed, TooLarge)
}
#: What a database says when its disk refuses, in SQLite's words and in PostgreSQL's.
_DISK_WORDS = ("disk is full", "readonly database", "disk i/o error", "no space left", "read-only file system")
#: Seconds after which a client had better ask again.
_DATABASE_BACK = 5
_UNEXPECTED = "Something unexpected happened; `control.log` in the folder of logs says what."


def is_api(request: HttpRequest) -> bool:
    """Whether a program asks, and not a person."""
    return request.path_info.startswith("/api/")


def is_problem(response: HttpResponseBase) -> bool:
    """Whether the answer is problem+json already."""
    return str(response.headers.get("Content-Type", "")).startswith(CONTENT_TYPE)


def answer(request: HttpRequest, error: PocketfleetError) -> HttpResponse:
    """The error as whoever asks can read it."""
    return problem(error) if is_api(request) else page(request, error)


def problem(error: PocketfleetError) -> HttpResponse:
    """The error as RFC 9457 has it."""
    body = json.dumps(error.as_problem(), cls=DjangoJSONEncoder)
    response = HttpResponse(body, status=error.status, content_type=CONTENT_TYPE)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="pocketfleet"'
    return _with_retry_after(response, error)


def _with_retry_after(response: HttpResponse, error: PocketfleetError) -> HttpResponse:
    if (seconds := error.facts.get("retry_after")) is not None:
        response.headers["Retry-After"] = str(math.ceil(seconds))
    return response


def page(request: HttpRequest, error: PocketfleetError) -> HttpResponse:
    """The error as a page; as a notice above the list, where htmx asked for a part of one."""
    context = {"title": error.title, "detail": error.detail, "home": reverse("instances")}
    if not request.headers.get("HX-Request"):
        response = render(request, "plain.html", context, status=error.status)
    else:
        response = render(request, "notice.html", context, status=error.status)
        # not htmx's own retargeting: it looks from the button, which a live refresh may have taken off the page
        response.headers["X-Notice"] = "1"
    return _with_retry_after(response, error)


def from_status(response: HttpResponseBase) -> HttpResponse:
    """A failed answer that somebody else made (Django, django-ninja) as problem+json."""
    kind = _BY_STATUS.get(response.status_code)
    made = problem(kind() if kind else PocketfleetError(_UNEXPECTED))
    made.status_code = response.status_code if kind else 500
    if allow := response.headers.get("Allow"):
        made.headers["Allow"] = allow
    made.cookies = response.cookies
    return made


def of_exception(error: Exception) -> PocketfleetError:
    """What people are told of an exception that nobody caught; what it was goes to the log."""
    if isinstance(error, PocketfleetError):
        return error
    if isinstance(error, RequestDataTooBig):
        return TooLarge()
    if isinstance(error, DataError):
        log.warning("the database refused what it was given: %s", error)
        return _unkept()
    log.exception("a request failed", exc_info=error)
    return _of_database(error) or PocketfleetError(_UNEXPECTED)


def _of_database(error: BaseException | None) -> PocketfleetError | None:
    """Where the database is at fault, and not we: it is away (busy, restarting, refusing us), or its disk refuses."""
    if not isinstance(error, OperationalError | InterfaceError):
        return None
    if any(words in str(error).lower() for words in _DISK_WORDS):
        return DiskTrouble("The database's disk is full, or cannot be written. Make room on it; nothing was lost.")
    return DatabaseAway(
        "Nothing was lost; try again in a moment. If it stays so: `control.log` says why. Does PostgreSQL run, or is "
        "the disk of SQLite's file full or away?",
        retry_after=_DATABASE_BACK,
    )


def _unkept() -> PocketfleetError:
    """What SQLite keeps and PostgreSQL does not: a NUL in a text or in JSON, a number that its column cannot hold."""
    return WrongUsage("A text in it holds a NUL character, or something in it is larger than what can be kept.")


def not_from_here(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's CSRF check failed."""
    return answer(request, NotFromHere("This form is too old, or did not come from our page. Go back and try again."))


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler of 400."""
    return answer(request, TooLarge() if isinstance(exception, RequestDataTooBig) else WrongRequest())


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler of 403."""
    return answer(request, NotFromHere())


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Django's handler of 404."""
    return answer(request, NotFound(f"There is nothing at {request.path_info[:100]}."))


def too_many(request: HttpRequest) -> HttpResponse:
    """allauth's limits on guessing."""
    return answer(request, TooManyAttempts("Too many attempts. Wait a few minutes, then try again."))


def unexpected(request: HttpRequest) -> HttpResponse:
    """Django's handler of 500; Django has written the exception to the log, and calls this while it is handled."""
    error = sys.exc_info()[1]
    if isinstance(error, DataError):
        return answer(request, _unkept())
    return answer(request, _of_database(error) or PocketfleetError(_UNEXPECTED))
