"""The pages Versions, operation, report and Releases, as each role sees them, and what their forms write down."""

from __future__ import annotations

import html
import re
import time
from typing import Any

import httpx
import pytest
from django.db.models import Q
from django.utils import timezone

from pocketfleet.actions import instances, operations, releases, teams, upgrades
from pocketfleet.actions.releases import Offered
from pocketfleet.domain.following import fingerprint
from pocketfleet.domain.roles import Role
from pocketfleet.domain.states import OperationState, StepState
from pocketfleet.models import Audit, Backup, Instance, Membership, Operation, Probe, Rehearsal, Snapshot, User
from pocketfleet.web import reading, versions
from tests.integration.web.served import Browser, Served, finish, make_instance, make_many
from tests.integration.web.test_pages import queries
from tests.reports import NAMES, report

JUDGED = {"hooks": "h", "migrations": "m", "schema": "s"}


def make_shop(release: str = "0.36.9", version_range: str = "~0.40.0", **fields: Any) -> Instance:
    """An instance that runs an older release than its range takes."""
    shop = make_instance("shop")
    Instance.objects.filter(id=shop.id).update(release=release, range=version_range, **fields)
    shop.refresh_from_db()
    return shop


def rehearsed(shop: Instance, name: str, to: str = "0.40.6", judged: dict[str, str] | None = None) -> Rehearsal:
    """A rehearsal with a report that was really made."""
    found = report(name)
    return Rehearsal.objects.create(
        instance=shop,
        operation_id="x",
        from_release=shop.release,
        to_release=to,
        verdict=found["verdict"],
        reasons=[reason["text"] for reason in found["reasons"]],
        report=found,
        fingerprint=fingerprint(judged or JUDGED, shop.release, to),
    )


def asking(shop: Instance, **fields: Any) -> Operation:
    """An upgrade that waits for a word, with its report."""
    operation = upgrades.upgrade_instance(shop.id, acting_user=None)
    found = rehearsed(shop, "planted")
    Rehearsal.objects.filter(id=found.id).update(operation_id=operation.id)
    result = {"from": "0.36.9", "to": "0.40.6", "verdict": "changed", "reasons": ["one"], "rehearsal": found.id}
    finish(operation, OperationState.ASKING, result=result | fields)
    operation.refresh_from_db()
    return operation


