"""The pages of versions, wide and narrow, light and dark: artifacts/screenshots/, to be looked at."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.utils import timezone

from pocketfleet.actions import operations, releases, upgrades
from pocketfleet.actions.releases import Offered
from pocketfleet.domain.states import OperationState, StepState
from pocketfleet.models import Backup, Instance, Operation, Snapshot
from tests.browser.camera import picture
from tests.browser.conftest import OpenPage
from tests.integration.web.served import Served, finish, make_instance, make_many
from tests.integration.web.test_versions import JUDGED, asking, make_shop, rehearsed

LOST = {
    "records": {
        "notes": {"created": 13, "changed": 2, "deleted": 0},
        "orders": {"created": 1, "changed": 0, "deleted": 4},
    },
    "files": {"created": 3, "changed": 0, "deleted": 0},
    "files_by_collection": {"orders": {"created": 3, "changed": 0, "deleted": 0}},
}


def catalogue() -> None:
    """Some lines of releases, with dates."""
    day = timezone.now() - timedelta(days=700)
    lines = {"0.22": 28, "0.23": 13, "0.30": 5, "0.33": 3, "0.36": 10, "0.38": 3, "0.40": 7}
    numbers = [f"{line}.{patch}" for line, count in lines.items() for patch in range(count)]
    offered = [Offered(number, published_at=day + timedelta(days=9 * n)) for n, number in enumerate(numbers)]
    releases.record_offers("pypi", offered)
    releases.record_offers("github", offered[-12:])
    for number in ("0.36.9", "0.40.6"):
        releases.record_fetched(number, "pypi", number.ljust(64, "0"))


def furnish() -> dict[str, str]:
    """A shop with a past, and addresses of what there is to see."""
    catalogue()
    shop = make_shop()
    at = "/instances/shop"
    first = upgrades.upgrade_instance(shop.id, "0.36.9", acting_user=None)
    finish(first, result={"from": "0.30.4", "to": "0.36.9", "verdict": "safe", "held_ms": 640})
    worse = upgrades.upgrade_instance(shop.id, "0.40.5", acting_user=None)
    operations.move_operation(worse.id, OperationState.RUNNING)
    for step in ("resolve", "snapshot", "rehearse", "decide", "hold", "checkpoint", "switch"):
        operations.move_step(worse.id, step, StepState.RUNNING)
        operations.move_step(worse.id, step, StepState.FAILED if step == "switch" else StepState.DONE)
    for step in ("switch", "hold"):
        operations.move_step(worse.id, step, StepState.COMPENSATING)
        operations.move_step(worse.id, step, StepState.COMPENSATED)
    why = (
        "PocketBase ended with exit code 3 before it answered. It said: failed to apply migration 1700000000_orders.js"
    )
    operations.end_operation(
        worse.id,
        OperationState.ROLLED_BACK,
        result={"from": "0.36.9", "to": "0.40.5", "verdict": "changed", "held_ms": 2310},
        error={"detail": why},
    )
    Snapshot.objects.create(instance=shop, purpose="checkpoint", release="0.30.4", size=83_000_000)
    note = {"note": "before the sale", "manifest": {"fingerprints": JUDGED}}
    kept = Snapshot.objects.create(instance=shop, purpose="manual", release="0.36.9", size=91_000_000, **note)
    window = {"days": [1, 2, 3], "from": "02:00", "to": "05:00", "zone": "Europe/Vienna"}
    upgrades.change_policy(shop.id, policy="auto", window=window, acting_user=None)
    probes: list[dict[str, Any]] = [
        {"path": "/api/health", "expect_status": 200, "safe": True},
        {"method": "POST", "path": "/pay", "identity": "superuser", "body": {"n": 1}, "expect_json": {"ok": True}},
    ]
    upgrades.set_probes(shop.id, probes, acting_user=None)
    Instance.objects.filter(id=shop.id).update(refused={"0.40.5": "f"})
    found = {
        f"report-{name}": f"{at}/rehearsals/{rehearsed(shop, name, to=to).id}"
        for name, to in (("safe", "0.40.3"), ("old-hooks", "0.40.2"), ("broken-rule", "0.40.1"), ("ugly", "0.40.0"))
    }
    back = upgrades.rollback_instance(shop.id, kept.id, acting_user=None)
    Backup.objects.create(instance=shop, name="lost-1.zip", purpose="lost", release="0.36.9", size=1_234_567)
    finish(back, OperationState.ASKING, result={"lost": LOST, "from": "0.36.9", "to": "0.36.9"})
    asks = asking(shop)
    found |= {
        "versions": f"{at}/versions",
        "versions-choice": f"{at}/versions?range=~0.40.0",
        "rolled-back": f"{at}/operations/{worse.id}",
        "losses": f"{at}/operations/{back.id}",
        "asking": f"{at}/operations/{asks.id}",
        "report-planted": f"{at}/rehearsals/{asks.result['rehearsal']}",
        "releases": "/releases",
    }
    return found


def hold() -> str:
    """An upgrade in the middle of its switch."""
    busy = make_instance("busy")
    operation = upgrades.upgrade_instance(busy.id, "0.40.5", acting_user=None)
    operations.move_operation(operation.id, OperationState.RUNNING)
    for step in ("resolve", "snapshot", "rehearse", "decide", "backup", "hold", "checkpoint", "switch"):
        operations.move_step(operation.id, step, StepState.RUNNING)
        if step != "switch":
            operations.move_step(operation.id, step, StepState.DONE, output={"held_at": time.time() - 4})
    upgrades.set_hold(busy.id, operation.id)
    return f"/instances/busy/operations/{operation.id}"


def test_screenshots(served: Served, open_page: OpenPage) -> None:
    make_many(12)
    found = furnish() | {"holding": hold()}
    releases.record_source_down("github", "GitHub did not answer within 10 s.")
    page = open_page(device_scale_factor=1)
    for name, path in found.items():
        page.goto(served.config.public_url + path)
        page.wait_for_selector("body[data-connected=true]")
        picture(page, name)
    page.goto(served.config.public_url + found["report-planted"])
    page.click("#to-accept")
    page.wait_for_selector("#accept-and-switch")
    picture(page, "accept", whole=False)
    assert Operation.objects.filter(state=OperationState.RUNNING).count() == 1
