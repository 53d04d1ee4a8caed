"""The list of instances follows what happens, and does what its buttons say, without a reload."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Page, Route, expect

from pocketfleet.actions import instances, observations, operations, releases
from pocketfleet.domain.states import OperationState, StepState
from pocketfleet.models import Instance, Operation
from pocketfleet.web import open_streams
from tests.browser.conftest import OpenPage, listening_at
from tests.integration.web.served import Served, finish, make_instance, make_many, show_process


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The dashboard, with a mark that a reload would wipe away."""
    opened = open_page()
    expect(opened.locator("body")).to_have_attribute("data-connected", "true")
    opened.evaluate("window.neverReloaded = true")
    return opened


def never_reloaded(page: Page) -> bool:
    """Whether it is still the same document."""
    return bool(page.evaluate("window.neverReloaded === true"))


def test_a_page_without_a_stream_says_why_and_looks_now_and_then(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_streams, "PER_WAY_IN", 0)
    monkeypatch.setattr(open_streams, "_AGAIN", 0)
    page = open_page(viewport={"width": 390, "height": 844})
    lost = page.locator("[data-lost]")
    expect(lost).to_contain_text("and that is the limit")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    shop = make_instance("shop")
    expect(page.locator(f"#row-{shop.id}")).to_be_visible()
    monkeypatch.setattr(open_streams, "PER_WAY_IN", 40)
    expect(page.locator("body")).to_have_attribute("data-connected", "true", timeout=30_000)
    expect(lost).to_be_hidden()


def test_states_come_and_go_without_reload(page: Page) -> None:
    shop = make_instance("shop")
    row = page.locator(f"#row-{shop.id}")
    pill = row.locator(".pill")
    expect(pill).to_have_text("asleep")
    for process in ("waking", "awake", "asleep"):
        show_process(shop.id, process)
        expect(pill).to_have_text(process)
    show_process(shop.id, "failing", "PocketBase ended.\nError: database is malformed")
    expect(pill).to_have_text("failing")
    row.locator("summary").click()
    expect(row.locator("pre")).to_contain_text("malformed")
    make_instance("another")
    expect(page.get_by_role("link", name="another", exact=True)).to_be_visible()
    expect(row.locator("pre"), "what was open stays open").to_be_visible()
    instances.rename_instance(shop.id, "market", acting_user=None)
    expect(row.get_by_role("link", name="market", exact=True)).to_have_attribute("href", "/instances/market")
    observations.mark_deleted(shop.id)
    expect(row).to_have_count(0)
    assert never_reloaded(page)


def test_buttons_write_down_what_is_wanted_and_keep_the_focus(page: Page) -> None:
    shop = make_instance("shop", state="awake")
    row = page.locator(f"#row-{shop.id}")
    off = row.get_by_role("button", name="Power off shop")
    off.focus()
    page.keyboard.press("Enter")
    expect(row.locator(".pill")).to_have_text("off")
    expect(page.locator(f"#power-{shop.id}")).to_be_focused()
    row.get_by_role("button", name="Power on shop").click()
    expect(row.locator(".pill")).to_have_text("awake")
    row.get_by_role("button", name="Sleep shop").click()
    expect(page.locator(".operations li")).to_contain_text("Sleep shop")
    shop.refresh_from_db()
    assert shop.power == "on"
    assert Operation.objects.filter(instance=shop, kind="sleep").count() == 1
    assert never_reloaded(page)


def test_what_cannot_be_done_is_said_above_the_list(page: Page) -> None:
    shop = make_instance("shop", state="awake")
    button = page.get_by_role("button", name="Sleep shop")
    expect(button).to_be_visible()
    operations.open_operation("backup", instance=shop, acting_user=None)
    button.click()
    expect(page.locator("#notice")).to_contain_text("busy with another operation")
    expect(page.locator(f"#row-{shop.id}")).to_be_visible()
    assert never_reloaded(page)