def text_of(page: str) -> str:
    """What is read of it."""
    body = re.sub(r"<(script|style|datalist).*?</\1>", "", page.partition("<main")[2], flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


@pytest.fixture
def browser(served: Served) -> Browser:
    """The operator, signed in."""
    return served.browser()


def send(browser: Browser, address: str, fields: dict[str, str]) -> httpx.Response:
    """Send a form, whatever its fields are called."""
    return browser.http.post(address, data={"csrfmiddlewaretoken": browser.csrf(), **fields})


def shown(browser: Browser, path: str, status: int = 200) -> str:
    """The text of a page."""
    answer = browser.http.get(path)
    assert answer.status_code == status, answer.text[:2000]
    return text_of(answer.text)


# --- what runs, and what comes next ------------------------------------------------------------------------------


def test_it_says_what_runs_and_what_comes_next(browser: Browser) -> None:
    shop = make_shop()
    said = shown(browser, "/instances/shop/versions")
    assert "Runs PocketBase 0.36.9" in said
    assert "~0.40.0 , which is PocketBase 0.40.6 now" in said
    assert "PocketBase 0.40.6 : it is rehearsed within minutes, and you are told." in said
    window = {"days": [2], "from": "02:00", "to": "05:00", "zone": "Europe/Vienna"}
    upgrades.change_policy(shop.id, policy="auto", window=window, acting_user=None)
    said = shown(browser, "/instances/shop/versions")
    assert (
        re.search(r"when its window opens: Wednesday \d+ \w+, 02:00 \(Europe/Vienna\)", said)
        or "window is open" in said
    )
    assert "Next window: Wednesday" in said or "The window is open now" in said
    for fields, words in (
        ({"policy": "off"}, "following is switched off"),
        ({"range": "0.36.9"}, "exactly: it never moves by itself"),
        ({"range": "~0.36.0"}, "it runs the newest release of its range"),
        ({"range": "~0.41.0"}, "no release matches it now"),
        ({"refused": {"0.40.6": "f"}}, "not again by itself"),
    ):
        before = Instance.objects.filter(id=shop.id).values("policy", "range", "refused").get()
        Instance.objects.filter(id=shop.id).update(**fields)
        assert words in shown(browser, "/instances/shop/versions"), words
        Instance.objects.filter(id=shop.id).update(**before)


def test_it_says_what_waits_for_a_word_and_links_to_it(browser: Browser) -> None:
    shop = make_shop()
    operation = asking(shop)
    page = browser.http.get("/instances/shop/versions").text
    assert "A word of yours is needed." in page
    assert f'href="/instances/shop/rehearsals/{operation.result["rehearsal"]}"' in page
    assert browser.post(f"/instances/shop/operations/{operation.id}/leave").status_code == 303
    operation.refresh_from_db()
    assert operation.state == OperationState.CANCELLED
    assert Audit.objects.filter(verb="leave_as_it_is", subject=shop.id).exists()
    assert "A word of yours is needed." not in browser.http.get("/instances/shop/versions").text
    again = browser.post(f"/instances/shop/operations/{operation.id}/leave")
    assert again.status_code == 409
    assert "decided already" in again.text


def test_a_part_that_is_as_shown_is_not_sent_again(browser: Browser) -> None:
    shop = make_shop()
    for part in ("present", "past"):
        page = browser.http.get("/instances/shop/versions").text
        (seen,) = re.findall(rf'id="{part}".*?seen=(\w+)"', page)
        headers = {"hx-request": "true", "hx-target": part}
        path = f"/instances/shop/versions?seen={seen}"
        assert browser.http.get(path, headers=headers).status_code == 204
        asking(shop) if part == "present" else Snapshot.objects.create(
            instance=shop, purpose="manual", release="0.36.9"
        )
        answer = browser.http.get(path, headers=headers)
        assert answer.status_code == 200
        assert answer.text.lstrip().startswith(("<section", "<div"))


# --- choosing ----------------------------------------------------------------------------------------------------


def test_the_picker_has_lines_boundaries_downgrades_and_flags(browser: Browser) -> None:
    shop = make_shop()
    rehearsed(shop, "safe")
    rehearsed(shop, "planted", to="0.40.5", judged={"hooks": "other"})
    Snapshot.objects.create(
        instance=shop, purpose="manual", release="0.36.9", manifest={"fingerprints": JUDGED, "counts": {}}
    )
    page = browser.http.get("/instances/shop/versions").text
    lines = re.findall(r'<details class="line"( open)? id="line-([0-9.]+)"', page)
    assert lines == [("", "0.40"), (" open", "0.36"), ("", "0.30"), ("", "0.23"), ("", "0.22")]
    assert re.search(r'<a class="tag safe" href="/instances/shop/rehearsals/\w+"[^>]*>safe</a>', page)
    assert re.search(r'<a class="tag " [^>]*before your hooks or collections changed">was changed</a>', page)
    said = text_of(page)
    assert "0.30.4 downgrade" in said
    assert "0.36.9 runs now" in said
    assert "Names of files stand in quotes" in said
    releases.record_offers("folder", [Offered("0.23.0", published_at=timezone.now())])
    assert "0.23.0 " + timezone.now().strftime("%-d %b %Y") + " downgrade schema boundary" in shown(
        browser, "/instances/shop/versions"
    )


def test_a_flag_counts_only_for_what_is_there_now(served: Served) -> None:
    shop = make_shop()
    rehearsed(shop, "safe")

    def fresh() -> bool:
        return bool(versions.flags(shop)["0.40.6"]["fresh"])

    def kept(judged: dict[str, str], release: str = "0.36.9") -> Snapshot:
        manifest = {"fingerprints": judged}
        return Snapshot.objects.create(instance=shop, purpose="checkpoint", release=release, manifest=manifest)

    assert not fresh(), "nobody knows what is there"
    first = kept(JUDGED)
    assert fresh()
    kept({"schema": "of the new one"}, release="0.40.6")
    assert fresh(), "that one was taken under another release"
    kept({"hooks": "others"})
    assert not fresh()
    back = upgrades.rollback_instance(shop.id, first.id, acting_user=None)
    finish(back)
    assert fresh(), "what was judged is back in place"
    upgrade = upgrades.upgrade_instance(shop.id, acting_user=None)
    operations.move_operation(upgrade.id, OperationState.RUNNING)
    operations.move_step(upgrade.id, "snapshot", StepState.RUNNING)
    operations.move_step(upgrade.id, "snapshot", StepState.DONE, output={"fingerprints": {"hooks": "newer"}})
    assert not fresh()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"choice": "0.40.6"}, "0.36.9 → to 0.40.6"),
        ({"choice": "0.40.6"}, "It stays at 0.40.6 for good."),
        ({"choice": "0.40.6"}, "PocketBase changes its own tables on the way (0.38.1)"),
        ({"choice": "~0.40.0"}, "Then it follows ~0.40.0 ."),
        ({"choice": "0.30.4"}, "This is a downgrade:"),
        ({"choice": "own", "own": "what"}, "is not a version or a range"),
        ({"own": "~0.99.0"}, "No release matches"),
        ({"choice": "0.36.9"}, "PocketBase 0.36.9 runs already"),
    ],
)
def test_what_a_choice_means(browser: Browser, query: dict[str, str], words: str) -> None:
    make_shop()
    answer = browser.http.get("/instances/shop/versions/choice", params=query)
    assert words in text_of("<main" + answer.text)


