"""From the dashboard into PocketBase's own admin page, with one click, in real Chromium through the real edge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import SCREENSHOTS
from tests.pocketbases import JOURNEY_VERSIONS, NEWEST
from tests.server import Server, running, until

#: What each page asks a superuser for before it shows anything of the collections.
KEYS = {"0.22.27": "pb_admin_auth", "0.23.12": "__pb_superuser_auth__", "0.30.4": "__pb_superuser_auth__"}
KEYS |= {"0.36.9": "__pb_superuser_auth__", "0.40.6": "__pb_superusers__/_"}
#: PocketBase's own pages say this and that; what we are responsible for must be silent.
OURS = ("/_pocketfleet/", "/instances/")
#: What is meant to be refused shows there, too.
MEANT = ("responded with a status of 403", "responded with a status of 503", "blocked by CORS", "net::ERR_FAILED")

Dashboard = Callable[..., Page]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A whole server with releases of all ages."""
    with running(versions=JOURNEY_VERSIONS) as started:
        yield started


@pytest.fixture
def dashboard(browser: Browser, server: Server) -> Iterator[Dashboard]:
    """Open the dashboard, signed in, in a browser of its own; complaints about our own pages fail the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def listen(page: Page) -> None:
        def heard(said: Any) -> None:
            where = str(said.location.get("url", ""))
            meant = any(part in said.text for part in MEANT)
            if said.type in ("error", "warning") and any(part in where for part in OURS) and not meant:
                complaints.append(f"{said.text} {where}")

        page.on("console", heard)

    def opener(**options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        context.on("page", listen)
        page = context.new_page()
        page.goto(server.api.post("/sign-in-links").json()["link"])
        return page

    yield opener
    for context in contexts:
        context.close()
    assert complaints == []


def click(page: Page, name: str) -> Page:
    """The tab that the row's button opens."""
    with page.expect_popup() as opened:
        page.get_by_role("button", name=f"Admin page of {name}").click()
    return opened.value


def is_in(server: Server, admin: Page, version: str) -> dict[str, Any]:
    """PocketBase's page shows the collections, and its server takes what the page sends; what it keeps of us."""
    expect(admin.get_by_text("New collection").first).to_be_visible(timeout=30_000)
    expect(admin.locator("text=users >> visible=true").first).to_be_visible()
    assert "/_/#/collections" in admin.url
    kept = admin.evaluate("key => localStorage.getItem(key)", KEYS[version])
    session: dict[str, Any] = json.loads(kept)
    status = admin.evaluate(
        "token => fetch('/api/settings', {headers: {authorization: token}}).then(answer => answer.status)",
        session["token"],
    )
    assert status == 200
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    admin.screenshot(path=SCREENSHOTS / f"open-admin-{version}.png")
    return session


@pytest.mark.parametrize("version", JOURNEY_VERSIONS)
def test_one_click_and_in(server: Server, dashboard: Dashboard, version: str) -> None:
    name = "shop-" + version.replace(".", "-")
    made = server.create(name, version)
    page = dashboard()
    assert server.guest_pids(made["id"]) == []
    session = is_in(server, click(page, name), version)
    person = session["model" if version == "0.22.27" else "record"]
    assert person["email"].endswith("@pocketfleet.invalid")

    admin = click(page, name)
    is_in(server, admin, version)
    admin.reload()
    is_in(server, admin, version)
    # as PocketBase knows it after its own refresh, so what we stored was what the page would have stored
    fresh = admin.evaluate("key => JSON.parse(localStorage.getItem(key))", KEYS[version])
    assert fresh["model" if version == "0.22.27" else "record"]["email"] == person["email"]


def test_going_back_sends_nothing_by_itself(server: Server, dashboard: Dashboard) -> None:
    server.create("backwards")
    admin = click(dashboard(), "backwards")
    is_in(server, admin, NEWEST)
    assert admin.evaluate("history.length") <= 3
    assert "ticket" not in admin.content()


def test_without_script_there_is_a_button_and_an_honest_page(server: Server, dashboard: Dashboard) -> None:
    server.create("plain")
    page = dashboard(java_script_enabled=False)
    tab = click(page, "plain")
    tab.wait_for_load_state()
    tab.get_by_role("button", name="Go on").click()
    expect(tab.get_by_text("PocketBase's admin page needs JavaScript.")).to_be_visible()
    tab.screenshot(path=SCREENSHOTS / "open-admin-without-script.png")


def test_where_nothing_may_be_kept_the_page_says_so(server: Server, dashboard: Dashboard) -> None:
    server.create("forgetful")
    page = dashboard()
    page.context.add_init_script(
        "delete window.localStorage; Object.defineProperty(window, 'localStorage', {value: null})"
    )
    tab = click(page, "forgetful")
    expect(tab.get_by_text("This browser keeps nothing for this address.")).to_be_visible(timeout=30_000)


def test_switched_off_it_says_what_to_do(server: Server, dashboard: Dashboard) -> None:
    made = server.create("quiet")
    page = dashboard()
    page.goto(f"http://localhost:{server.port}/instances/{made['id']}/admin")
    page.screenshot(path=SCREENSHOTS / "open-admin-asks.png")
    server.cli("power", "quiet", "off")
    page.get_by_role("button", name="Open the admin page").click()
    expect(page.get_by_text("Power it on in the dashboard")).to_be_visible(timeout=30_000)
    page.screenshot(path=SCREENSHOTS / "open-admin-turned-away.png")
    page.get_by_role("link", name="Back to the dashboard").click()
    expect(page.get_by_role("heading", name="Instances").first).to_be_visible()


def test_a_page_of_the_tenants_gets_no_session_out_of_it(server: Server, dashboard: Dashboard) -> None:
    """What an instance's own page sends there, with the person's browser, comes from the wrong place."""
    made = server.create("greedy")
    server.put(made["id"], "pb_public/index.html", "<!doctype html><title>greedy</title>")
    page = dashboard()
    tab = page.context.new_page()
    tab.goto(server.show("greedy")["url"])
    status = tab.evaluate(
        "fetch('/_pocketfleet/admin', {method: 'POST', body: new URLSearchParams({ticket: 'x'})}).then(a => a.status)"
    )
    assert status == 403
    dashboards = f"http://localhost:{server.port}/instances/{made['id']}/admin"
    assert (
        tab.evaluate(
            "url => fetch(url, {method: 'POST', credentials: 'include'}).then(a => a.status, () => 'refused')",
            dashboards,
        )
        == "refused"
    )
    until(lambda: server.show("greedy")["state"] == "awake", 10, "the tenant's page to be served")
