"""The door to admin pages: a small HTTP server on a unix socket that takes tickets; HAProxy is its only client.

It answers on the instance's own host, so that the page it gives can leave the session where PocketBase's admin page
looks for it. HAProxy lets only POSTs of one path through, and says for which instance (`haproxy.cfg`, `ours`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import html
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvicorn

from pocketfleet.domain.admin_pages import AdminSession
from pocketfleet.errors import NotFromHere, PocketfleetError, TooLarge, Unexpected, WrongRequest
from pocketfleet.sockets import listening_at

_log = logging.getLogger(__name__)

#: Instance id and ticket -> the session; raises PocketfleetError.
Admit = Callable[[str, str], Awaitable[AdminSession]]

#: Bytes of a form with a ticket in it; ours has some 60.
_LONGEST_FORM = 2048
_FORM = b"application/x-www-form-urlencoded"
#: Seconds that somebody who is on the way in gets when node ends.
_LAST_REQUESTS = 3
_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
}
_STYLE_ONLY = "; ".join(
    [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


class Entrance:
    """Serves from `start` to `stop`. Refuses what does not come from the dashboard's own page before it asks."""

    def __init__(
        self, path: Path, public_url: str, admit: Admit, parking: Callable[[str], AbstractContextManager[None]]
    ) -> None:
        """`parking`: counts a request that the edge holds open, though no PocketBase has it (Gate.parking)."""
        self._path = path
        self._public_url = public_url
        self._origin = origin_of(public_url)
        self._admit = admit
        self._parking = parking
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen. Do this last, as the gate."""
        settings = uvicorn.Config(
            self._serve,
            interface="asgi3",
            http="httptools",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_LAST_REQUESTS,
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        self._server = _Server(settings)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening_at(self._path)]), name="entrance")

    async def stop(self) -> None:
        """Stop listening; whoever is on the way in gets some seconds."""
        if self._server is not None and self._serving is not None:
            self._server.leave()
            await asyncio.gather(self._serving, return_exceptions=True)
            self._server = None

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application."""
        headers = dict(scope["headers"])
        instance_id = headers.get(b"x-pocketfleet-instance", b"").decode("ascii", "replace")
        with self._parking(instance_id):
            status, own, page = await self._answer(scope["method"], headers, instance_id, receive)
        fields = {**_HEADERS, **own, "content-length": str(len(page))}
        start = {"type": "http.response.start", "status": status}
        await send({**start, "headers": [(name.encode(), value.encode()) for name, value in fields.items()]})
        await send({"type": "http.response.body", "body": page})

    async def _answer(
        self, method: str, headers: dict[bytes, bytes], instance_id: str, receive: Any
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers of this answer's own, and page."""
        try:
            if method != "POST" or not instance_id:
                raise WrongRequest("This address takes a form from the dashboard.")
            if headers.get(b"origin", b"").decode("ascii", "replace").lower() != self._origin:
                raise NotFromHere("This form did not come from the dashboard. Open the admin page from there.")
            if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != _FORM:
                raise WrongRequest("This address takes a form from the dashboard.")
            session = await self._admit(instance_id, _ticket(await _body(receive)))
        except PocketfleetError as error:
            _log.info("turned away: %s", error.detail, extra={"instance": instance_id})
            return self._refusal(error)
        except Exception:
            _log.exception("nobody let in, for a reason of our own", extra={"instance": instance_id})
            failed = Unexpected(
                "Something unexpected happened; the server's log has more. Try again from the dashboard."
            )
            return self._refusal(failed)
        return 200, {"content-security-policy": _POLICY}, _signed_in(session)

    def _refusal(self, error: PocketfleetError) -> tuple[int, dict[str, str], bytes]:
        own = {"content-security-policy": _STYLE_ONLY}
        if (seconds := error.facts.get("retry_after")) is not None:
            own["retry-after"] = str(max(1, round(seconds)))
        words = {"status": str(error.status), "title": error.title, "detail": error.detail}
        return error.status, own, _refused(words | {"dashboard": self._public_url + "/"})


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to node, and does nothing at rest."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield

    async def main_loop(self) -> None:
        """Wait for the end."""
        await self._leaving.wait()


def origin_of(url: str) -> str:
    """An address's origin as browsers write it: without the port that its scheme has anyway."""
    parts = urlsplit(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{(parts.hostname or '').lower()}{port}"


async def _body(receive: Any) -> bytes:
    """Raises TooLarge, and WrongRequest for one that was cut short."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise WrongRequest("The form was cut short.")
        body += message.get("body", b"")
        if len(body) > _LONGEST_FORM:
            raise TooLarge("This form is larger than any of ours.")
        if not message.get("more_body"):
            return bytes(body)


def _ticket(form: bytes) -> str:
    try:
        found = parse_qs(form.decode("ascii"), strict_parsing=True, max_num_fields=5).get("ticket", [])
    except ValueError:
        found = []
    if len(found) != 1 or not found[0].isascii():
        raise WrongRequest("There is no ticket in this form. Open the admin page from the dashboard.")
    return found[0]


def _signed_in(session: AdminSession) -> bytes:
    kept = json.dumps({"key": session.key, "value": json.dumps(session.value), "path": session.path})
    # in a block of data nothing but `</script` and `<!--` means anything
    page = _template("signed_in.html").replace("{{script}}", _SCRIPT)
    return str(page).replace("{{session}}", kept.replace("<", "\\u003c")).encode()


def _refused(words: dict[str, str]) -> bytes:
    page = _template("page.html").replace("{{more}}", _BACK)
    for word, text in words.items():
        page = page.replace("{{" + word + "}}", html.escape(text).replace("{{", "&#123;&#123;"))
    return page.encode()


def _template(name: str) -> str:
    return resources.files("pocketfleet.routing").joinpath("templates", name).read_text()


_BACK = '\n<p><a href="{{dashboard}}">Back to the dashboard</a></p>'
_SCRIPT = _template("signed_in.js")
_POLICY = f"{_STYLE_ONLY}; script-src 'sha256-{base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()}'"
