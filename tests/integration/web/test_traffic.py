"""Limits, trusted addresses and the operator's lists in pages and API: what is stored, refused, and shown again."""

from __future__ import annotations

import pytest

from pocketfleet.actions import teams, traffic
from pocketfleet.models import Audit, Instance, ListedAddress, Team
from tests.integration.web.served import Browser, Served, make_instance, make_person

API = "/api/v1"


@pytest.fixture
def acme(served: Served) -> Team:
    """A team with an owner, `ana`, and an instance, `shop`."""
    team = teams.create_team("Acme", acting_user=make_person("ana"))
    Instance.objects.filter(id=make_instance("shop").id).update(team=team)
    return team


def ana(served: Served, team: Team) -> Browser:
    """Its owner's browser."""
    return Browser(served, team.memberships.get().user)


def test_an_owner_is_stricter_than_the_team_and_says_whom_it_trusts(served: Served, acme: Team) -> None:
    traffic.set_traffic_limits(acme.id, {"address_hourly": 1000}, acting_user=acme.memberships.get().user)
    browser = ana(served, acme)
    form = {"idle_timeout": "", "address_hourly": "5,000", "instance_at_once": "20"}
    assert browser.post("/instances/shop/settings", **form).status_code == 303
    shown = served.operator.get(f"{API}/instances/shop").json()
    assert shown["traffic_limits"] == {"address_hourly": 5000, "instance_at_once": 20}
    assert (shown["limits"]["address_hourly"], shown["limits"]["instance_at_once"]) == (1000, 20)
    page = browser.http.get("/instances/shop/settings").text
    assert 'value="5000"' in page
    assert 'placeholder="1000"' in page
    sent = browser.post(f"/teams/{acme.id}/trusted", trusted="203.0.113.7\r\n2001:DB8::/48, 203.0.113.7/32")
    assert sent.status_code == 303
    assert Team.objects.get(id=acme.id).trusted == ["203.0.113.7", "2001:db8::/48"]
    assert "let the team trust 203.0.113.7, 2001:db8::/48" in browser.http.get(f"/teams/{acme.id}/audit").text
    assert browser.post(f"/operator/teams/{acme.id}/traffic", address_hourly="9").status_code == 403


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "99999999999", "１"])
def test_what_is_no_number_is_said_beside_the_form(served: Served, acme: Team, number: str) -> None:
    for browser, path in (
        (ana(served, acme), "/instances/shop/settings"),
        (served.browser(), f"/operator/teams/{acme.id}/traffic"),
    ):
        answer = browser.post(path, idle_timeout="", instance_hourly=number)
        assert (answer.status_code, "instance_hourly takes a whole number" in answer.text) == (422, True), path
        assert f'value="{number}"' in answer.text
    assert Team.objects.get(id=acme.id).traffic_limits == Instance.objects.get(name="shop").traffic_limits == {}


@pytest.mark.parametrize(
    "text", ["everybody", "10.0.0.0/8", "203.0.113.7/24", "<script>", " ".join(["10.0.0.1"] * 9000)]
)
def test_who_cannot_be_trusted_is_said_beside_the_form(served: Served, acme: Team, text: str) -> None:
    answer = ana(served, acme).post(f"/teams/{acme.id}/trusted", trusted=text)
    if answer.status_code == 303:
        assert Team.objects.get(id=acme.id).trusted == ["10.0.0.1"]
        return
    assert (answer.status_code, 'id="trusted-error"' in answer.text, "<script>alert" in answer.text) == (
        422,
        True,
        False,
    )
    assert Team.objects.get(id=acme.id).trusted == []


def test_the_api_changes_all_of_it_or_none(served: Served, acme: Team) -> None:
    body = {"name": "Renamed", "trusted": ["203.0.113.7"], "traffic_limits": {"address_hourly": -1}}
    refused = served.operator.patch(f"{API}/teams/{acme.id}", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "wrong_setting")
    found = Team.objects.get(id=acme.id)
    assert (found.name, found.trusted, found.traffic_limits) == ("Acme", [], {})
    body["traffic_limits"] = {"address_hourly": 7, "address_at_once": None}
    shown = served.operator.patch(f"{API}/teams/{acme.id}", json=body).json()
    assert (shown["traffic_limits"], shown["limits"]["address_hourly"]) == ({"address_hourly": 7}, 7)
    # limits of one kind leave those of the other alone
    served.operator.patch(f"{API}/teams/{acme.id}", json={"awake_limit": 2})
    assert served.operator.get(f"{API}/teams/{acme.id}").json()["traffic_limits"] == {"address_hourly": 7}
    unknown = served.operator.patch(f"{API}/instances/shop", json={"traffic_limits": {"x": 1}})
    assert (unknown.status_code, "There is no limit" in unknown.json()["detail"]) == (422, True)


def test_the_operators_lists(served: Served) -> None:
    browser = served.browser()
    for network, listing in (("203.0.113.9/24", "deny"), ("203.0.113.0/24", "x"), ("", "deny")):
        answer = browser.post("/operator/addresses", network=network, listing=listing)
        assert (answer.status_code, 'class="error"' in answer.text) == (422, True), network
    assert browser.post("/operator/addresses", network="203.0.113.0/24", listing="deny", note="<b>x</b>").is_redirect
    assert "&lt;b&gt;x&lt;/b&gt;" in browser.http.get("/operator/addresses").text
    # said again, the later word counts
    listed = served.operator.put(f"{API}/addresses", json={"network": "203.0.113.0/24", "listing": "allow"}).json()
    assert [(each["network"], each["listing"], each["note"]) for each in listed["items"]] == [
        ("203.0.113.0/24", "allow", "")
    ]
    assert traffic.listed_addresses() == {"203.0.113.0/24": "allow"}
    assert served.operator.delete(f"{API}/addresses", params={"network": "203.0.113.0/24"}).status_code == 204
    gone = served.operator.delete(f"{API}/addresses", params={"network": "203.0.113.0/24"})
    assert (gone.status_code, gone.json()["code"]) == (404, "address_not_found")
    assert browser.post("/operator/addresses/drop", network="203.0.113.0/24").status_code == 303
    assert not ListedAddress.objects.exists()
    done = Audit.objects.filter(verb__endswith="_address").values_list("verb", flat=True).order_by("id")
    assert list(done) == ["deny_address", "allow_address", "drop_address"]


@pytest.mark.parametrize("network", ["198.51.100.7", "198.51.100.0/24", "0.0.0.0/0"])
def test_nobody_locks_themselves_out(served: Served, network: str) -> None:
    headers = {"X-Real-IP": "198.51.100.7"}
    answer = served.operator.put(f"{API}/addresses", json={"network": network, "listing": "deny"}, headers=headers)
    assert (answer.status_code, "lock yourself out" in answer.json()["detail"]) == (422, True)
    allowed = served.operator.put(f"{API}/addresses", json={"network": network, "listing": "allow"}, headers=headers)
    assert allowed.status_code == 200
