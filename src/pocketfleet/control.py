"""Control's composition root: Django under uvicorn, on a unix socket; `python -m pocketfleet.control [prepare]`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvicorn

from pocketfleet import diagnostics
from pocketfleet.bell import Bell
from pocketfleet.config import Config, load
from pocketfleet.errors import AddressTaken, PocketfleetError
from pocketfleet.sockets import listening_at
from pocketfleet.web.hub import Hub

log = logging.getLogger("pocketfleet.control")

#: Seconds that requests under way get when control ends.
LAST_REQUESTS = 3
_BACKLOG = 512


class Server(uvicorn.Server):
    """uvicorn that does nothing at rest, and ends the open event streams before it waits for requests under way."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """End; may be called from a signal handler and from other threads."""
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._leaving.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: end with exit code 0, where uvicorn would send itself the signal again."""
        self.leave()

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn's own loop wakes ten times a second to keep a Date header that we do not send."""
        self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._leaving.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Streams first."""
        self._hub.close()
        await super().shutdown(sockets)


def make_server(config: Config) -> Server:
    """Control for this configuration, to be run with `serve(sockets=[...])` in the running event loop.

    Django must be set up.
    """
    from django.core.asgi import get_asgi_application
    from django.db import connections

    from pocketfleet.web.accounts import signals
    from pocketfleet.web.application import Application
    from pocketfleet.web.asgi import App

    # each request has a thread of its own here: a kept connection would never be found again
    connections.settings["default"]["CONN_MAX_AGE"] = 0
    signals.connect()
    hub = Hub(Bell(config))
    application = Application(cast(App, get_asgi_application()), hub)
    settings = uvicorn.Config(
        application,
        http="httptools",
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        # the edge is the only client, and says nothing that we would believe yet
        proxy_headers=False,
        timeout_graceful_shutdown=LAST_REQUESTS,
    )
    return Server(settings, hub)


def bound_socket(path: Path) -> socket.socket:
    """A listening unix socket of mode 0600 at this path, in place of a stale one. Raises AddressTaken."""
    if _answers(path):
        raise AddressTaken(f"Another control listens at {path}; stop that one first.")
    return listening_at(path)


def set_up_django() -> None:
    """Load Django with our settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pocketfleet.web.settings")
    import django

    django.setup()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; or, given `prepare`, make everything ready and print one line of JSON."""
    arguments = sys.argv[1:] if arguments is None else arguments
    os.umask(0o077)
    try:
        config = load()
        return _prepare(config) if list(arguments) == ["prepare"] else _serve(config)
    except PocketfleetError as error:
        log.error("%s", error.detail)
        print(error.detail, file=sys.stderr)
        return 1


def _prepare(config: Config) -> int:
    from pocketfleet.web import preparation

    preparation.make_secret_key(config)
    set_up_django()
    prepared = preparation.prepare(config)
    print(json.dumps({"link": prepared.link, "first_run": prepared.first_run}))
    return 0


def rotate_key(config: Config, *, forget_old: bool, lost: bool) -> dict[str, Any]:
    """See web/preparation.py; for the command line of this machine, whether a server runs or not."""
    from pocketfleet.web import preparation

    os.umask(0o077)
    set_up_django()
    return preparation.rotate_key(config, forget_old=forget_old, lost=lost)


def _serve(config: Config) -> int:
    diagnostics.log_to_file(config, "control")
    # it warns of every 404 that any scanner asks for
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    set_up_django()
    with contextlib.closing(bound_socket(config.control_socket)) as listening:
        log.info("control serves at %s", config.control_socket)
        asyncio.run(_run(config, listening))
    log.info("control ended")
    return 0


async def _run(config: Config, listening: socket.socket) -> None:
    await make_server(config).serve(sockets=[listening])


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


if __name__ == "__main__":
    sys.exit(main())
