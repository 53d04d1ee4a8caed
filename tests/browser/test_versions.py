"""The pages of versions in a browser, with control alone: live steps, clock, choice, hostile reports, no script."""

from __future__ import annotations

import time

from playwright.sync_api import Browser, Dialog, expect

from pocketfleet.actions import operations, upgrades
from pocketfleet.domain.states import OperationState, StepState
from pocketfleet.models import Operation
from tests.browser.conftest import OpenPage
from tests.integration.web.served import Served
from tests.integration.web.test_versions import asking, make_shop, rehearsed


def test_steps_and_clock_follow_without_a_reload(served: Served, open_page: OpenPage) -> None:
    shop = make_shop()
    operation = upgrades.upgrade_instance(shop.id, acting_user=None)
    page = open_page()
    page.goto(f"{served.config.public_url}/instances/shop/operations/{operation.id}")
    expect(page.locator("body")).to_have_attribute("data-connected", "true")
    page.evaluate("window.neverReloaded = true")
    expect(page.locator(".steps li")).to_have_count(12)
    operations.move_operation(operation.id, OperationState.RUNNING)
    for name in ("resolve", "snapshot", "rehearse", "decide", "backup", "hold"):
        operations.move_step(operation.id, name, StepState.RUNNING)
        expect(page.locator(".steps li.running")).to_have_count(1)
        upgrades.set_hold(shop.id, operation.id if name == "hold" else "")
        operations.move_step(operation.id, name, StepState.DONE, output={"held_at": time.time()})
    clock = page.locator("[data-clock]")
    before = clock.text_content()
    # nothing is written meanwhile: it is the script that counts on
    page.wait_for_function("before => document.querySelector('[data-clock]').textContent !== before", arg=before)
    result = {"from": "0.36.9", "to": "0.40.6", "held_ms": 912}
    operations.end_operation(operation.id, OperationState.SUCCEEDED, result=result)
    expect(page.locator("#operation")).to_contain_text("It runs PocketBase 0.40.6 now")
    expect(page.locator(".clock")).to_contain_text("0.91 s")
    expect(clock).to_have_count(0)
    assert page.evaluate("window.neverReloaded") is True


def test_what_a_range_would_mean_is_said_while_it_is_typed(served: Served, open_page: OpenPage) -> None:
    make_shop()
    page = open_page()
    page.goto(f"{served.config.public_url}/instances/shop/versions")
    page.locator("input[value='0.36.9']").check()
    expect(page.locator("#choice")).to_contain_text("runs already")
    page.locator("#own").press_sequentially("~0.40.0")
    expect(page.locator("#choose-own")).to_be_checked()
    expect(page.locator("#choice")).to_contain_text("0.40.6")
    page.locator("#own").fill("~0.99.0")
    expect(page.locator("#choice")).to_contain_text("No release matches")


def test_a_hostile_report_runs_nothing(served: Served, open_page: OpenPage) -> None:
    found = rehearsed(make_shop(), "ugly")
    page = open_page()
    dialogs: list[str] = []

    def heard(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", heard)
    page.goto(f"{served.config.public_url}/instances/shop/rehearsals/{found.id}")
    for folded in page.locator("main details").all():
        folded.evaluate("part => part.open = true")
    expect(page.locator("main img")).to_have_count(0)
    expect(page.locator("main script")).to_have_count(0)
    expect(page.locator("#answers")).to_contain_text("<script>alert('owned')</script>")
    assert not dialogs


def test_everything_works_without_script(served: Served, browser: Browser, open_page: OpenPage) -> None:
    operation = asking(make_shop())
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(served.config.public_url + served.link())
    at = f"{served.config.public_url}/instances/shop"
    page.goto(f"{at}/rehearsals/{operation.result['rehearsal']}")
    page.locator("#to-accept").click()
    page.locator("#accept-and-switch").click()
    expect(page.get_by_role("heading", name="Switching")).to_be_visible()
    opened = Operation.objects.get(kind="upgrade", state=OperationState.PENDING)
    assert page.url == f"{at}/operations/{opened.id}"
    operations.move_operation(opened.id, OperationState.CANCELLED)
    page.goto(f"{at}/versions")
    page.locator("#line-0\\.40 > summary").click()
    page.get_by_label("The newest of 0.40").check()
    page.get_by_role("button", name="Rehearse", exact=True).click()
    expect(page.get_by_role("heading", name="Rehearsing")).to_be_visible()
    page.goto(f"{at}/versions")
    page.get_by_label("Do nothing").check()
    page.click("#save-policy")
    expect(page.get_by_label("Do nothing")).to_be_checked()
    context.close()
