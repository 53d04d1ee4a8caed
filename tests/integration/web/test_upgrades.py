"""What the API takes and tells of upgrades: operations, rehearsals, probes, policy and window."""

from __future__ import annotations

from typing import Any

import pytest

from pocketfleet.domain.states import OperationState
from pocketfleet.models import Audit, Operation, Rehearsal, Snapshot
from tests.integration.web.served import Served, finish, make_instance

API = "/api/v1"


def test_an_upgrade_tells_what_people_ask_first(served: Served) -> None:
    make_instance("shop", release="0.40.5")
    answer = served.operator.post(f"{API}/instances/shop/upgrade", json={"range": "~0.40.0"})
    assert answer.status_code == 202
    opened = answer.json()["operation"]
    assert (opened["kind"], opened["from"], opened["to"]) == ("upgrade", "0.40.6", "0.40.6")
    assert (opened["verdict"], opened["reasons"], opened["held_ms"]) == (None, [], None)
    assert served.operator.post(f"{API}/instances/shop/upgrade", json={}).json()["code"] == "operation_open"
    result = {"from": "0.40.5", "to": "0.40.6", "verdict": "changed", "reasons": ["one"], "held_ms": 812}
    finish(Operation.objects.get(id=opened["id"]), result=result)
    shown = served.operator.get(f"{API}/operations/{opened['id']}").json()
    assert {name: shown[name] for name in result} == result
    assert shown["result"] == result


