"""An instance's log: the last lines, followed live by script, filtered, and as a file."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpResponse
from django.views.decorators.http import require_safe

from pocketfleet.logs import InstanceLog
from pocketfleet.models import Instance
from pocketfleet.web.callers import FleetRequest
from pocketfleet.web.pages.frame import framed
from pocketfleet.web.pages.guard import on_instance

LINES_SHOWN = 300
#: Lines that are looked through for a filter.
LINES_SEARCHED = 10_000
#: Lines; more than any log holds.
_ALL = 100_000_000
STREAMS = ("stdout", "stderr", "platform")


@require_safe
@on_instance()
def show(request: FleetRequest, instance: Instance) -> HttpResponse:
    """The last lines; `q` and `stream` filter them, with or without script."""
    text, stream = request.GET.get("q", "")[:200], request.GET.get("stream", "")
    stream = stream if stream in STREAMS else ""
    lines = log_of(instance).tail(LINES_SEARCHED if text or stream else LINES_SHOWN)
    wanted = [line for line in lines if (not stream or line.stream == stream) and text.lower() in line.text.lower()]
    shown = wanted[-LINES_SHOWN:]
    return framed(request, "logs/page.html", instance, "logs", lines=shown, q=text, stream=stream, streams=STREAMS)


@require_safe
@on_instance()
def download(request: FleetRequest, instance: Instance) -> HttpResponse:
    """All that is kept of it, as text: at most `log_bytes` times `log_generations` + 1."""
    text = "".join(f"{line}\n" for line in log_of(instance).tail(_ALL))
    response = HttpResponse(text.encode(errors="replace"), content_type="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{instance.name}.log"'
    return response


def log_of(instance: Instance) -> InstanceLog:
    """The instance's log."""
    config = settings.CONFIG
    return InstanceLog(config.logs / instance.id, config.log_bytes, config.log_generations)
