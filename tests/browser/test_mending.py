"""The guided path of mending by hand, as people click it; the test plays node. Looked at by axe, and by people."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from pocketfleet.models import Instance, Operation, Rehearsal
from tests.browser.camera import picture
from tests.browser.conftest import OpenPage
from tests.browser.test_axe import complaints
from tests.browser.test_copies import go, last
from tests.integration.web.copies import make_backup
from tests.integration.web.served import Served, finish, make_instance
from tests.integration.web.test_mending import LOST, UPLOAD, restored, uploaded
from tests.integration.web.test_versions import rehearsed

REASON = "failed to apply migration 1999999999_bad.js: TypeError: Object has no member 'nothing'"


@pytest.fixture
def shop(served: Served) -> Instance:
    """One that does not start, with a report that names what to write otherwise."""
    made = make_instance("shop", state="failing", reason=REASON)
    rehearsed(made, "old-hooks")
    return made


def test_each_step_leads_to_the_next(served: Served, open_page: OpenPage, shop: Instance, tmp_path: Path) -> None:
    page = open_page()
    go(page, served, "instances/shop")
    page.click("#to-mend")
    expect(page.locator("#obstacle")).to_contain_text("1999999999_bad.js")
    page.click("#power-off")
    expect(page.locator("#stop .tag")).to_have_text("done")
    page.click("#back-up")
    assert last("backup").params["full"] is True
    backup = make_backup(served.config, shop)
    type(backup).objects.filter(id=backup.id).update(full=True)
    finish(last("backup"), result={"name": backup.name})
    page.reload()
    page.get_by_role("link", name="On with mending").click()
    with page.expect_download() as coming:
        page.get_by_role("link", name=f"Download {backup.name}").click()
    assert coming.value.path().read_bytes() == b"the zip"
    expect(page.locator("#mending pre")).to_contain_text(f"unzip {backup.name} -d shop")
    file = tmp_path / "mended.zip"
    file.write_bytes(b"PK mended")
    page.set_input_files("#file", file)
    with page.expect_request("**/api/v1/uploads?*") as sent:
        page.get_by_role("button", name="Upload, rehearse and restore").click()
    assert sent.value.url.endswith(f"?instance={shop.id}"), "it counts in the storage of its instance's team"
    page.wait_for_url("**/operations/*")
    asked = last("restore")
    assert (asked.params["rehearse"], asked.params["accept_changes"]) == (True, False)
    expect(page.locator(".steps")).to_contain_text("Rehearse: what is there now")
    # node says that it differs
    Operation.objects.filter(id=asked.id).delete()
    found = restored(shop, upload=asked.params["upload"])
    go(page, served, f"instances/shop/operations/{found.operation_id}")
    page.get_by_role("link", name="Read the report", exact=True).click()
    expect(page.locator(".reasons").first).to_contain_text(LOST)
    page.click("#to-accept")
    expect(page.get_by_role("dialog")).to_contain_text("you accept that")
    page.click("#accept-and-restore")
    page.wait_for_url("**/operations/*")
    assert last("restore").params["accepted"] == found.id
    finish(last("restore"), result={"from": "0.40.6", "release": "0.40.6", "to": "0.40.6", "held_ms": 400})
    page.reload()
    expect(page.locator("#operation")).to_contain_text("It is restored")
    page.click("#operation #power-on")
    shop.refresh_from_db()
    assert shop.power == "on"


def test_screenshots(served: Served, open_page: OpenPage, shop: Instance) -> None:
    page = open_page(device_scale_factor=1)
    backup = make_backup(served.config, shop)
    type(backup).objects.filter(id=backup.id).update(full=True, purpose="upgrade")
    uploaded(served)
    found: Rehearsal = restored(shop, upload=UPLOAD)
    for name, path in {
        "mend": "instances/shop/mend",
        "restore-asking": f"instances/shop/operations/{found.operation_id}",
    }.items():
        go(page, served, path)
        page.wait_for_selector("body[data-connected=true]")
        assert complaints(page) == []
        picture(page, name)
