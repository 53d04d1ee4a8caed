"""The ASGI application: Django behind a limit on what it is sent, the hub within its reach; large files beside it."""

from __future__ import annotations

import json

from pocketfleet.errors import PocketfleetError, TooLarge
from pocketfleet.web import problems, transfers
from pocketfleet.web.asgi import App, Message, Receive, Scope, Send, announced
from pocketfleet.web.hub import Hub
from pocketfleet.web.middleware import guards

#: Bytes of a request's body. Django reads the whole body, to disk if need be, before it knows who sends it.
BODY_LIMIT = 2 * 1024 * 1024


class Application:
    """What uvicorn runs."""

    def __init__(self, django: App, hub: Hub) -> None:
        self._django = django
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not served")
        if transfers.takes(scope):
            await transfers.serve(scope, receive, send)
            return
        body = Body(receive)
        if announced(scope) > BODY_LIMIT:
            body.too_large = True
        else:
            await self._django({**scope, "pocketfleet.hub": self._hub}, body.receive, send)
        if body.too_large:
            await _refuse(send, TooLarge(f"A request may have {BODY_LIMIT} bytes at most."))


class Body:
    """Counts what comes; past the limit Django is told that the client has gone."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0
        self.too_large = False

    async def receive(self) -> Message:
        """The next message for Django."""
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > BODY_LIMIT:
            self.too_large = True
            return {"type": "http.disconnect"}
        return message


async def _refuse(send: Send, error: PocketfleetError) -> None:
    body = json.dumps(error.as_problem()).encode()
    said = guards() | {"Content-Type": problems.CONTENT_TYPE, "Content-Length": str(len(body)), "Connection": "close"}
    headers = [(name.lower().encode(), value.encode()) for name, value in said.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
