"""Every page, wide and narrow, light and dark: artifacts/screenshots/, to be looked at."""

from __future__ import annotations

from functools import partial

from pocketfleet.actions import events, instances, operations, releases, sign_in
from pocketfleet.config import Config
from pocketfleet.domain.states import OperationState, StepState
from pocketfleet.logs import InstanceLog
from pocketfleet.models import Snapshot
from tests.browser.camera import picture
from tests.browser.conftest import OpenPage
from tests.integration.web.copies import make_backup, make_snapshot
from tests.integration.web.served import Served, finish, make_instance

REASON = """PocketBase ended before it answered (exit code 1).
Error: failed to apply migration 1700000000_orders.js: ReferenceError: Dao is not defined
    at migrations/1700000000_orders.js:3:15"""


def furnish(config: Config) -> None:
    """Instances in each state, one with a past, work under way, a failure, a source that is down."""
    shop = make_instance("shop", state="awake")
    secrets = {"SMTP_PASSWORD": "x", "STRIPE_KEY": "y"}
    instances.change_secrets(shop.id, secrets, acting_user=sign_in.find_operator())
    write_log(config, shop.id)
    make_backup(config, shop)
    make_snapshot(shop, note="before the sale", release="0.40.5")
    make_snapshot(shop, purpose="checkpoint", kept_for="operation000001")
    for weight, text in (
        ("info", "Upgraded from 0.40.5 to 0.40.6: safe, requests were held for 0.2 s."),
        ("warning", "PocketBase 0.41.0 is there. Its rehearsal found 3 changes; read the report and decide."),
        ("problem", "The backup of 03:00 failed: the disk is full. Make room; it is tried again at the next time."),
    ):
        events.tell(shop.id, "upgraded", text, weight=weight)
    make_instance("blog-of-ana", state="asleep")
    make_instance("intranet", state="waking", release="0.36.9")
    make_instance("legacy-crm", state="failing", reason=REASON, release="0.22.27")
    make_instance("reports", state="off", release="0.30.4")
    make_instance("spam-trap", state="suspended", reason="It sent mail to strangers. Write to the operator.")
    fresh = make_instance("bakery", state="creating")
    work = fresh.operations.get()
    operations.move_operation(work.id, OperationState.RUNNING)
    operations.move_step(work.id, "fetch", StepState.RUNNING)
    operations.report_progress(work.id, "fetch", 0.42, "Fetching PocketBase 0.40.6, 6 of 14 MB")
    failed = releases.fetch_release("0.23.12", acting_user=None)
    finish(failed, OperationState.FAILED, error={"detail": "The wheel's checksum differs from the index's."})
    releases.record_source_down("github", "GitHub did not answer within 10 s.")


def snapshot_id() -> str:
    """One of those that `furnish` makes."""
    return Snapshot.objects.filter(note="before the sale").get().id


def write_log(config: Config, instance_id: str) -> None:
    """What PocketBase and pocketfleet say in a day."""
    log = InstanceLog(config.logs / instance_id, config.log_bytes, config.log_generations)
    log.append("platform", "woken by GET /api/collections/posts/records")
    log.append("stdout", "Server started at http://127.9.0.1:8090\n- REST API: http://127.9.0.1:8090/api/")
    log.append("stderr", "TypeError: Cannot read property 'total' of undefined at pb_hooks/orders.pb.js:12:9")
    log.append("stdout", "order 4711 paid " + "and shipped " * 20)


def test_screenshots(served: Served, open_page: OpenPage) -> None:
    page = open_page(device_scale_factor=1)
    shoot = partial(picture, page)

    shoot("empty")
    page.click("text=Create the first one")
    page.wait_for_selector("#name")
    shoot("new")
    page.fill("#name", "my shop!")
    page.click("#create")
    page.wait_for_selector("#name-said .error")
    shoot("refused")
    page.fill("#name", "first")
    page.click("#create")
    page.wait_for_selector("#password")
    shoot("created")
    furnish(served.config)
    page.goto(served.config.public_url)
    page.wait_for_selector("text=spam-trap")
    shoot("instances")
    for name in ("shop", "legacy-crm", "spam-trap"):
        page.goto(f"{served.config.public_url}/instances/{name}")
        shoot(f"overview-{name}")
    for tab in ("logs", "events", "secrets", "settings", "backups", "restore?snapshot=" + snapshot_id(), "danger"):
        page.goto(f"{served.config.public_url}/instances/shop/{tab}")
        shoot(tab.partition("?")[0])
    page.goto(f"{served.config.public_url}/import")
    shoot("import")
    page.goto(served.config.public_url)
    page.fill("#q", "nothing like it")
    page.wait_for_selector("text=No instance matches")
    shoot("no-match")
    page.click("text=Sign out")
    page.wait_for_selector("text=I do not know my password")
    shoot("sign-in")
    page.goto(f"{served.config.public_url}/sign-in/nonsense")
    shoot("wrong-link")
    page.goto(f"{served.config.public_url}/nothing-here")
    shoot("not-found")
