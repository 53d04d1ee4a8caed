"""With real PocketBases and a real server: rehearse, read the report, accept, switch, and go back, all by clicking."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.server import Server, make_notes, running

OLD, NEW = "0.22.27", "0.40.6"
PATIENCE = 120_000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # the sandbox of a rehearsal holds the executable alone, so it must not be a script that calls another one
    with running(versions=(OLD, NEW), counted=False) as started:
        yield started


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """The dashboard, signed in, with a mark that a reload would wipe away."""
    context = browser.new_context()
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(server.api.post("/sign-in-links", json={}).json()["link"])
    yield opened
    context.close()
    assert not complaints


def notes(server: Server) -> list[str]:
    """The texts of all notes, through the edge."""
    with server.client("shop") as client:
        answer = client.get("/api/collections/notes/records")
    assert answer.status_code == 200, answer.text
    return sorted(item["text"] for item in answer.json()["items"])


def write(server: Server, text: str) -> None:
    with server.client("shop") as client:
        answer = client.post("/api/collections/notes/records", json={"text": text})
    assert answer.status_code == 200, answer.text


def test_rehearse_read_accept_switch_and_go_back(server: Server, page: Page) -> None:
    server.create("shop", OLD)
    with server.client("shop") as client:
        make_notes(client, OLD)
    for number in range(3):
        write(server, f"note {number}")
    before = notes(server)

    # choose: the newest of the newest line
    page.goto(f"http://localhost:{server.port}/instances/shop/versions")
    expect(page.get_by_role("heading", name=f"Runs PocketBase {OLD}")).to_be_visible()
    page.locator("#line-0\\.40 > summary").click()
    page.get_by_label("The newest of 0.40").check()
    choice = page.locator("#choice")
    expect(choice).to_contain_text(NEW)
    expect(choice).to_contain_text("schema boundary")
    expect(choice).to_contain_text("What changes for everybody on the way")

    # rehearse: live, without a reload
    page.get_by_role("button", name="Rehearse", exact=True).click()
    expect(page.get_by_role("heading", name="Rehearsing")).to_be_visible()
    page.evaluate("window.neverReloaded = true")
    expect(page.locator("#operation")).to_contain_text("Changed: look at it before you go on", timeout=PATIENCE)
    assert page.evaluate("window.neverReloaded") is True
    expect(page.locator(".steps li.done")).to_have_count(4)
    assert server.show("shop")["release"] == OLD
    assert notes(server) == before

    # read
    page.get_by_role("link", name="Read the report").click()
    expect(page.locator("#verdict")).to_contain_text("Changed")
    expect(page.locator(".reasons").first).to_contain_text("sign in again")
    expect(page.locator("#known")).to_contain_text("/api/admins is gone")

    # accept what is named, by keyboard
    page.locator("#to-accept").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("you accept that")
    expect(dialog).to_contain_text("sign in again")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.locator("#to-accept").click()
    page.locator("#accept-and-switch").click()

    # switch: steps and clock
    expect(page.get_by_role("heading", name="Switching")).to_be_visible()
    page.evaluate("window.neverReloaded = true")
    operation = page.locator("#operation")
    expect(operation).to_contain_text(f"It runs PocketBase {NEW} now", timeout=PATIENCE)
    assert page.evaluate("window.neverReloaded") is True
    expect(operation.locator(".clock")).to_contain_text("is how long requests waited at most")
    expect(page.locator(".steps li.done")).to_have_count(12)
    assert server.show("shop")["release"] == NEW
    assert notes(server) == before

    # go back: what would be lost first
    write(server, "after the switch")
    page.get_by_role("link", name="Go back …").click()
    expect(page.get_by_role("heading", name=f"Runs PocketBase {NEW}")).to_be_visible()
    expect(page.locator("#past")).to_contain_text(f"{OLD} →")
    page.get_by_role("button", name=f"Go back to PocketBase {OLD}").click()
    expect(page.locator("#lost-heading")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#operation table")).to_contain_text("notes")
    assert server.show("shop")["release"] == NEW
    page.fill("#typed-name", "another")
    page.click("#go-back")
    expect(page.locator("#typed-error")).to_contain_text("Type “shop”")
    page.fill("#typed-name", "shop")
    page.click("#go-back")
    expect(page.locator("#operation")).to_contain_text(f"It is back on PocketBase {OLD}", timeout=PATIENCE)
    assert server.show("shop")["release"] == OLD
    assert notes(server) == before
    with page.expect_download() as download:
        page.get_by_text("Download what was lost").click()
    assert download.value.path().read_bytes().startswith(b"PK")

    # and what the page says of it afterwards
    page.get_by_role("link", name="Versions of shop").click()
    expect(page.locator("#present")).to_contain_text(f"PocketBase {NEW} was taken back.")
    expect(page.locator("#past")).to_contain_text(f"Back to {OLD}")
    flag = page.locator("#line-0\\.40 a.tag[href*=rehearsals]").first
    expect(flag).to_have_text("changed")
