"""Ways in that a reviewer found open once: by an address, a kept link, an open stream, a token, a clone."""

from __future__ import annotations

import threading

import pytest
from allauth.account.models import EmailAddress

from pocketfleet.actions import copies, operators, suspension, teams
from pocketfleet.actions.members import address_of
from pocketfleet.actions.superusers import want_superuser
from pocketfleet.domain.roles import Role
from pocketfleet.errors import InvitationUnusable
from pocketfleet.logs import InstanceLog
from pocketfleet.models import Instance, MadeSuperuser, Membership, SignInLink, Team, User
from pocketfleet.web import streams
from tests.integration.web.served import Served, make_instance, make_person

BOSS = "boss@example.org"


def team_with(person: User, role: Role) -> Team:
    """A team of somebody else's with this person in it."""
    team = teams.create_team("Acme", acting_user=make_person("founder"))
    Membership.objects.create(team=team, user=person, role=role)
    return team


def test_nothing_but_its_link_makes_an_address_somebodys_own(served: Served) -> None:
    ana = make_person("ana")
    EmailAddress.objects.create(user=ana, email=ana.email, primary=True, verified=True)
    browser = served.browser(ana)
    for form in ({"action_remove": ""}, {"action_primary": ""}):
        browser.post("/account/address", email=ana.email, **form)
    ana.refresh_from_db()
    assert ana.email == "ana@example.org"
    # however it came about: one that was never shown to be theirs opens no door
    EmailAddress.objects.create(user=ana, email=BOSS, verified=False)
    browser.post("/account/address", email=BOSS, action_primary="")
    User.objects.filter(pk=ana.pk).update(email=BOSS)
    assert address_of(User.objects.get(pk=ana.pk)) != BOSS


def test_whoever_was_removed_does_not_come_back_by_a_link_they_kept(served: Served) -> None:
    ana = make_person("ana")
    team = team_with(ana, Role.OWNER)
    _, secret = teams.invite(team.id, "else@example.org", "owner", acting_user=ana)
    teams.remove_member(team.id, ana.pk, acting_user=User.objects.get(username="founder"))
    with pytest.raises(InvitationUnusable):
        teams.accept_invitation(secret, acting_user=ana)


def test_an_open_log_ends_with_the_right_to_see_it(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE", 0.2)
    ana = make_person("ana")
    team = team_with(ana, Role.VIEWER)
    shop = make_instance("shop", team=team.id)
    log = InstanceLog(served.config.logs / shop.id, served.config.log_bytes, served.config.log_generations)
    log.append("stdout", "first")
    begun, browser = threading.Event(), served.browser(ana)

    def follow() -> None:
        with browser.http.stream("GET", f"/api/v1/instances/{shop.id}/logs/events", timeout=30) as answer:
            for line in answer.iter_lines():
                if "first" in line:
                    begun.set()

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    assert begun.wait(20)
    teams.remove_member(team.id, ana.pk, acting_user=User.objects.get(username="founder"))
    reader.join(20)
    assert not reader.is_alive()


def test_a_token_that_may_operate_brings_no_files(served: Served) -> None:
    make_instance("shop")
    client = served.bearer(served.operator_user(), verbs=["view", "operate"])
    upload = client.post("/api/v1/uploads", content=b"PK").json()["upload"]
    answer = client.post("/api/v1/instances/shop/restore", json={"upload": upload})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


def test_a_suspended_instance_does_not_run_on_as_its_clone(served: Served) -> None:
    ana = make_person("ana")
    shop = make_instance("shop", team=teams.own_team(ana).id)
    suspension.suspend_instance(shop.id, "It sent mail.", acting_user=served.operator_user())
    made, _ = copies.clone_instance(shop.id, "again", acting_user=ana)
    assert Instance.objects.get(pk=made.pk).suspended == "It sent mail."


def test_an_image_on_somebodys_page_signs_nobody_in(served: Served) -> None:
    link = served.link()
    answer = served.stranger.get(link, headers={"sec-fetch-dest": "image", "sec-fetch-site": "same-site"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert SignInLink.objects.filter(used_at=None).exists(), "and does not burn it"


def test_a_switched_off_account_leaves_no_superuser_under_any_address(served: Served) -> None:
    ana = make_person("ana")
    shop = make_instance("shop", team=team_with(ana, Role.MAINTAINER).id)
    want_superuser(shop.id, ana)
    operators.switch_account_off(ana.pk, acting_user=served.operator_user())
    assert not MadeSuperuser.objects.filter(revoked_at=None).exists()