def test_rehearse_and_switch_open_the_operation_and_lead_to_it(browser: Browser) -> None:
    shop = make_shop()
    for do, rehearse_only in (("rehearse", True), ("switch", False)):
        answer = browser.post("/instances/shop/versions/change", choice="~0.40.0", do=do)
        operation = Operation.objects.get(instance=shop, kind="upgrade", state=OperationState.PENDING)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/instances/shop/operations/{operation.id}")
        assert (operation.params["range"], operation.params["rehearse_only"]) == ("~0.40.0", rehearse_only)
        assert operation.params["accept_changes"] is False
        busy = browser.post("/instances/shop/versions/change", choice="0.40.5", do=do)
        assert busy.status_code == 409
        finish(operation)
    refused = browser.post("/instances/shop/versions/change", choice="own", own="~0.99.0", do="switch")
    assert refused.status_code == 422
    assert "No release matches" in refused.text
    assert 'value="~0.99.0"' in refused.text


def test_a_refused_release_is_tried_again_when_the_owner_asks(browser: Browser) -> None:
    shop = make_shop(refused={"0.40.6": "f", "0.40.5": "f"})
    page = browser.http.get("/instances/shop/versions").text
    assert "Try again PocketBase 0.40.6" in page
    for release, wanted in (("0.40.6", "~0.40.0"), ("0.40.5", "0.40.5")):
        assert browser.post("/instances/shop/versions/retry", release=release).status_code == 303
        operation = Operation.objects.get(instance=shop, kind="upgrade", state=OperationState.PENDING)
        assert (operation.params["release"], operation.params["range"]) == (release, wanted)
        finish(operation, OperationState.FAILED)


# --- policy, window, probes ---------------------------------------------------------------------------------------


def test_policy_and_window_are_saved_or_refused_with_what_was_typed(browser: Browser) -> None:
    shop = make_shop()
    form = {"policy": "auto", "when": "window", "days": "6", "from": "01:30", "to": "04:00", "zone": "Europe/Vienna"}
    assert browser.post("/instances/shop/versions/policy", **form).headers["location"].endswith("/versions#following")
    shop.refresh_from_db()
    assert shop.policy == "auto"
    assert shop.window == {"days": [6], "from": "01:30", "to": "04:00", "zone": "Europe/Vienna"}
    refused = browser.post("/instances/shop/versions/policy", **form | {"zone": "Nowhere/<b>"})
    assert refused.status_code == 422
    assert 'value="Nowhere/&lt;b&gt;"' in refused.text
    assert "is not a time zone known here" in refused.text
    assert browser.post("/instances/shop/versions/policy", **form | {"policy": "always"}).status_code == 422
    assert browser.post("/instances/shop/versions/policy", policy="off", when="any").status_code == 303
    shop.refresh_from_db()
    assert (shop.policy, shop.window) == ("off", {})


