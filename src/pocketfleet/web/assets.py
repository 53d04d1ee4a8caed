"""The few static files, each at an address that changes with its content, so that browsers may keep it for ever."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from pocketfleet.errors import NotFound
from pocketfleet.web import problems

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
#: name -> package and path in it; nothing else is ever served.
_FILES = {
    "app.css": ("pocketfleet.web", "static/app.css"),
    "charts.css": ("pocketfleet.web", "static/charts.css"),
    "accounts.css": ("pocketfleet.web", "static/accounts.css"),
    "accounts.js": ("pocketfleet.web", "static/accounts.js"),
    "versions.css": ("pocketfleet.web", "static/versions.css"),
    "versions.js": ("pocketfleet.web", "static/versions.js"),
    "stream.js": ("pocketfleet.web", "static/stream.js"),
    "app.js": ("pocketfleet.web", "static/app.js"),
    "logs.js": ("pocketfleet.web", "static/logs.js"),
    "upload.js": ("pocketfleet.web", "static/upload.js"),
    "teams.css": ("pocketfleet.web", "static/teams.css"),
    "entrance.js": ("pocketfleet.web", "static/entrance.js"),
    "icon.svg": ("pocketfleet.web", "static/icon.svg"),
    "htmx.js": ("django_htmx", "static/django_htmx/htmx-2.min.js"),
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is served."""

    name: str
    content: bytes
    packed: bytes
    content_type: str
    #: `app.1a2b3c4d5e6f.css`
    address: str


@cache
def assets() -> dict[str, Asset]:
    """All of them, by name; read once."""
    return {name: _asset(name, files(package).joinpath(path)) for name, (package, path) in _FILES.items()}


def asset_url(name: str) -> str:
    """The address of an asset with its present content."""
    return reverse("asset", args=[assets()[name].address])


@require_safe
def serve_asset(request: HttpRequest, name: str) -> HttpResponse:
    """An asset by its address."""
    asset = next((each for each in assets().values() if each.address == name), None)
    if asset is None:
        return problems.answer(request, NotFound(f"There is nothing at {request.path_info[:100]}."))
    packed = "gzip" in request.headers.get("Accept-Encoding", "")
    response = HttpResponse(asset.packed if packed else asset.content, content_type=asset.content_type)
    if packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


def _asset(name: str, source: Traversable) -> Asset:
    content = source.read_bytes()
    stem, _, suffix = name.rpartition(".")
    address = f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}"
    return Asset(name, content, gzip.compress(content, mtime=0), _TYPES[suffix], address)
