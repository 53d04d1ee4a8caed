"""The pages of one instance: at a glance, its log, its events, its secrets, its settings."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from pocketfleet.actions import events, observations
from pocketfleet.actions.sealed import opened
from pocketfleet.logs import InstanceLog
from pocketfleet.models import Instance
from tests.browser.conftest import OpenPage
from tests.integration.web.served import Served, make_instance, show_process


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The dashboard, followed live."""
    opened = open_page()
    expect(opened.locator("body")).to_have_attribute("data-connected", "true")
    return opened


def go(page: Page, served: Served, path: str) -> None:
    """To one of the instance's pages."""
    page.goto(f"{served.config.public_url}/instances/{path}")


def test_the_overview_follows_what_happens(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    page.get_by_role("link", name="shop", exact=True).click()
    expect(page.locator("#how-heading")).to_have_text("Asleep")
    expect(page.locator("body")).to_have_attribute("data-connected", "true")
    page.evaluate("window.neverReloaded = true")
    show_process(shop.id, "awake")
    expect(page.locator("#how-heading")).to_contain_text("Awake for")
    expect(page.locator("#state .pill")).to_have_text("awake")
    show_process(shop.id, "failing", "PocketBase ended.\nError: database is malformed")
    expect(page.locator("#overview pre")).to_contain_text("malformed")
    events.tell(shop.id, "backup_failed", "The backup failed: <b>disk</b> full.", weight="problem")
    expect(page.locator(".feed li.problem")).to_contain_text("The backup failed: <b>disk</b> full.")
    page.get_by_role("button", name="Try again now").focus()
    assert page.evaluate("window.neverReloaded === true")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("shop")
    shop.refresh_from_db()
    assert shop.generation > shop.observed_generation


def test_the_log_is_followed_filtered_and_paused(served: Served, page: Page) -> None:
    shop = make_instance("shop", state="awake")
    log = InstanceLog(served.config.logs / shop.id, served.config.log_bytes, served.config.log_generations)
    log.append("stdout", "the first line")
    go(page, served, "shop/logs")
    lines = page.locator("#log p:visible .text")
    expect(lines).to_have_text(["the first line"])
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator("#log")).to_have_attribute("data-live", "true")
    log.append("stderr", "<script>alert(1)</script>")
    expect(lines).to_have_text(["the first line", "<script>alert(1)</script>"])
    page.fill("#log-q", "first")
    expect(lines).to_have_text(["the first line"])
    page.fill("#log-q", "")
    page.select_option("#log-stream", "stderr")
    expect(lines).to_have_text(["<script>alert(1)</script>"])
    page.select_option("#log-stream", "")
    page.get_by_role("button", name="Pause").click()
    log.append("stdout", "meanwhile")
    expect(page.locator("#log-said")).to_have_text("Paused; 1 new line.")
    expect(lines).to_have_count(2)
    page.get_by_role("button", name="Go on").click()
    expect(lines).to_have_count(3)
    with page.expect_download() as coming:
        page.get_by_role("link", name="Download").click()
    assert coming.value.suggested_filename == "shop.log"
    assert "the first line" in coming.value.path().read_text()


def test_what_is_printed_while_nobody_is_connected_is_shown_once(served: Served, page: Page) -> None:
    shop = make_instance("shop", state="awake")
    log = InstanceLog(served.config.logs / shop.id, served.config.log_bytes, served.config.log_generations)
    for text in ("one", "again", "again"):
        log.append("stdout", text)

    def late(route: Route) -> None:
        log.append("stderr", "between the page and its stream")
        route.continue_()

    page.route(lambda url: "/logs/events" in url, late)
    go(page, served, "shop/logs")
    lines = page.locator("#log p:visible .text")
    expect(lines).to_have_text(["one", "again", "again", "between the page and its stream"])
    expect(page.locator("#log")).to_have_attribute("data-live", "true")
    log.append("stdout", "and on")
    expect(lines).to_have_text(["one", "again", "again", "between the page and its stream", "and on"])


def test_without_script_the_log_is_filtered_by_the_server(served: Served, open_page: OpenPage) -> None:
    shop = make_instance("shop")
    log = InstanceLog(served.config.logs / shop.id, served.config.log_bytes, served.config.log_generations)
    log.append("stdout", "one")
    log.append("platform", "two")
    page = open_page(java_script_enabled=False)
    go(page, served, "shop/logs")
    page.select_option("#log-stream", "platform")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#log .text")).to_have_text(["two"])


def test_secrets_go_in_and_never_come_out(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    go(page, served, "shop/secrets")
    page.fill("#name", "greeting")
    page.fill("#value", "good\nmorning")
    page.get_by_role("button", name="Set").click()
    expect(page.locator("#secret-error")).to_contain_text("capital letters")
    page.fill("#name", "GREETING")
    page.fill("#value", "good\nmorning")
    page.get_by_role("button", name="Set").click()
    expect(page.locator("tbody td").first).to_have_text("GREETING")
    assert opened(Instance.objects.get(id=shop.id).secrets) == {"GREETING": "good\nmorning"}
    assert "morning" not in page.content()
    page.get_by_role("button", name="Remove GREETING").click()
    expect(page.get_by_text("No secrets yet")).to_be_visible()
    assert Instance.objects.get(id=shop.id).secrets == {}


def test_settings_are_saved_or_refused_at_their_field(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    go(page, served, "shop/settings")
    page.fill("#idle_timeout", "never")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#idle-said")).to_contain_text("whole seconds")
    expect(page.locator("#idle_timeout")).to_have_value("never")
    page.fill("#idle_timeout", "300")
    page.check("[name=always_awake]")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notice")).to_contain_text("Saved")
    made = Instance.objects.get(id=shop.id)
    assert (made.idle_timeout, made.always_awake, made.dev) == (300, True, False)
    observations.record_observed({made.id: made.generation})
    page.fill("#idle_timeout", "")
    page.uncheck("[name=always_awake]")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#idle_timeout")).to_have_value("")
    assert Instance.objects.get(id=shop.id).idle_timeout is None


def test_events_are_paged(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    for number in range(60):
        events.tell(shop.id, "upgraded", f"event {number}")
    go(page, served, "shop/events")
    expect(page.locator(".feed li")).to_have_count(50)
    expect(page.locator(".feed li").first).to_contain_text("event 59")
    expect(page.get_by_role("heading", name="Who asked for what")).to_be_visible()
    page.get_by_role("link", name="Older ones").click()
    expect(page.locator(".feed li").last).to_contain_text("event 0")
