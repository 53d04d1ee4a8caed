"""What an instance was used for, as API and pages have it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from django.template.loader import render_to_string
from django.utils import timezone

from pocketfleet.actions.usage import Used, record_usage
from pocketfleet.config import load
from pocketfleet.domain.usage import DAY, HOUR, Counts, hour_of
from pocketfleet.models import Backup, Snapshot, Usage
from pocketfleet.web.usage import chart_data, usage
from tests.integration.web.served import Served, make_instance
from tests.integration.web.test_bell import postgresql as postgresql
from tests.integration.web.test_pages import queries

NOW = datetime(2026, 11, 25, 14, 10, tzinfo=UTC)
THIS_HOUR = hour_of(NOW)


def record(instance_id: str, hours: dict[datetime, Counts], size: int | None = None) -> None:
    record_usage([Used(instance_id, hours, max(hours) + timedelta(minutes=5), size)])


def test_hours_and_days_hold_what_was_counted_and_nothing_else(tables: None) -> None:
    shop, other = make_instance("shop").id, make_instance("other").id
    record(other, {THIS_HOUR: Counts(99)})
    record(shop, {THIS_HOUR - 40 * DAY: Counts(1000)}, size=10)
    record(shop, {THIS_HOUR - 23 * HOUR: Counts(5, 1, 2, 30, 40), THIS_HOUR - 24 * HOUR: Counts(7)}, size=400)
    record(shop, {THIS_HOUR: Counts(3, 0, 0, 1, 1)})
    day, month = usage(shop, "day", NOW), usage(shop, "month", NOW)
    assert [item["requests"] for item in day["items"]] == [5, *[0] * 22, 3]
    assert [item["requests"] for item in month["items"]] == [*[0] * 28, 12, 3]
    assert day["last_day"] == month["last_day"]
    assert day["last_day"] == {"requests": 8, "client_errors": 1, "server_errors": 2, "bytes_in": 31, "bytes_out": 41}
    assert month["last_month"]["requests"] == 15
    assert day["items"][0]["from"] == THIS_HOUR - 23 * HOUR
    assert day["items"][-1]["to"] == THIS_HOUR + HOUR
    assert [item["size"] for item in day["items"]] == [400] * 24, "a size lasts until the next one"
    assert [item["size"] for item in month["items"]] == [*[None] * 28, 400, 400]


def test_a_size_from_before_everything_kept_is_still_the_size(tables: None) -> None:
    shop = make_instance("shop").id
    record(shop, {THIS_HOUR - 40 * DAY: Counts(1)}, size=10)
    Usage.objects.all().delete()
    assert {item["size"] for item in usage(shop, "month", NOW)["items"]} == {10}


def test_both_are_read_in_four_queries_however_much_there_is(tables: None) -> None:
    empty, busy = make_instance("empty").id, make_instance("busy").id
    record(busy, {THIS_HOUR - HOUR * number: Counts(number) for number in range(30 * 24)}, size=5)
    Snapshot.objects.create(instance_id=busy, purpose="manual", release="0.40.6", size=100)
    for instance_id in (empty, busy):
        for read in (partial(chart_data, instance_id, NOW), partial(usage, instance_id, "day", NOW)):
            with queries() as seen:
                read()
            assert len(seen) == 4, "\n".join(seen)


def test_the_api_shows_it(served: Served) -> None:
    shop = make_instance("shop")
    now = hour_of(timezone.now())
    record(shop.id, {now: Counts(3, 1, 0, 10, 20)}, size=77)
    Backup.objects.create(instance=shop, name="a.zip", purpose="manual", release="0.40.6", sha256="", size=500)
    instance = served.operator.get("/api/v1/instances/shop").json()
    assert instance["size"] == 77
    assert instance["last_request_at"].startswith(now.strftime("%Y-%m-%dT%H:05:00"))
    assert served.operator.get("/api/v1/instances").json()["items"][0]["size"] == 77
    answer = served.operator.get("/api/v1/instances/shop/usage").json()
    assert (answer["period"], len(answer["items"]), answer["last_day"]["requests"]) == ("day", 24, 3)
    assert (answer["size"], answer["backups_size"], answer["snapshots_size"]) == (77, 500, 0)
    assert set(answer["items"][0]) == {
        *("from", "to", "size", "requests", "client_errors", "server_errors", "bytes_in", "bytes_out")
    }
    assert len(served.operator.get(f"/api/v1/instances/{shop.id}/usage?period=month").json()["items"]) == 30
    assert served.operator.get("/api/v1/instances/shop/usage?period=year").status_code == 422
    assert served.operator.get("/api/v1/instances/nothing/usage").status_code == 404
    assert served.stranger.get("/api/v1/instances/shop/usage").status_code == 401


ON_POSTGRESQL = """
from datetime import timedelta
from pocketfleet import control; control.set_up_django()
from django.utils import timezone
from pocketfleet.actions import usage as actions
from pocketfleet.domain.usage import Counts, hour_of
from pocketfleet.models import Instance, Usage
from pocketfleet.web.usage import chart_data, usage
for number in range(3):
    Instance.objects.create(id=f"{number:015d}", name=f"n{number}", number=number, range="*")