def test_probes_are_added_and_removed(browser: Browser) -> None:
    shop = make_shop()

    at = "/instances/shop/versions/probes"
    form = {"method": "POST", "path": "/pay", "identity": "superuser", "expect_status": "201"}
    more = {"expect_json": '{"ok": true}', "body": "[1]", "safe": "on"}
    assert send(browser, at, form | more).status_code == 303
    assert send(browser, at, {"path": "/api/health"}).status_code == 303
    probe = Probe.objects.filter(instance=shop).order_by("id")[0]
    assert (probe.method, probe.expect_status, probe.expect_json, probe.body, probe.safe) == (
        "POST", 201, {"ok": True}, [1], True,
    )  # fmt: skip
    for wrong, field in (
        ({"path": "//evil"}, "probe-path"),
        ({"path": "/a", "expect_json": "{"}, "probe-json"),
        ({"path": "/a", "body": "{"}, "probe-body"),
        ({"path": "/a", "expect_status": "7"}, "probe-status"),
    ):
        refused = send(browser, at, wrong)
        assert refused.status_code == 422
        assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', refused.text), field
    page = browser.http.get("/instances/shop/versions").text
    (mark, _) = re.findall(r'name="probe" value="(\w+)"', page)
    assert send(browser, f"{at}/remove", {"probe": mark}).status_code == 303
    assert [one.path for one in Probe.objects.filter(instance=shop)] == ["/api/health"]
    assert send(browser, f"{at}/remove", {"probe": mark}).status_code == 409, "it is gone, and no other one goes"


# --- an operation -------------------------------------------------------------------------------------------------


def test_an_operation_shows_its_steps_and_those_to_come(browser: Browser) -> None:
    shop = make_shop()
    operation = upgrades.upgrade_instance(shop.id, acting_user=None)
    operations.move_operation(operation.id, OperationState.RUNNING)
    operations.move_step(operation.id, "resolve", StepState.RUNNING)
    operations.move_step(operation.id, "resolve", StepState.DONE)
    operations.move_step(operation.id, "snapshot", StepState.RUNNING)
    operations.report_progress(operation.id, "snapshot", 0.42, "6 of 14 MB")
    page = browser.http.get(f"/instances/shop/operations/{operation.id}").text
    states = re.findall(r'<li class="(\w*)"', page)
    assert states == ["done", "running", *[""] * 10]
    assert 'value="42"' in page
    assert "6 of 14 MB" in page
    assert "data-clock" not in page
    operations.move_step(operation.id, "snapshot", StepState.DONE)
    operations.move_step(operation.id, "hold", StepState.RUNNING)
    held_at = time.time() - 3
    operations.move_step(operation.id, "hold", StepState.DONE, output={"held_at": held_at})
    upgrades.set_hold(shop.id, operation.id)
    page = browser.http.get(f"/instances/shop/operations/{operation.id}").text
    (began,) = re.findall(r'data-clock="([^"]+)"', page)
    assert abs(timezone.datetime.fromisoformat(began).timestamp() - held_at) < 0.01  # type: ignore[attr-defined]
    assert "requests wait" in page
    (seen,) = re.findall(r'id="operation".*?seen=(\w+)"', page)
    headers = {"hx-request": "true", "hx-target": "operation"}
    same = browser.http.get(f"/instances/shop/operations/{operation.id}?seen={seen}", headers=headers)
    assert same.status_code == 204, "that the clock goes on is no news"
    operations.end_operation(operation.id, OperationState.SUCCEEDED, result={"held_ms": 812, "from": "0.36.9"})
    said = shown(browser, f"/instances/shop/operations/{operation.id}")
    assert "It runs PocketBase 0.40.6 now , before 0.36.9." in said
    assert "0.81 s is how long requests waited at most. None failed." in said


