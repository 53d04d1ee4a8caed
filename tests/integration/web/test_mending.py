"""The page Mend by hand, and reports on restores: what they say, and what their buttons open."""

from __future__ import annotations

from typing import Any

import pytest

from pocketfleet.actions import upgrades
from pocketfleet.domain.states import OperationState
from pocketfleet.models import Instance, Operation, Rehearsal, Team, Upload, User
from tests.integration.web.copies import make_backup, make_snapshot
from tests.integration.web.served import Browser, Served, finish, make_instance
from tests.integration.web.test_versions import rehearsed, shown
from tests.reports import report

UPLOAD = "uploaded1234567"
LOST = "The collection posts is not in it, and 2 records with it."


@pytest.fixture
def browser(served: Served) -> Browser:
    """The operator, signed in."""
    return served.browser()


def restored(shop: Instance, verdict: str = "changed", **params: str) -> Rehearsal:
    """A rehearsed restore, as node writes it down, that asks."""
    given = {"snapshot": "", "backup": "", "upload": "", "rehearse": True, **params}
    operation = Operation.objects.create(kind="restore", instance=shop, params=given, actor="operator")
    found = report("planted")
    reason: dict[str, Any] = {"severity": "breaks", "section": "records", "source": "data", "where": "posts"}
    reason |= {"text": LOST, "detail": {}}
    reasons = [reason] if verdict != "safe" else []
    counts = {"posts": {"before": 2, "after": None}}
    found |= {"kind": "restore", "verdict": verdict, "reasons": reasons, "from": shop.release, "to": shop.release}
    found["sections"] = found["sections"] | {"records": {"facts": {"counts": counts}, "findings": reasons}}
    kept = upgrades.record_rehearsal(shop.id, operation.id, found, "", origin="upload:x")
    result = {"from": shop.release, "to": shop.release, "verdict": verdict, "reasons": [LOST], "rehearsal": kept.id}
    finish(operation, OperationState.ASKING, result=result)
    return kept


def uploaded(served: Served) -> None:
    """A file that waits to be used."""
    served.config.incoming.mkdir(exist_ok=True)
    served.config.upload(UPLOAD).write_bytes(b"PK")
    Upload.objects.create(id=UPLOAD, team=Team.objects.get(), user=User.objects.get(), size=2, sha256="0" * 64)


def test_a_report_on_a_restore_is_read_and_accepted(served: Served, browser: Browser) -> None:
    shop = make_instance("shop")
    uploaded(served)
    found = restored(shop, upload=UPLOAD)
    said = shown(browser, f"/instances/shop/rehearsals/{found.id}")
    assert "an uploaded file, with PocketBase 0.40.6, in place of what is there, with 0.40.6" in said
    assert "What you bring works, and differs from what is there now." in said
    assert LOST in said
    assert "Brought (0.40.6)" in said
    assert "Accept and restore" in said
    assert "A restore was rehearsed: changed." in shown(browser, "/instances/shop/versions")
    answer = browser.post(f"/instances/shop/rehearsals/{found.id}/accept")
    assert answer.status_code == 303
    opened = Operation.objects.filter(kind="restore").order_by("-created_at")[0]
    wanted = {"upload": UPLOAD, "rehearse": True, "accept_changes": True, "accepted": found.id, "rehearse_only": False}
    assert wanted.items() <= opened.params.items()
    steps = shown(browser, f"/instances/shop/operations/{opened.id}")
    assert "Restoring" in steps
    assert "Rehearse: what is there now, what is brought, and now again, on copies" in steps


def test_what_is_gone_broken_or_of_another_release_is_not_restored(served: Served, browser: Browser) -> None:
    shop = make_instance("shop")
    found = restored(shop, upload=UPLOAD)
    path = f"/instances/shop/rehearsals/{found.id}"
    assert "What was rehearsed is gone. Bring it again." in shown(browser, path)
    assert browser.post(f"{path}/accept").status_code == 409
    uploaded(served)
    Instance.objects.filter(id=shop.id).update(release="0.36.9")
    assert "Rehearse again." in shown(browser, path)
    Instance.objects.filter(id=shop.id).update(release="0.40.6")
    broken = restored(shop, "broken", upload=UPLOAD)
    path = f"/instances/shop/rehearsals/{broken.id}"
    assert "Bring a mended file" in shown(browser, path)
    assert browser.post(f"{path}/accept").status_code == 409


def test_a_restore_counts_for_no_change_of_release(browser: Browser) -> None:
    shop = make_instance("shop", release="0.36.9")
    found = restored(shop, "broken", upload=UPLOAD)
    Rehearsal.objects.filter(id=found.id).update(to_release="0.40.6")
    operation = upgrades.upgrade_instance(shop.id, "0.40.6", accept_changes=True, acting_user=None)
    assert operation.params["accepted"] == ""
    assert "rehearsals" not in browser.http.get("/instances/shop/versions/choice?choice=0.40.6").text


def test_own_copies_are_restored_at_once_or_rehearsed_first(browser: Browser) -> None:
    shop = make_instance("shop")
    snapshot = make_snapshot(shop)
    assert "Rehearse it first" in shown(browser, f"/instances/shop/restore?snapshot={snapshot.id}")
    assert browser.post("/instances/shop/restore", snapshot=snapshot.id, do="rehearse").status_code == 303
    operation = Operation.objects.get(kind="restore")
    assert (operation.params["rehearse"], operation.params["rehearse_only"]) == (True, True)
    finish(operation)
    assert browser.post("/instances/shop/restore", snapshot=snapshot.id).status_code == 303
    at_once = Operation.objects.filter(kind="restore").order_by("-created_at")[0]
    assert at_once.params["rehearse"] is False
    assert "Rehearse:" not in shown(browser, f"/instances/shop/operations/{at_once.id}")


def test_the_path_says_where_one_is(served: Served, browser: Browser) -> None:
    shop = make_instance("shop", state="failing", reason="failed to apply migration 1999_bad.js")
    assert "Stop it and mend it, step by step" in shown(browser, "/instances/shop")
    rehearsed(shop, "old-hooks")
    said = shown(browser, "/instances/shop/mend")
    assert "1. Stop it it does not start" in said
    assert "failed to apply migration 1999_bad.js" in said
    assert "main.pb.js" in said
    assert "Make a backup with hooks and files" in said
    answer = browser.post("/instances/shop/power?to=mend", power="off")
    assert answer.headers["location"] == f"/instances/{shop.id}/mend"
    backup = make_backup(served.config, shop)
    type(backup).objects.filter(id=backup.id).update(full=True, purpose="upgrade")
    said = shown(browser, "/instances/shop/mend")
    assert "1. Stop it done" in said
    assert f"{backup.name} 3.4 MB, PocketBase 0.40.6" in said
    assert "from before a change of release" in said
    assert f"unzip {backup.name} -d shop" in said


def test_a_backup_that_is_made_leads_on(browser: Browser) -> None:
    shop = make_instance("shop", state="off")
    browser.post("/instances/shop/backups/make", full="on")
    operation = Operation.objects.get(kind="backup")
    finish(operation, result={"name": "shop.zip"})
    said = shown(browser, f"/instances/{shop.id}/operations/{operation.id}")
    assert "The backup is made: shop.zip Download it On with mending" in said
