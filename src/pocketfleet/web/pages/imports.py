"""Importing somebody's existing PocketBase: a zip that was uploaded becomes a new instance."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.views.decorators.http import require_http_methods

from pocketfleet.actions.copies import import_instance
from pocketfleet.errors import NameTaken, NoReleaseMatches, UploadNotFound, WrongName, WrongUsage
from pocketfleet.web import reading
from pocketfleet.web.access import team_to_create_in, upload_for
from pocketfleet.web.callers import FleetRequest, caller_of
from pocketfleet.web.pages.guard import rendered, signed_in, to_operation
from pocketfleet.web.pages.new import teams_to_create_in


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def show(request: FleetRequest) -> HttpResponse:
    """The form; POST (`name`, `upload`, `range`, `team`) makes the instance."""
    if request.method != "POST":
        return _page(request)
    given = {key: request.POST.get(key, "").strip() for key in ("name", "upload", "range", "team")}
    try:
        made, operation = import_instance(
            given["name"],
            upload_for(request, given["upload"]).id,
            version_range=given["range"] or None,
            team=team_to_create_in(request, given["team"] or None).id,
            acting_user=caller_of(request).user,
        )
    except (WrongUsage, WrongName, NameTaken, NoReleaseMatches, UploadNotFound) as error:
        return _page(request, 422, error=error, given=given)
    return to_operation(made, operation)


def _page(request: FleetRequest, status: int = 200, **context: Any) -> HttpResponse:
    return rendered(
        request,
        "imports/page.html",
        status,
        place="instances",
        teams=teams_to_create_in(request),
        lines=reading.newest_lines(8),
        address=settings.CONFIG.instance_url("name").partition("://name"),
        **context,
    )