now = timezone.now()
def used(number, requests):
    return actions.Used(f"{number:015d}", {hour_of(now): Counts(requests, 0, 1)}, now, 2**40, {"1.5": [requests]})
actions.record_usage([used(0, 5), used(1, 7)])
actions.record_usage([used(0, 5), used(2, 2**70)], ["1".zfill(15)])
assert sorted(actions.counter_marks()) == ["0".zfill(15), "2".zfill(15)]
found = usage("0".zfill(15), "day", now)
assert (found["last_day"]["requests"], found["size"], found["last_request_at"]) == (10, 2**40, now), found
assert chart_data("0".zfill(15), now)["day"]["errors"] == "2 server errors"
Usage.objects.update(hour=hour_of(now) - timedelta(days=40))
assert actions.prune_usage() == 3
actions.forget_usage("0".zfill(15))
assert list(actions.counter_marks()) == ["2".zfill(15)]
"""


def test_postgresql_keeps_it_as_sqlite_does(postgresql: str, home: Path) -> None:
    environment = {**os.environ, **load({}, home=home, database_url=postgresql).environment()}
    prepare = [sys.executable, "-m", "pocketfleet.control", "prepare"]
    subprocess.run(prepare, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60)
    subprocess.run([sys.executable, "-c", ON_POSTGRESQL], env=environment, check=True, timeout=60)


def page_of(instance_id: str) -> str:
    return render_to_string("usage/charts.html", {"usage": chart_data(instance_id, NOW)})


def test_the_fragment_keeps_to_the_content_security_policy_and_says_the_numbers(tables: None) -> None:
    shop = make_instance("shop").id
    record(shop, {THIS_HOUR: Counts(12_345, 1, 2, 3, 4), THIS_HOUR - HOUR: Counts(1)}, size=3_400_000)
    page = page_of(shop)
    for forbidden in (" style=", "<style", "<script", " on", "http:"):
        assert not re.search(rf"<[^>]*{forbidden}" if forbidden == " on" else forbidden, page), forbidden
    assert page.count('role="img"') == page.count("<table>") == page.count("<details>") == 3
    for label in re.findall(r'aria-labelledby="([^"]+)"', page):
        assert all(page.count(f'id="{name}"') == 1 for name in label.split()), label
    assert "14:00 to 15:00: 12.3k requests, 2 server errors" in page
    assert "13:00 to 14:00: 1 request<" in page
    assert "<td>12,345</td>" in page
    assert "3.4 MB" in page


def test_the_fragment_of_one_that_was_never_used_says_what_will_come(tables: None) -> None:
    page = page_of(make_instance("shop").id)
    assert page.count("No requests yet") == 2
    assert page.count("Not measured yet") >= 1
    assert "never" in page
    assert "<rect" not in page
    record(shop := make_instance("other").id, {THIS_HOUR - 3 * DAY: Counts(1)})
    quiet = page_of(shop)
    assert "No requests in the last 24 hours" in quiet
    assert "No requests yet" not in quiet