def test_other_operations_have_those_fields_without_a_value(served: Served) -> None:
    make_instance("shop")
    (created,) = served.operator.get(f"{API}/operations").json()["items"]
    assert [created[name] for name in ("from", "to", "verdict", "reasons", "held_ms")] == [None, None, None, [], None]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"range": "what"}, 422, "wrong_range"),
        ({"range": "~0.99.0"}, 422, "no_release_matches"),
        ({"range": 7}, 422, "wrong_usage"),
        ({"rehearse_only": "yes"}, 422, "wrong_usage"),
        ({"unknown": True}, 422, "wrong_usage"),
        ({"by_itself": True}, 422, "wrong_usage"),
    ],
)
def test_an_upgrade_that_does_not_fit(served: Served, body: dict[str, Any], status: int, code: str) -> None:
    make_instance("shop")
    answer = served.operator.post(f"{API}/instances/shop/upgrade", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert not Operation.objects.filter(kind="upgrade").exists()


def test_going_back_takes_the_checkpoint_or_the_snapshot_that_is_named(served: Served) -> None:
    shop, other = make_instance("shop"), make_instance("other")
    answer = served.operator.post(f"{API}/instances/shop/rollback", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "snapshot_not_found")
    checkpoint = Snapshot.objects.create(instance=shop, purpose="checkpoint", release="0.36.9")
    manual = Snapshot.objects.create(instance=shop, purpose="manual", release="0.30.4")
    foreign = Snapshot.objects.create(instance=other, purpose="manual", release="0.30.4")
    refused = served.operator.post(f"{API}/instances/shop/rollback", json={"snapshot": foreign.id})
    assert refused.status_code == 404
    for wanted, body in ((checkpoint, {}), (manual, {"snapshot": manual.id})):
        opened = served.operator.post(f"{API}/instances/shop/rollback", json=body).json()["operation"]
        assert (opened["kind"], opened["to"]) == ("rollback", wanted.release)
        assert Operation.objects.get(id=opened["id"]).params["snapshot"] == wanted.id
        finish(Operation.objects.get(id=opened["id"]), OperationState.ASKING)


def test_rehearsals_are_listed_in_short_and_shown_whole(served: Served) -> None:
    shop = make_instance("shop")
    fields = {"instance": shop, "from_release": "0.36.9", "to_release": "0.40.6", "operation_id": "x"}
    for verdict in ("broken", "changed"):
        Rehearsal.objects.create(**fields, verdict=verdict, reasons=["one", "two"], report={"version": 1})
    items = served.operator.get(f"{API}/instances/shop/rehearsals").json()["items"]
    assert [item["verdict"] for item in items] == ["changed", "broken"]
    assert "report" not in items[0]
    assert (items[0]["from"], items[0]["to"], items[0]["reasons"]) == ("0.36.9", "0.40.6", ["one", "two"])
    whole = served.operator.get(f"{API}/rehearsals/{items[0]['id']}").json()
    assert whole == items[0] | {"report": {"version": 1}}
    assert served.operator.get(f"{API}/rehearsals/nothing").json()["code"] == "rehearsal_not_found"


def test_what_is_accepted_is_a_report_on_this_very_change(served: Served) -> None:
    shop, other = make_instance("shop", release="0.40.5"), make_instance("other")
    path = f"{API}/instances/shop/upgrade"

    def accepted(body: dict[str, Any]) -> Any:
        answer = served.operator.post(path, json={"range": "0.40.6", **body})
        assert answer.status_code == 202, answer.text
        operation = Operation.objects.get(id=answer.json()["operation"]["id"])
        finish(operation, OperationState.ASKING)
        return operation.params["accept_changes"], operation.params["accepted"]

    def rehearsed(instance: Any, old: str, new: str, verdict: str = "changed") -> str:
        fields = {"instance": instance, "from_release": old, "to_release": new, "operation_id": "x"}
        return Rehearsal.objects.create(**fields, verdict=verdict).id

    elsewhere = [rehearsed(shop, "0.40.4", "0.40.6"), rehearsed(other, "0.40.5", "0.40.6")]
    old = Operation.objects.get(kind="create", instance=shop)
    assert old.finished_at
    release = shop.release
    assert accepted({}) == (False, "")
    assert accepted({"accept_changes": True}) == (True, "")
    rehearsed(shop, release, "0.40.6", "broken")
    assert accepted({"accept_changes": True}) == (True, ""), "what is broken was seen, and cannot be accepted"
    first, second = rehearsed(shop, release, "0.40.6"), rehearsed(shop, release, "0.40.6")
    assert accepted({}) == (False, "")
    rehearsed(shop, release, "0.40.6", "broken")
    assert accepted({"accept_changes": True}) == (True, second)
    assert accepted({"rehearsal": first}) == (True, first)
    for wrong, status in ((elsewhere[0], 422), (elsewhere[1], 404), ("nothing", 404)):
        answer = served.operator.post(path, json={"range": "0.40.6", "rehearsal": wrong})
        assert answer.status_code == status, answer.text


def test_probes_are_set_all_at_once_or_not_at_all(served: Served) -> None:
    shop = make_instance("shop")
    path = f"{API}/instances/shop/probes"
    probe = {"method": "POST", "path": "/pay", "body": {"n": [1]}, "expect_status": 201, "expect_json": {"ok": True}}
    kept = served.operator.put(path, json={"items": [{"path": "/a"}, probe]}).json()["items"]
    assert kept[1] == probe | {"identity": "anonymous", "safe": False}
    assert served.operator.get(path).json()["items"] == kept
    refused: list[dict[str, Any]] = [
        {"path": "//evil"},
        {"path": "/a", "identity": "root"},
        {"path": "/a", "unknown": 1},
        {},
    ]
    for wrong in refused:
        assert served.operator.put(path, json={"items": [{"path": "/b"}, wrong]}).status_code == 422
    assert served.operator.put(path, json={"items": [{"path": "/a"}] * 101}).status_code == 422
    assert served.operator.get(path).json()["items"] == kept
    assert Audit.objects.filter(verb="set_probes", subject=shop.id).count() == 1
    assert served.operator.put(path, json={"items": []}).json()["items"] == []


def test_policy_and_window_are_changed_with_the_instance(served: Served) -> None:
    make_instance("shop")
    path = f"{API}/instances/shop"
    assert (served.operator.get(path).json()["policy"], served.operator.get(path).json()["window"]) == ("ask", {})
    window = {"days": [0, 6], "from": "02:00", "to": "05:00", "zone": "Europe/Vienna"}
    answer = served.operator.patch(path, json={"policy": "schema-safe", "window": window, "dev": True})
    assert (answer.json()["policy"], answer.json()["window"], answer.json()["dev"]) == ("schema-safe", window, True)
    assert served.operator.patch(path, json={"window": None}).json()["window"] == {}
    assert served.operator.patch(path, json={"dev": False}).json()["policy"] == "schema-safe"
    refused: list[dict[str, Any]] = [
        {"policy": "always"},
        {"policy": None},
        {"window": {"from": "2", "to": "5"}},
        {"window": {"from": "02:00", "to": "05:00", "zone": "Nowhere"}},
        {"window": {"from": "02:00", "to": "05:00", "days": [7]}},
        {"window": []},
        {"policy": "auto", "idle_timeout": 0},
    ]
    for wrong in refused:
        assert served.operator.patch(path, json=wrong).status_code == 422, wrong
    assert served.operator.get(path).json()["policy"] == "schema-safe"


def test_a_range_is_not_changed_by_a_setting_once_there_is_data(served: Served) -> None:
    make_instance("shop")
    answer = served.operator.patch(f"{API}/instances/shop", json={"range": "~0.36.0"})
    assert (answer.status_code, answer.json()["code"]) == (409, "range_needs_upgrade")
    assert "pocketfleet upgrade shop '~0.36.0'" in answer.json()["detail"]