ENDS: list[tuple[OperationState, dict[str, Any], dict[str, Any], str]] = [
    (
        OperationState.ROLLED_BACK,
        {"from": "0.36.9"},
        {"detail": "it died"},
        "everything was put back. Data and release",
    ),
    (OperationState.ROLLED_BACK, {"from": "0.36.9"}, {"detail": "it died"}, "Why it died"),
    (OperationState.FAILED, {}, {"detail": "no room"}, "It was not done, and nothing was changed."),
    (OperationState.FAILED, {}, {"detail": "x", "not_undone": ["switch"]}, "not all could be put back: switch"),
    (OperationState.ASKING, {"to": "0.40.6", "verdict": "changed"}, {}, "PocketBase 0.40.6 would change something."),
    (OperationState.ASKING, {"to": "0.40.6", "verdict": "safe"}, {}, "PocketBase 0.40.6 is safe, and waits"),
    (OperationState.CANCELLED, {}, {}, "It was left as it is."),
    (OperationState.SUCCEEDED, {"from": "0.40.6", "to": "0.40.6"}, {}, "It runs PocketBase 0.40.6 already"),
]


@pytest.mark.parametrize(("state", "result", "error", "words"), ENDS)
def test_an_end_is_told_in_plain_words(
    browser: Browser, state: OperationState, result: dict[str, Any], error: dict[str, Any], words: str
) -> None:
    shop = make_shop()
    operation = upgrades.upgrade_instance(shop.id, acting_user=None)
    finish(operation, state, result=result, error=error)
    assert words in shown(browser, f"/instances/shop/operations/{operation.id}")


def test_going_back_says_what_is_lost_and_wants_the_name_typed(browser: Browser) -> None:
    shop = make_shop()
    kept = Snapshot.objects.create(instance=shop, purpose="checkpoint", release="0.30.4")
    page = browser.http.get("/instances/shop/versions").text
    assert f'value="{kept.id}"' in page
    assert browser.post("/instances/shop/versions/back", snapshot=kept.id).status_code == 303
    operation = Operation.objects.get(instance=shop, kind="rollback")
    lost = {"records": {"notes": {"created": 3, "changed": 1, "deleted": 0, "ids": ["a"]}}, "files": {"created": 2}}
    finish(operation, OperationState.ASKING, result={"lost": lost, "snapshot": kept.id})
    path = f"/instances/shop/operations/{operation.id}"
    said = shown(browser, path)
    assert "notes 3 1 0" in said
    assert "Files 2 0 0" in said
    by_collection = {"notes": {"created": 1}, "<b>gone": {"created": 1, "deleted": 2}}
    Operation.objects.filter(id=operation.id).update(
        result={"lost": lost | {"files_by_collection": by_collection}, "snapshot": kept.id}
    )
    said = shown(browser, path)
    assert "notes: files 1 0 0" in said
    assert "<b>gone: files 1 0 2" in said
    assert "Files 2 0 0" not in said
    refused = browser.post(f"{path}/back", do="back", name="shpo")
    assert refused.status_code == 422
    assert "Type “shop”" in refused.text
    assert Operation.objects.filter(instance=shop, kind="rollback").count() == 1
    browser.post(f"{path}/back", do="export")
    again = Operation.objects.get(kind="rollback", state=OperationState.PENDING)
    assert (again.params["accept_loss"], again.params["export"]) == (False, True)
    Backup.objects.create(instance=shop, name="lost-x.zip", purpose="lost", release="0.36.9", size=1234)
    finish(again, OperationState.ASKING, result={"lost": lost, "export": "lost-x.zip"})
    stale = browser.post(f"{path}/back", do="back", name="shop")
    assert stale.status_code == 303, "what was read here still stands"
    for state in (OperationState.RUNNING, OperationState.SUCCEEDED):
        operations.move_operation(Operation.objects.get(kind="rollback", state__in=["pending", "running"]).id, state)
    page = browser.http.get(f"/instances/shop/operations/{again.id}").text
    assert "/api/v1/instances/shop/backups/lost-x.zip/file" in page


