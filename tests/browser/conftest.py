"""A real Chromium (Debian's, or POCKETFLEET_TEST_CHROMIUM) in front of control on a port of its own."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from pocketfleet.config import Config, load
from tests.integration.web.conftest import tables, template
from tests.integration.web.served import Served

__all__ = ["tables", "template"]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOTS = Path(__file__).resolve().parents[2] / "artifacts" / "screenshots"


def chromium() -> str | None:
    """Where Chromium is."""
    named = os.environ.get("POCKETFLEET_TEST_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Playwright itself; ended with this folder's tests, since no other event loop can run in the thread beside it."""
    if chromium() is None:
        pytest.skip("NO CHROMIUM: the pages are not tested; apt-get install chromium, or POCKETFLEET_TEST_CHROMIUM")
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as started:
        # Playwright keeps an event loop in this thread, which Django takes for asynchronous code
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield started


#: What Chromium complains of and no page can help: answers that say no, streams that end with their server, and that
#: this machine got or lost an interface, as it does for every instance that wakes in its sandbox meanwhile.
NO_FAULT_OF_PAGES = ("status of 4", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_NETWORK_CHANGED")


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """One Chromium for all tests."""
    opened = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
    yield opened
    opened.close()


def listening_at(port: int) -> socket.socket:
    """A socket that listens at this port; 0 for one that the system gives."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.listen()
    return bound


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A port that the system gave."""
    with listening_at(0) as bound:
        yield bound


@pytest.fixture
def config(home: Path, listening: socket.socket) -> Config:
    """The server's settings with that port."""
    made = load({}, home=home, port=listening.getsockname()[1])
    for folder in (made.edge, made.logs):
        folder.mkdir(parents=True)
    return made


@pytest.fixture
def served(playwright: Playwright, tables: None, config: Config, listening: socket.socket) -> Iterator[Served]:
    """Control on that port."""
    running = Served(config, listening)
    yield running
    running.stop()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, served: Served) -> Iterator[OpenPage]:
    """Open the dashboard, signed in by a fresh link; whatever the page complains about fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def opener(**options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda said: complaints.append(f"{said.text} {said.location}") if said.type == "error" else None
        )
        page.goto(served.config.public_url + served.link())
        return page

    yield opener
    for context in contexts:
        context.close()
    expected = (*NO_FAULT_OF_PAGES, "ERR_CONNECTION_REFUSED", "sendError", "htmx:afterRequest")
    assert not [text for text in complaints if not any(part in text for part in expected)]
