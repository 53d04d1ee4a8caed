"""Backups, snapshots, restores, clones, imports, the Danger Zone, as people click them; the test plays node."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pocketfleet.actions import copy_records, teams
from pocketfleet.models import Instance, Operation
from tests.browser.conftest import OpenPage
from tests.integration.web.copies import make_backup, make_snapshot
from tests.integration.web.served import Served, make_instance


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The dashboard, signed in."""
    return open_page()


def go(page: Page, served: Served, path: str) -> None:
    """To one of our pages."""
    page.goto(f"{served.config.public_url}/{path}")


def last(kind: str) -> Operation:
    """The newest operation of this kind."""
    found = Operation.objects.filter(kind=kind).order_by("-created_at").first()
    assert found is not None
    return found


def test_backups_are_made_listed_and_removed(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    go(page, served, "instances/shop/backups")
    expect(page.get_by_text("No backup yet")).to_be_visible()
    page.check("#full-now")
    page.click("#back-up")
    assert last("backup").params["full"] is True
    Operation.objects.all().delete()
    backup = make_backup(served.config, shop)
    go(page, served, "instances/shop/backups")
    expect(page.locator("#copies td .mono").first).to_have_text(backup.name)
    with page.expect_download() as coming:
        page.get_by_role("link", name=f"Download {backup.name}").click()
    assert coming.value.path().read_bytes() == b"the zip"
    page.locator(f"#more-{backup.id} summary").click()
    page.get_by_role("button", name="Remove for good").click()
    assert last("delete_backup").params["backup"] == backup.id
    copy_records.forget_backup(backup.id)
    expect(page.get_by_text("No backup yet")).to_be_visible()


def test_what_is_typed_survives_a_live_refresh(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    go(page, served, "instances/shop/backups")
    expect(page.locator("body")).to_have_attribute("data-connected", "true")
    page.fill("#note", "before the sale")
    snapshot = make_snapshot(shop)
    expect(page.locator("#copies")).to_contain_text(snapshot.id)
    expect(page.locator("#note")).to_have_value("before the sale")
    page.click("#take")
    assert last("snapshot").params["note"] == "before the sale"


def test_a_snapshot_is_restored_after_its_consequence_was_said(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    snapshot = make_snapshot(shop, release="0.36.9")
    go(page, served, "instances/shop/backups")
    page.get_by_role("link", name=f"Restore the snapshot {snapshot.id}").click()
    expect(page.get_by_text("kept as a snapshot first")).to_be_visible()
    expect(page.get_by_text("now 0.40.6")).to_be_visible()
    assert not Operation.objects.filter(kind="restore").exists()
    page.get_by_role("button", name="Restore it").click()
    assert last("restore").params["snapshot"] == snapshot.id


def test_the_plan_is_saved_or_refused_beside_its_field(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    go(page, served, "instances/shop/backups")
    page.select_option("#time", "0 3 * * *")
    page.locator("form", has=page.locator("#time")).get_by_role("button", name="Save").click()
    expect(page.get_by_text("The next one is due")).to_be_visible()
    shop.refresh_from_db()
    assert shop.backup_plan == {"cron": "0 3 * * *", "zone": "UTC", "keep": 7, "full": False}
    page.select_option("#time", "own")
    page.click("text=A time of my own, zone, number")
    page.fill("#cron", "at noon")
    page.fill("#zone", "Europe/Vienna")
    page.locator("form", has=page.locator("#time")).get_by_role("button", name="Save").click()
    expect(page.locator("#plan-error")).to_contain_text("at noon")
    expect(page.locator("#cron")).to_have_value("at noon")
    page.fill("#cron", "30 2 * * 1-5")
    page.locator("form", has=page.locator("#time")).get_by_role("button", name="Save").click()
    expect(page.locator("#notice")).to_contain_text("Saved")
    shop.refresh_from_db()
    assert (shop.backup_plan["cron"], shop.backup_plan["zone"]) == ("30 2 * * 1-5", "Europe/Vienna")


def test_a_file_is_uploaded_and_restored(served: Served, page: Page, tmp_path: Path) -> None:
    make_instance("shop")
    file = tmp_path / "data.zip"
    file.write_bytes(b"PK" + bytes(3_000_000))
    go(page, served, "instances/shop/backups")
    page.set_input_files("#file", file)
    page.get_by_role("button", name="Upload, rehearse and restore").click()
    page.wait_for_url("**/operations/*")
    upload = last("restore").params["upload"]
    assert served.config.upload(upload).stat().st_size == 3_000_002


def test_an_import_makes_an_instance(served: Served, page: Page, tmp_path: Path) -> None:
    make_instance("taken")
    file = tmp_path / "data.zip"
    file.write_bytes(b"PK")
    go(page, served, "import")
    page.fill("#name", "taken")
    expect(page.locator("#name-said .error")).to_contain_text("taken")
    page.set_input_files("#file", file)
    page.get_by_role("button", name="Upload and import").click()
    expect(page.get_by_role("alert")).to_contain_text("is taken")
    expect(page.get_by_text("is still here")).to_be_visible()
    page.fill("#name", "brought")
    page.get_by_role("button", name="Upload and import").click()
    page.wait_for_url("**/operations/*")
    assert Instance.objects.get(name="brought").operations.get().kind == "import"


def test_the_danger_zone_says_what_comes_of_it(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    make_instance("taken")
    go(page, served, "instances/shop/danger")
    page.fill("#new-name", "taken")
    page.get_by_role("button", name="Rename", exact=True).click()
    expect(page.locator("#rename-error")).to_contain_text("is taken")
    page.fill("#new-name", "market")
    page.get_by_role("button", name="Rename", exact=True).click()
    expect(page.locator("h1")).to_have_text("market")
    go(page, served, "instances/market/danger")
    page.fill("#clone-name", "staging")
    page.get_by_role("button", name="Clone", exact=True).click()
    assert Instance.objects.get(name="staging").operations.get().params["keep_mail"] is False
    go(page, served, "instances/market/danger")
    expect(page.get_by_text("Power it off first")).to_be_visible()
    page.click("#dz-power-button")
    expect(page.locator("#state .pill")).to_have_text("off")
    page.fill("#confirm", "shop")
    page.get_by_role("button", name="Delete market").click()
    expect(page.locator("#delete-error")).to_contain_text("Type its name, market")
    page.fill("#confirm", "market")
    page.get_by_role("button", name="Delete market").click()
    page.wait_for_url(f"{served.config.public_url}/")
    assert last("delete").instance_id == shop.id


def test_an_instance_is_moved_to_another_team(served: Served, page: Page) -> None:
    shop = make_instance("shop")
    operator = served.operator_user()
    other = teams.create_team("Friends", acting_user=operator)
    go(page, served, "instances/shop/danger")
    page.select_option("#to-team", label="Friends")
    page.get_by_role("button", name="Move", exact=True).click()
    page.wait_for_url(f"{served.config.public_url}/")
    shop.refresh_from_db()
    assert shop.team_id == other.id