# --- reports ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_real_report_is_shown_whole_and_harmless(browser: Browser, name: str) -> None:
    shop = make_shop(release=report(name)["from"])
    found = rehearsed(shop, name)
    answer = browser.http.get(f"/instances/shop/rehearsals/{found.id}")
    assert answer.status_code == 200
    page = answer.text
    assert len(re.findall(r"<script\b", page)) == 4, "ours alone: htmx, stream.js, app.js, versions.js"
    assert "<img src=x" not in page
    assert "onerror=alert(1)>" not in page
    assert "\u202e" not in page
    said = text_of(page)
    for reason in report(name)["reasons"]:
        assert " ".join(reason["text"].split())[:100] in said, reason["text"]
    for change in report(name)["sections"]["known_changes"]:
        assert change["text"] in said
    for place in (one for lint in report(name)["sections"]["lint"]["findings"] for one in lint["detail"]["places"]):
        assert place["instead"] in said
    assert ("Accept and switch" in said) == (found.verdict == "changed")
    assert ("The manual way" in said) == (found.verdict == "broken")


def test_answers_that_differ_stand_side_by_side(browser: Browser) -> None:
    found = rehearsed(make_shop(), "planted")
    page = browser.http.get(f"/instances/shop/rehearsals/{found.id}").text
    (answers,) = re.findall(r'id="answers" .*?</section>', page, re.DOTALL)
    said = text_of("<main" + answers)
    assert "/count as anonymous, superuser your probe" in said
    assert "What 0.36.9 answers 200 0.40.6 answers 200 total 5 6" in said
    assert "status 200 500" in said


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"version": 1},
        {"reasons": ["only words", 7], "sections": []},
        {"sections": {"boot": [], "rules": {"findings": [{}, "x", {"detail": 3}]}, "known_changes": [1]}},
        {"sections": {"lint": {"findings": [{"detail": {"places": [1, {}]}}]}, "answers": {"facts": {"slower": [{}]}}}},
        {"sections": {"attempts": {"facts": {"attempts": [{}]}}, "records": {"facts": {"counts": {"a": 1}}}}},
        {"verdict": "changed", "took_ms": "long", "sections": {"hooks": {"facts": {"crons": {"before": None}}}}},
    ],
)
def test_a_report_of_another_pocketfleet_breaks_nothing(browser: Browser, content: dict[str, Any]) -> None:
    shop = make_shop()
    found = rehearsed(shop, "safe")
    Rehearsal.objects.filter(id=found.id).update(report=content)
    assert browser.http.get(f"/instances/shop/rehearsals/{found.id}").status_code == 200


def test_what_was_read_is_accepted_and_nothing_else(browser: Browser) -> None:
    shop = make_shop()
    operation = asking(shop)
    path = f"/instances/shop/rehearsals/{operation.result['rehearsal']}"
    assert browser.post(f"{path}/accept").status_code == 303
    opened = Operation.objects.get(instance=shop, kind="upgrade", state=OperationState.PENDING)
    assert (opened.params["range"], opened.params["release"], opened.params["accept_changes"]) == (
        "~0.40.0", "0.40.6", True,
    )  # fmt: skip
    finish(opened, OperationState.FAILED)
    releases.record_offers("pypi", [Offered(version) for version in ("0.36.9", "0.40.6", "0.40.7")])
    browser.post(f"{path}/accept")
    opened = Operation.objects.get(instance=shop, kind="upgrade", state=OperationState.PENDING)
    assert opened.params["release"] == "0.40.6", "the range takes a newer one by now, which nobody has read about"
    finish(opened, OperationState.FAILED)
    Instance.objects.filter(id=shop.id).update(release="0.30.4")
    refused = browser.post(f"{path}/accept")
    assert refused.status_code == 409
    assert "Rehearse again" in refused.text


def test_a_safe_one_accepts_no_changes_and_a_broken_one_nothing(browser: Browser) -> None:
    shop = make_shop()
    safe, broken = rehearsed(shop, "safe"), rehearsed(shop, "lost-record")
    assert browser.post(f"/instances/shop/rehearsals/{safe.id}/accept").status_code == 303
    opened = Operation.objects.get(instance=shop, kind="upgrade", state=OperationState.PENDING)
    assert opened.params["accept_changes"] is False
    finish(opened)
    refused = browser.post(f"/instances/shop/rehearsals/{broken.id}/accept")
    assert refused.status_code == 409
    assert not Operation.objects.filter(instance=shop, kind="upgrade", state=OperationState.PENDING).exists()