def test_create_an_instance_and_watch_it_come(page: Page) -> None:
    page.click("text=New instance")
    page.fill("#name", "shop")
    expect(page.locator("#name-said")).to_contain_text("“shop” is free")
    page.fill("#range", "~0.36")
    expect(page.locator("#resolved")).to_contain_text("PocketBase 0.36.9")
    page.fill("#range", "0.99")
    expect(page.locator("#resolved")).to_contain_text("No release matches")
    page.fill("#range", "~0.36")
    page.get_by_role("button", name="Create instance").click()
    password = page.locator("#password").inner_text()
    assert len(password) == 20
    expect(page.get_by_text("admin@shop.localhost")).to_be_visible()
    page.evaluate("window.neverReloaded = true")
    made = Instance.objects.get(name="shop")
    assert made.release == "0.36.9"
    work = made.operations.get()
    assert password not in str(work.params)
    operations.move_operation(work.id, OperationState.RUNNING)
    operations.move_step(work.id, "fetch", StepState.RUNNING)
    operations.report_progress(work.id, "fetch", 0.4, "Fetching PocketBase 0.36.9")
    expect(page.locator("#making progress")).to_have_attribute("value", "40")
    observations.mark_ready(made.id)
    operations.move_operation(work.id, OperationState.SUCCEEDED)
    expect(page.locator("#making")).to_contain_text("It is there")
    assert page.locator("#password").inner_text() == password, "it must not vanish while it is copied"
    assert never_reloaded(page)
    page.get_by_role("link", name="Go to shop").click()
    expect(page.locator("h1")).to_have_text("shop")


def test_what_could_not_be_made_says_why(page: Page) -> None:
    page.goto(f"{page.url}new")
    page.fill("#name", "shop")
    page.get_by_role("button", name="Create instance").click()
    expect(page.locator("#making")).to_contain_text("On its way")
    finish(Operation.objects.get(), OperationState.FAILED, error={"detail": "The disk is full."})
    expect(page.locator("#making .notice.bad")).to_have_text("The disk is full.")


def test_what_changes_while_the_page_looks_is_seen(page: Page) -> None:
    """The answer was on its way when it ended, and nothing comes afterwards that would make the page look again."""
    page.goto(f"{page.url}new")
    page.fill("#name", "shop")
    page.get_by_role("button", name="Create instance").click()
    expect(page.locator("#making")).to_contain_text("On its way")
    expect(page.locator("body")).to_have_attribute("data-connected", "true")
    work = Operation.objects.get()
    held: list[str] = []

    def hold(route: Route) -> None:
        if held:
            route.continue_()
            return
        held.append(route.request.url)
        answer = route.fetch()
        finish(work, OperationState.FAILED, error={"detail": "The disk is full."})
        time.sleep(1)  # the page hears of it meanwhile
        route.fulfill(response=answer)

    page.route(lambda url: url.endswith("/making"), hold)
    operations.move_operation(work.id, OperationState.RUNNING)
    expect(page.locator("#making .notice.bad")).to_have_text("The disk is full.")
    assert held


def test_a_name_that_does_not_fit_is_said_at_its_field(page: Page) -> None:
    make_instance("shop")
    page.goto(f"{page.url}new")
    for name, words in (("shop", "taken"), ("UPPER", "small letters"), ("api", "reserved")):
        page.fill("#name", name)
        expect(page.locator("#name-said .error")).to_contain_text(words)
        page.get_by_role("button", name="Create instance").click()
        expect(page.locator("#name")).to_have_attribute("aria-invalid", "true")
        expect(page.locator("#name-said .error")).to_contain_text(words)
        expect(page.locator("#name")).to_have_value(name)
    page.fill("#name", "fine")
    page.click("text=First superuser")
    page.fill("#password-in", "short")
    page.get_by_role("button", name="Create instance").click()
    expect(page.locator("#password-error")).to_contain_text("10 to 72")
    assert Instance.objects.count() == 1