def test_a_broken_one_names_the_last_that_works_and_what_stops_the_next(browser: Browser) -> None:
    shop = make_shop()
    operation = upgrades.upgrade_instance(shop.id, rehearse_only=True, acting_user=None)
    found = rehearsed(shop, "lost-record")
    Rehearsal.objects.filter(id=found.id).update(operation_id=operation.id)
    path = f"/instances/shop/rehearsals/{found.id}"
    assert "still being looked for" in shown(browser, path)
    works = {"last_that_works": "0.40.5", "first_that_fails": "0.40.6", "stops_it": ["ledger loses <b>"]}
    finish(operation, result={"verdict": "broken", "rehearsal": found.id, **works})
    said = shown(browser, path)
    assert "The last release that works with this data is PocketBase 0.40.5." in said
    assert "ledger loses <b>" in said
    assert "Mend it by hand, step by step" in said


# --- who may ------------------------------------------------------------------------------------------------------


@pytest.fixture
def team(served: Served) -> dict[str, Browser]:
    """Somebody of each role, and somebody of another team."""
    people = {}
    shop = make_shop()
    assert shop.team is not None
    for name in ("viewer", "maintainer", "owner", "neighbour"):
        user = User.objects.create_user(name, password=None)
        teams.own_team(user)
        if name != "neighbour":
            Membership.objects.create(team=shop.team, user=user, role=Role(name))
        people[name] = signed_in(served, user)
    return people


def signed_in(served: Served, user: User) -> Browser:
    """A browser in which this user has signed in."""
    from pocketfleet.actions import sign_in

    browser = Browser.__new__(Browser)
    browser.http = served.client(origin=served.config.public_url)
    answer = browser.http.get(f"/sign-in/{sign_in.make_link(user, acting_user=None)}")
    assert answer.status_code == 302
    return browser


def addresses() -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Every address of these pages with something at it: to look at, and to change something."""
    shop = Instance.objects.get(name="shop")
    operation = asking(shop)
    kept = Snapshot.objects.create(instance=shop, purpose="manual", release="0.30.4")
    upgrades.set_probes(shop.id, [{"path": "/a"}], acting_user=None)
    rehearsal = operation.result["rehearsal"]
    at = "/instances/shop"
    looks = [
        f"{at}/versions",
        f"{at}/versions/choice?choice=0.40.6",
        f"{at}/operations/{operation.id}",
        f"{at}/rehearsals/{rehearsal}",
    ]
    changes: list[tuple[str, dict[str, str]]] = [
        (f"{at}/versions/policy", {"policy": "off"}),
        (f"{at}/versions/probes", {"path": "/b"}),
        (f"{at}/versions/probes/remove", {"probe": "x"}),
        (f"{at}/versions/change", {"choice": "0.40.6", "do": "rehearse"}),
        (f"{at}/versions/retry", {"release": "0.40.6"}),
        (f"{at}/versions/back", {"snapshot": kept.id}),
        (f"{at}/rehearsals/{rehearsal}/accept", {}),
        (f"{at}/operations/{operation.id}/back", {"do": "export"}),
        (f"{at}/operations/{operation.id}/leave", {}),
    ]
    return looks, changes


def test_who_may_look_and_who_may_change(served: Served, team: dict[str, Browser]) -> None:
    looks, changes = addresses()
    before = Operation.objects.count()
    for path in looks:
        assert served.stranger.get(path).headers["location"].startswith("/account/sign-in")
        assert team["neighbour"].http.get(path).status_code == 404
        for role in ("viewer", "maintainer", "owner"):
            assert team[role].http.get(path).status_code == 200, (role, path)
    for path, form in changes:
        assert served.stranger.post(path, data=form).status_code == 403
        assert send(team["neighbour"], path, form).status_code == 404
        assert send(team["viewer"], path, form).status_code == 403
        assert team["viewer"].http.get(path).status_code == 405
    assert Operation.objects.count() == before
    assert Instance.objects.get(name="shop").policy == "ask"
    for path, form in changes:
        answer = send(team["maintainer"], path, form)
        assert answer.status_code in (303, 409), (path, answer.text)


def test_viewers_see_no_button_that_changes_anything(team: dict[str, Browser]) -> None:
    looks, _ = addresses()
    for path in looks:
        page = team["viewer"].http.get(path).text.partition("<main")[2]
        assert "<form method" not in page.replace('<form method="post" action="/instances/shop/versions/change"', "")
        assert not re.findall(r"<button[^>]*>", page), path
        assert team["maintainer"].http.get(path).text.partition("<main")[2].count("<button") or "choice" in path


def test_what_belongs_to_another_instance_is_not_there(browser: Browser) -> None:
    operation = asking(make_shop())
    make_instance("other")
    for path in (f"operations/{operation.id}", f"rehearsals/{operation.result['rehearsal']}", "operations/%00"):
        assert browser.http.get(f"/instances/other/{path}").status_code == 404
    assert browser.post(f"/instances/other/rehearsals/{operation.result['rehearsal']}/accept").status_code == 404
    assert browser.post(f"/instances/other/operations/{operation.id}/leave").status_code == 404


# --- releases, and many of everything -----------------------------------------------------------------------------


def test_releases_by_line_with_who_runs_them(browser: Browser) -> None:
    make_shop()
    make_many(3)
    releases.record_fetched("0.40.6", "pypi", "f" * 64)
    releases.record_source_down("github", "GitHub did not answer within 10 s.")
    page = browser.http.get("/releases").text
    said = text_of(page)
    assert "0.40.6 pypi 3 instances fetched" in said
    assert "0.36.9 pypi 1 instance" in said
    assert "GitHub did not answer" in said
    assert browser.post("/releases/fetch", release="0.40.5", to="releases").headers["location"] == "/releases"
    assert Operation.objects.get(kind="fetch").params == {"release": "0.40.5"}
    assert browser.post("/releases/refresh", to="releases").headers["location"] == "/releases"
    assert browser.post("/releases/fetch", release="0.99.0").status_code == 422
    said = shown(browser, "/releases")
    assert "PocketBase 0.40.5 is being fetched." in said


def test_releases_count_only_what_the_visitor_may_see(team: dict[str, Browser]) -> None:
    make_many(3)
    for role, words in (("viewer", "0.36.9 pypi 1 instance"), ("neighbour", "0.36.9 pypi not fetched")):
        said = text_of(team[role].http.get("/releases").text)
        assert words in said
        assert "3 instances" not in said
        assert "Look for new ones" not in said
    assert team["owner"].post("/releases/refresh", to="releases").status_code == 403
    assert team["owner"].post("/releases/fetch", release="0.40.5").status_code == 403


def test_with_hundreds_of_releases_and_a_thousand_instances_the_queries_are_as_few(browser: Browser) -> None:
    shop = make_shop()
    paths = ("/releases", "/instances/shop/versions")
    few = {}
    for path in paths:
        browser.http.get(path)
        with queries() as asked:
            browser.http.get(path)
        few[path] = len(asked)
    numbers = [f"0.{line}.{patch}" for line in range(8, 41) for patch in range(12)]
    releases.record_offers("github", [Offered(number, published_at=timezone.now()) for number in numbers])
    make_many(1000)
    for number in range(30):
        rehearsed(shop, "safe", to=f"0.{number + 8}.3")
        Snapshot.objects.create(instance=shop, purpose="manual", release="0.36.9")
        finish(instances.sleep_instance(shop.id, acting_user=None))
    for path in paths:
        with queries() as asked:
            page = browser.http.get(path).text
        assert len(asked) == few[path] <= 20, "\n".join(asked)
        assert "0.8.11" in page


def test_newer_of_asks_twice_for_any_number_of_rows(served: Served) -> None:
    make_many(500)
    shop = make_shop()
    rehearsed(shop, "planted")
    rehearsed(shop, "safe")
    blog = make_instance("blog")
    Instance.objects.filter(id=blog.id).update(release="0.40.5", range="~0.40.0")
    pinned = make_instance("pinned")
    Instance.objects.filter(id=pinned.id).update(release="0.40.5", range="0.40.5")
    rows, _ = reading.instances(served.config, Q(), limit=1000)
    with queries() as asked:
        found = versions.newer_of(rows)
    assert len(asked) == 2, "\n".join(asked)
    assert found == {
        shop.id: {"release": "0.40.6", "verdict": "safe"},
        blog.id: {"release": "0.40.6", "verdict": ""},
    }