def test_favourites_come_first_and_the_list_is_sorted(page: Page) -> None:
    for name in ("anton", "berta", "caesar"):
        make_instance(name)
    rows = page.locator("tbody tr .name > a:first-of-type")
    expect(rows).to_have_text(["anton", "berta", "caesar"])
    page.get_by_role("button", name="Keep caesar at the top").click()
    expect(rows).to_have_text(["caesar", "anton", "berta"])
    expect(page.get_by_role("button", name="Keep caesar at the top")).to_be_focused()
    page.select_option("#sort", "newest")
    expect(rows).to_have_text(["caesar", "berta", "anton"])
    page.get_by_role("button", name="Keep caesar at the top").click()
    expect(page.get_by_role("button", name="Keep caesar at the top")).to_have_attribute("aria-pressed", "false")
    assert never_reloaded(page)


def test_sources_that_are_down_are_said(page: Page) -> None:
    releases.record_source_down("github", "GitHub did not answer within 10 s.")
    expect(page.locator(".notice.warn")).to_contain_text("GitHub did not answer")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".operations")).to_contain_text("Refresh the list of releases")
    work = Operation.objects.get(kind="refresh")
    releases.record_offers("github", [])
    finish(work)
    expect(page.locator(".notice.warn")).to_have_count(0)


def test_hundreds_are_searched_and_paged(page: Page) -> None:
    make_many(120)
    make_instance("needle", state="awake")
    expect(page.locator(".summary")).to_contain_text("121 instances · 1 awake")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.fill("#q", "needle")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.url.endswith("/?q=needle&sort=name")
    Instance.objects.filter(name="needle").update(name="pin")
    show_process(Instance.objects.get(name="pin").id, "asleep")
    expect(page.get_by_text("No instance matches “needle”")).to_be_visible()
    page.fill("#q", "")
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("51 to 100 of 121")).to_be_visible()


def test_control_goes_away_and_comes_back(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    expect(page.locator(f"#row-{shop.id} .pill")).to_have_text("asleep")
    port = served.config.port
    served.stop()
    expect(page.get_by_text("Not connected, trying again")).to_be_visible()
    show_process(shop.id, "awake")
    again = Served(served.config, listening_at(port))
    try:
        expect(page.locator(f"#row-{shop.id} .pill")).to_have_text("awake", timeout=20_000)
        expect(page.get_by_text("Not connected, trying again")).to_be_hidden()
    finally:
        again.stop()
    assert never_reloaded(page)


def test_everything_can_be_reached_by_keyboard(page: Page) -> None:
    shop = make_instance("shop", state="awake")
    # the row comes first without its buttons, while the instance is being made
    expect(page.locator(f"#sleep-{shop.id}")).to_be_visible()
    page.locator("body").press("Tab")
    reached = []
    for _ in range(25):
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        page.keyboard.press("Tab")
    wanted = ["Skip to the content", "q", "sort", "to-new", f"star-{shop.id}", f"open-{shop.id}"]
    wanted += [f"sleep-{shop.id}", f"admin-{shop.id}", f"power-{shop.id}"]
    assert [stop for stop in dict.fromkeys(reached) if stop in wanted] == wanted


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(open_page: OpenPage, scheme: str) -> None:
    for state in ("awake", "asleep", "waking", "failing", "off", "suspended"):
        make_instance(f"is-{state}", state=state, reason="a reason")
    releases.record_source_down("github", "down")
    page = open_page(color_scheme=scheme)
    faint = page.evaluate(CONTRAST)
    assert faint == []


def test_without_script_everything_still_works(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    home = page.url
    page.click("text=New instance")
    page.fill("#name", "shop")
    page.click("#create")
    expect(page.locator("#password")).to_be_visible()
    made = Instance.objects.get(name="shop")
    finish(made.operations.get())
    observations.mark_ready(made.id)
    page.goto(home)
    page.get_by_role("button", name="Power off shop").click()
    expect(page.locator(".pill")).to_have_text("off")
    page.fill("#q", "sho")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


#: Elements with text whose contrast is below what WCAG's AA asks for (4.5; none of our text counts as large).
CONTRAST = """() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const weights = [0.2126, 0.7152, 0.0722];
  const light = ([r, g, b]) => [r, g, b].map((v) => linear(v / 255)).reduce((sum, v, i) => sum + v * weights[i], 0);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = channels(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const [a, b] = [light(channels(getComputedStyle(element).color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${element.className} ${element.textContent.trim()} ${ratio.toFixed(2)}`);
  }
  return found;
}"""
