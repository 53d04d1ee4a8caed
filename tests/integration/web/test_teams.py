"""Teams, invitations, tokens and limits in pages and API: what they do, what is refused, and hostile input."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from pocketfleet.actions import copy_records, instances, limits, operators, superusers, teams
from pocketfleet.actions.members import address_of
from pocketfleet.actions.sealed import keyring
from pocketfleet.config import Config
from pocketfleet.domain.roles import Role
from pocketfleet.errors import Conflict, InvitationUnusable, PocketfleetError, StorageFull
from pocketfleet.models import (
    AccountMail,
    Audit,
    Backup,
    Event,
    Instance,
    Invitation,
    MadeSuperuser,
    Membership,
    Operation,
    Snapshot,
    Team,
    Token,
    Upload,
    User,
)
from tests.integration.web.served import Browser, Served, make_instance, make_person
from tests.integration.web.test_pages import queries

API = "/api/v1"


@pytest.fixture
def acme(served: Served) -> Team:
    """A team with an owner, `ana`."""
    return teams.create_team("Acme", acting_user=make_person("ana"))


def person(name: str) -> User:
    return User.objects.get(username=name)


def join(team: Team, name: str, role: str) -> User:
    made = make_person(name)
    Membership.objects.create(team=team, user=made, role=role)
    return made


def at_once(*acts: Callable[[], object]) -> list[PocketfleetError | None]:
    """What becomes of things that are done at the same moment, each in a thread of its own."""
    barrier, results = threading.Barrier(len(acts)), [None] * len(acts)

    def run(number: int, act: Callable[[], object]) -> None:
        from django.db import connection

        barrier.wait()
        try:
            act()
        except PocketfleetError as error:
            results[number] = error  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return list(results)


# Invitations


def test_an_invitation_is_shown_once_and_brings_a_stranger_back_after_signing_in(served: Served, acme: Team) -> None:
    owner = served.browser(person("ana"))
    shown = owner.post(f"/teams/{acme.id}/invitations", email="ben@example.org", role="maintainer")
    link = shown.text.partition("/invitations/")[2]
    secret = shown.text.partition('id="invitation-link">')[2].partition("<")[0].rpartition("/")[2]
    assert link
    assert secret
    assert "no mail was sent" in shown.text
    assert secret not in owner.http.get(f"/teams/{acme.id}").text
    guest = served.client(origin=served.config.public_url)
    assert guest.get(f"/invitations/{secret}").headers["location"] == "/account/sign-up"
    ben = make_person("ben")
    assert guest.get(served.link(user=ben)).headers["location"] == f"/invitations/{secret}"
    page = guest.get(f"/invitations/{secret}").text
    assert "Into the team “Acme”" in page
    assert "as <strong>maintainer</strong>" in page
    assert not acme.memberships.filter(user=ben).exists(), "opening the link must not accept it"
    csrf = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    accepted = guest.post(f"/invitations/{secret}/accept", data={"csrfmiddlewaretoken": csrf})
    assert (accepted.status_code, accepted.headers["location"]) == (303, f"/teams/{acme.id}")
    assert acme.memberships.get(user=ben).role == Role.MAINTAINER
    assert guest.get(f"/invitations/{secret}").status_code == 410
    # and the next sign-in leads to the list again
    assert guest.get(served.link(user=ben)).headers["location"] == "/"


def test_an_invitation_is_mailed_where_a_mail_server_is_set(served: Served, acme: Team, config: Config) -> None:
    told = replace(config, smtp_url="smtp://localhost", mail_from="fleet@example.org")
    ana = served.bearer(person("ana"))
    with override_settings(CONFIG=told):
        answer = ana.post(f"{API}/teams/{acme.id}/invitations", json={"email": "ben@example.org"}).json()
    assert answer["mailed"] is True
    [sent] = AccountMail.objects.all()
    assert sent.recipient == "ben@example.org"
    assert "“Acme”" in sent.subject
    assert answer["link"] in keyring().open(sent.body)


def test_a_link_works_once_however_many_use_it_at_the_same_moment(served: Served, acme: Team) -> None:
    _, secret = teams.invite(acme.id, "ben@example.org", "viewer", acting_user=person("ana"))
    crowd = [make_person(f"guest{number}") for number in range(4)]
    acts = [lambda user=user: teams.accept_invitation(secret, acting_user=user) for user in crowd]
    results = at_once(*acts)
    assert sum(each is None for each in results) == 1
    assert all(isinstance(each, InvitationUnusable) for each in results if each is not None)
    assert acme.memberships.count() == 2


def test_old_withdrawn_and_replaced_links_do_nothing(served: Served, acme: Team) -> None:
    ana, ben = person("ana"), make_person("ben")
    _, replaced = teams.invite(acme.id, "ben@example.org", "viewer", acting_user=ana)
    invitation, withdrawn = teams.invite(acme.id, "BEN@example.org", "viewer", acting_user=ana)
    teams.withdraw_invitation(acme.id, invitation.id, acting_user=ana)
    _, old = teams.invite(acme.id, "ben@example.org", "viewer", acting_user=ana)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    client = served.bearer(ben)
    for secret in (replaced, withdrawn, old, "", "x", "x" * 400, "\0", "%00"):
        assert client.post(f"{API}/invitations/accept", json={"secret": secret}).status_code == 410, secret
    assert not acme.memberships.filter(user=ben).exists()


# Owners


def test_of_two_owners_who_leave_at_the_same_moment_one_stays(served: Served, acme: Team) -> None:
    ana, ben = person("ana"), join(acme, "ben", Role.OWNER)
    results = at_once(
        lambda: teams.remove_member(acme.id, ana.pk, acting_user=ana),
        lambda: teams.remove_member(acme.id, ben.pk, acting_user=ben),
    )
    assert sum(isinstance(each, Conflict) for each in results) == 1
    assert acme.memberships.filter(role=Role.OWNER).count() == 1


def test_of_two_owners_who_step_down_at_the_same_moment_one_stays(served: Served, acme: Team) -> None:
    ana, ben = person("ana"), join(acme, "ben", Role.OWNER)
    results = at_once(
        lambda: teams.change_role(acme.id, ana.pk, "viewer", acting_user=ben),
        lambda: teams.change_role(acme.id, ben.pk, "viewer", acting_user=ana),
    )
    assert sum(isinstance(each, Conflict) for each in results) == 1


def test_the_last_owner_is_told_what_to_do_and_a_double_removal_is_no_error_of_ours(served: Served, acme: Team) -> None:
    ana = served.browser(person("ana"))
    answer = ana.post(f"/teams/{acme.id}/leave")
    assert answer.status_code == 409
    assert "make somebody else one first" in answer.text
    ben = join(acme, "ben", Role.VIEWER)
    assert ana.post(f"/teams/{acme.id}/members/{ben.pk}/remove").status_code == 303
    again = ana.post(f"/teams/{acme.id}/members/{ben.pk}/remove")
    assert again.status_code == 404
    assert "no such person" in again.text


def test_nobody_leaves_their_own_team_or_ends_it(served: Served, acme: Team) -> None:
    ana = person("ana")
    own = teams.own_team(ana)
    browser = served.browser(ana)
    assert browser.post(f"/teams/{own.id}/leave").status_code == 409
    assert browser.post(f"/teams/{own.id}/end", confirm=own.name).status_code == 409


def test_a_team_ends_with_its_name_typed_and_without_instances(served: Served, acme: Team) -> None:
    ana = served.browser(person("ana"))
    assert ana.post(f"/teams/{acme.id}/end", confirm="acme?").status_code == 422
    shop = make_instance("shop", team=acme.id)
    assert ana.post(f"/teams/{acme.id}/end", confirm="Acme").status_code == 409
    teams.move_instance(shop.id, teams.own_team(person("ana")).id, acting_user=person("ana"))
    assert ana.post(f"/teams/{acme.id}/end", confirm="Acme").status_code == 303
    assert not Team.objects.filter(id=acme.id).exists()
    assert Instance.objects.filter(id=shop.id).exists()


# What depended on a role


def test_whoever_loses_access_loses_the_superuser_that_was_made_for_them(served: Served, acme: Team) -> None:
    ana, ben = person("ana"), join(acme, "ben", Role.MAINTAINER)
    other = teams.create_team("Other", acting_user=ana)
    shop = make_instance("shop", team=acme.id)
    addresses = {user: address_of(user) for user in (ana, ben)}

    def wanted() -> set[str]:
        rows = MadeSuperuser.objects.filter(instance=shop, revoked_at=None)
        return set(rows.values_list("email", flat=True))

    for user in addresses:
        superusers.want_superuser(shop.id, user)
    teams.change_role(acme.id, ben.pk, "owner", acting_user=ana)
    assert wanted() == set(addresses.values()), "a greater role loses nothing"
    teams.change_role(acme.id, ben.pk, "viewer", acting_user=ana)
    assert wanted() == {addresses[ana]}
    teams.change_role(acme.id, ben.pk, "maintainer", acting_user=ana)
    superusers.want_superuser(shop.id, ben)
    operators.switch_account_off(ben.pk, acting_user=served.operator_user())
    assert wanted() == {addresses[ana]}
    operators.switch_account_on(ben.pk, acting_user=served.operator_user())
    superusers.want_superuser(shop.id, ben)
    teams.move_instance(shop.id, other.id, acting_user=ana)
    assert wanted() == {addresses[ana]}, "only who is in the new team stays"


def test_with_admin_sync_members_come_and_go_as_superusers(served: Served, acme: Team) -> None:
    ana = person("ana")
    shop = make_instance("shop", team=acme.id)
    instances.change_settings(shop.id, {"admin_sync": True}, acting_user=ana)
    _, secret = teams.invite(acme.id, "ben@example.org", "maintainer", acting_user=ana)
    ben = make_person("ben")
    teams.accept_invitation(secret, acting_user=ben)
    rows = MadeSuperuser.objects.filter(instance=shop, revoked_at=None)
    assert set(rows.values_list("email", flat=True)) == {address_of(ana), address_of(ben)}
    teams.remove_member(acme.id, ben.pk, acting_user=ana)
    assert set(rows.values_list("email", flat=True)) == {address_of(ana)}


def test_a_token_may_less_as_soon_as_its_owner_may(served: Served, acme: Team) -> None:
    shop = make_instance("shop", team=acme.id)
    ben = join(acme, "ben", Role.MAINTAINER)
    token = served.bearer(ben, team=acme)
    path = f"{API}/instances/{shop.id}"
    assert token.patch(path, json={"dev": True}).status_code == 200
    teams.change_role(acme.id, ben.pk, "viewer", acting_user=person("ana"))
    assert token.patch(path, json={"dev": False}).status_code == 403
    assert token.get(path).status_code == 200
    teams.remove_member(acme.id, ben.pk, acting_user=person("ana"))
    assert token.get(path).status_code == 404


# Tokens


def test_a_scoped_token_cannot_make_itself_a_greater_one(served: Served, acme: Team) -> None:
    client = served.bearer(person("ana"), team=acme)
    before = Token.objects.count()
    answer = client.post(f"{API}/tokens", json={"name": "more"})
    assert answer.status_code == 403
    assert Token.objects.count() == before
    assert client.get(f"{API}/tokens").status_code == 403


def test_the_page_makes_a_token_with_its_scope_and_shows_it_once(served: Served, acme: Team) -> None:
    shop = make_instance("shop", team=acme.id)
    ana = served.browser(person("ana"))
    shown = ana.post("/tokens/new", name="ci", team=acme.id, instances="shop", verbs="operate", life="90")
    secret = shown.text.partition('id="token">')[2].partition("<")[0]
    assert secret.startswith("pf_")
    assert secret not in ana.http.get("/tokens").text
    token = Token.objects.get(name="ci")
    assert (token.team_id, token.instances, token.verbs) == (acme.id, [shop.id], ["view", "operate"])
    client = served.client(authorization=f"Bearer {secret}")
    assert client.get(f"{API}/instances/shop").status_code == 200
    assert client.delete(f"{API}/instances/shop").status_code == 403
    assert ana.post(f"/tokens/{token.pk}/revoke").status_code == 303
    assert client.get(f"{API}/instances/shop").status_code == 401


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("name", "a\0b"),
        ("team", "nothing"),
        ("team", "\0"),
        ("instances", "secret-of-others"),
        ("verbs", "everything"),
        ("life", "99999"),
    ],
)
def test_what_does_not_fit_is_said_beside_the_field(served: Served, acme: Team, field: str, value: str) -> None:
    make_instance("secret-of-others")
    ana = served.browser(person("ana"))
    given = {"name": "ci", "team": "", "instances": "", "verbs": "view", "life": "90", field: value}
    answer = ana.post("/tokens/new", **given)
    assert answer.status_code == 422
    assert 'class="error"' in answer.text
    assert not Token.objects.filter(user=person("ana")).exists()


def test_a_token_for_a_team_takes_no_instance_of_another(served: Served, acme: Team) -> None:
    make_instance("mine", team=teams.own_team(person("ana")).id)
    client = served.bearer(person("ana"))
    answer = client.post(f"{API}/tokens", json={"name": "ci", "team": acme.id, "instances": ["mine"]})
    assert (answer.status_code, answer.json()["code"]) == (422, "wrong_usage")


# Hostile input

NAMES = ["<script>alert(1)</script>", "“quoted” & 'so'", "{{ 7*7 }}", "a" * 60, "Bäckerei 🥐", "{name}%s{0}"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_text_and_nothing_else(served: Served, name: str) -> None:
    ana = served.browser(make_person("ana"))
    made = ana.post("/teams/new", name=name)
    assert made.status_code == 303
    for path in ("/teams", made.headers["location"], f"{made.headers['location']}/audit", "/tokens"):
        text = ana.http.get(path).text
        assert "<script>alert" not in text
        assert "49" not in text.partition("<h1>")[2].partition("</h1>")[0]
    team = Team.objects.get(id=made.headers["location"].rpartition("/")[2])
    assert team.name == name


@pytest.mark.parametrize("name", ["", "   ", "a" * 61, "a\nb", "a\0b", "\u202edlrow", "x" * 100_000])
def test_names_that_are_none_are_refused(served: Served, name: str) -> None:
    ana = make_person("ana")
    assert served.browser(ana).post("/teams/new", name=name).status_code == 422
    assert served.bearer(ana).post(f"{API}/teams", json={"name": name}).status_code == 422
    assert Team.objects.filter(own_of=None).count() == 0


@pytest.mark.parametrize("team_id", ["x", "%00", "0" * 5000, "...", "{team}", "💥", "1' OR '1'='1", "aaaaaaaaaaaaaaa"])
def test_ids_that_are_none_are_not_there(served: Served, team_id: str) -> None:
    ana = make_person("ana")
    client, browser = served.bearer(ana), served.browser(ana)
    for path in (f"{API}/teams/{team_id}", f"{API}/teams/{team_id}/audit"):
        assert client.get(path).status_code == 404
    assert browser.http.get(f"/teams/{team_id}").status_code == 404
    assert client.post(f"{API}/tokens", json={"name": "t", "team": team_id[:100]}).status_code == 404


@pytest.mark.parametrize("number", [0, 2**31, 2**63 - 1, 2**63, 10**40])
def test_numbers_that_nobody_has_are_not_there(served: Served, acme: Team, number: int) -> None:
    ana, operator = served.bearer(person("ana")), served.browser()
    assert ana.delete(f"{API}/teams/{acme.id}/members/{number}").status_code == 404
    assert ana.patch(f"{API}/teams/{acme.id}/members/{number}", json={"role": "owner"}).status_code == 404
    assert operator.post(f"/operator/accounts/{number}/off").status_code == 404
    assert operator.post(f"/tokens/{number}/revoke").status_code == 404
    assert ana.get(f"{API}/teams/{acme.id}/audit?before={number}").status_code == 200


def test_what_is_anothers_cannot_be_reached_by_its_id(served: Served, acme: Team) -> None:
    make_instance("shop", team=acme.id)
    eve = make_person("eve")
    mine = teams.create_team("Eve's", acting_user=eve)
    invitation, _ = teams.invite(acme.id, "x@example.org", "viewer", acting_user=person("ana"))
    client = served.bearer(eve)
    assert client.delete(f"{API}/teams/{mine.id}/invitations/{invitation.id}").status_code == 404
    assert client.delete(f"{API}/teams/{mine.id}/members/{person('ana').pk}").status_code == 404
    assert client.post(f"{API}/instances/shop/move", json={"team": mine.id}).status_code == 404
    assert client.post(f"{API}/instances", json={"name": "sneak", "team": acme.id}).status_code == 404
    own = make_instance("own", team=mine.id)
    assert client.post(f"{API}/instances/{own.id}/move", json={"team": acme.id}).status_code == 404
    assert Invitation.objects.filter(id=invitation.id).exists()


@pytest.mark.parametrize("email", ["", "x", "a@b", "a@b.c\nBcc: d@e.f", "x" * 300 + "@example.org", "a b@example.org"])
def test_addresses_that_are_none_are_refused_beside_the_field(served: Served, acme: Team, email: str) -> None:
    answer = served.browser(person("ana")).post(f"/teams/{acme.id}/invitations", email=email, role="viewer")
    assert answer.status_code == 422
    assert 'id="email-error"' in answer.text
    assert not Invitation.objects.exists()


# The audit


def test_the_audit_says_who_did_what_from_where_in_plain_words(served: Served, acme: Team) -> None:
    ana = served.browser(person("ana"))
    shop = make_instance("shop", team=acme.id)
    ana.post("/instances/shop/power", power="off")
    ben = join(acme, "ben", Role.VIEWER)
    client = served.bearer(person("ana"))
    client.patch(f"{API}/teams/{acme.id}/members/{ben.pk}", json={"role": "maintainer"})
    page = ana.http.get(f"/teams/{acme.id}/audit").text
    for text in ("powered shop off", "made ben maintainer instead of viewer", "in a browser", "with a token"):
        assert text in page, text
    only = ana.http.get(f"/teams/{acme.id}/audit?verb=set_power&person=ana&instance=shop").text
    assert "powered shop off" in only
    assert "instead of viewer" not in only
    rows = client.get(f"{API}/teams/{acme.id}/audit?subject={shop.id}").json()["items"]
    assert {row["subject"] for row in rows} == {shop.id}
    assert "Nothing that was done fits" in ana.http.get(f"/teams/{acme.id}/audit?person=nobody%00").text


def test_the_audit_comes_in_pages_of_few_queries(served: Served, acme: Team) -> None:
    ana = served.browser(person("ana"))
    Audit.objects.bulk_create(Audit(actor="ana", verb="set_power", subject="x" * 15, team=acme.id) for _ in range(120))
    ana.http.get("/")
    with queries() as asked:
        first = ana.http.get(f"/teams/{acme.id}/audit").text
    assert first.count("<tr>") == 51
    assert len(asked) <= 12, "\n".join(asked)
    older = first.partition("audit?before=")[2].partition('"')[0]
    second = ana.http.get(f"/teams/{acme.id}/audit?before={older}").text
    assert second.count("<tr>") == 51
    for nonsense in ("x", "-1", "9" * 30, "%00"):
        assert ana.http.get(f"/teams/{acme.id}/audit?before={nonsense}").status_code == 200


def test_a_sentence_of_hostile_details_is_text(served: Served, acme: Team) -> None:
    hostile = {"name": "<b>x</b>{actor.__class__}", "before": {"a": [1]}, "after": None}
    Audit.objects.create(actor="<i>eve</i>", verb="rename_team", subject="\\", team=acme.id, detail=hostile)
    Audit.objects.create(actor="eve", verb="unheard_of", subject="{x}", team=acme.id, detail={"name": "{y!r}"})
    page = served.browser(person("ana")).http.get(f"/teams/{acme.id}/audit")
    assert page.status_code == 200
    assert "<i>eve" not in page.text


def test_the_team_page_asks_the_same_for_few_and_for_many(served: Served, acme: Team) -> None:
    ana = served.browser(person("ana"))
    ana.http.get(f"/teams/{acme.id}")
    counts = []
    for round_ in range(2):
        for number in range(1 + 8 * round_):
            join(acme, f"p{round_}-{number}", Role.VIEWER)
            make_instance(f"i{round_}-{number}", team=acme.id)
        with queries() as asked:
            assert ana.http.get(f"/teams/{acme.id}").status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 16, counts


# Limits


def fill(team: Team, size: int) -> Instance:
    shop = make_instance("full", team=team.id)
    Snapshot.objects.create(instance=shop, purpose="manual", release="0.40.6", size=size)
    return shop


def test_past_its_storage_nothing_that_needs_room_is_begun(served: Served, acme: Team) -> None:
    shop = fill(acme, 900)
    backup = Backup.objects.create(
        instance=shop, name="one.zip", purpose="manual", release="0.40.6", sha256="0", size=200
    )
    limits.set_limits(acme.id, awake=None, storage=1000, acting_user=person("ana"))
    assert limits.team_storage(acme.id) == 1100
    client = served.bearer(person("ana"), team=acme)
    Upload.objects.create(id="uploaded1234567", team=acme, size=0, sha256="0" * 64)
    before = Operation.objects.count()
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/instances", {"name": "fresh"}),
        (f"/instances/{shop.id}/clone", {"name": "copy"}),
        ("/imports", {"name": "imported", "upload": "uploaded1234567"}),
        (f"/instances/{shop.id}/restore", {"backup": "one.zip"}),
        (f"/instances/{shop.id}/snapshots", {}),
        (f"/instances/{shop.id}/backups", {}),
        ("/uploads", {}),
    ]
    for path, body in asked:
        answer = client.post(f"{API}{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "storage_limit"), path
    assert Operation.objects.count() == before
    backup.delete()
    assert client.post(f"{API}/instances", json={"name": "fresh"}).status_code == 202


def test_an_upload_is_refused_by_what_it_says_it_has(served: Served, acme: Team) -> None:
    limits.set_limits(acme.id, awake=None, storage=1000, acting_user=person("ana"))
    client = served.bearer(person("ana"), team=acme)
    assert client.post(f"{API}/uploads", content=b"x" * 1001).json()["code"] == "storage_limit"
    assert client.post(f"{API}/uploads", content=b"x" * 999).status_code == 201


def test_moving_counts_what_the_instance_brings_along(served: Served, acme: Team) -> None:
    ana = person("ana")
    other = teams.create_team("Other", acting_user=ana)
    shop = fill(acme, 900)
    limits.set_limits(other.id, awake=None, storage=899, acting_user=ana)
    with pytest.raises(StorageFull):
        teams.move_instance(shop.id, other.id, acting_user=ana)
    limits.set_limits(other.id, awake=None, storage=900, acting_user=ana)
    teams.move_instance(shop.id, other.id, acting_user=ana)
    assert limits.team_storage(acme.id) == 0


def test_a_scheduled_backup_past_the_limit_is_told_once(served: Served, acme: Team) -> None:
    shop = fill(acme, 900)
    instances.change_settings(shop.id, {"backup_plan": {"cron": "* * * * *"}}, acting_user=None)
    limits.set_limits(acme.id, awake=None, storage=10, acting_user=person("ana"))
    now = timezone.now() + timedelta(minutes=2)
    assert copy_records.begin_due_backups(now) == []
    assert copy_records.begin_due_backups(now) == []
    told = Event.objects.get(instance=shop)
    assert told.kind == "backup_failed"
    assert "Acme" in told.text


def test_the_servers_limit_counts_where_a_team_has_none_of_its_own(served: Served, acme: Team, config: Config) -> None:
    fill(acme, 900)
    with override_settings(CONFIG=replace(config, team_storage=500)):
        with pytest.raises(StorageFull):
            limits.check_storage(Team.objects.get(id=acme.id))
        limits.set_limits(acme.id, awake=None, storage=0, acting_user=person("ana"))
        limits.check_storage(Team.objects.get(id=acme.id))


def test_only_operators_set_limits(served: Served, acme: Team) -> None:
    ana = served.bearer(person("ana"))
    assert ana.patch(f"{API}/teams/{acme.id}", json={"storage_limit": 0}).status_code == 403
    changed = served.operator.patch(f"{API}/teams/{acme.id}", json={"awake_limit": 2}).json()
    assert (changed["awake_limit"], changed["awake_limit_own"], changed["storage_limit_own"]) == (2, 2, None)
    for wrong in (-1, 2**70, 1.5, "2"):
        assert served.operator.patch(f"{API}/teams/{acme.id}", json={"awake_limit": wrong}).status_code == 422
    browser = served.browser()
    assert browser.post(f"/operator/teams/{acme.id}/limits", awake_limit="", storage_limit="1,5").status_code == 303
    assert Team.objects.get(id=acme.id).storage_limit == 1_500_000_000
    for wrong_text in ("-1", "NaN", "1e99", "x", "Infinity", "1" * 39):
        refused = browser.post(f"/operator/teams/{acme.id}/limits", awake_limit=wrong_text, storage_limit="")
        assert refused.status_code == 422, wrong_text
        assert "limits-error" in refused.text


def test_only_operators_say_what_each_instance_may_use(served: Served, acme: Team) -> None:
    join(acme, "ben", Role.VIEWER)
    path, own = f"{API}/teams/{acme.id}", {"memory": 256 * 1024**2, "cpus": 0.5, "processes": 100}
    assert served.bearer(person("ana")).patch(path, json={"guest_limits": own}).status_code == 403
    changed = served.operator.patch(path, json={"guest_limits": own | {"open_files": None}}).json()
    config = served.config
    counting = own | {"cpu_weight": 100, "open_files": config.instance_open_files, "file_bytes": 0, "storage": 0}
    assert (changed["guest_limits"], changed["resources"]) == (own, counting)
    # members see what counts, and the audit says who set it
    assert served.bearer(person("ben")).get(path).json()["resources"] == counting
    assert "<dt>Memory</dt><dd>256 MiB</dd>" in Browser(served, person("ben")).http.get(f"/teams/{acme.id}").text
    audit = Browser(served, person("ana")).http.get(f"/teams/{acme.id}/audit").text
    assert "may use: memory 256 MiB, processors 0.5, processes 100" in audit
    # limits of one kind leave those of another alone
    served.operator.patch(path, json={"awake_limit": 2, "traffic_limits": {"address_hourly": 5}})
    assert limits.guest_limits() == {acme.id: own}
    assert "2 awake, memory 256 MiB, processors 0.5" in served.browser().http.get("/operator/teams").text
    assert served.operator.patch(path, json={"guest_limits": None}).json()["guest_limits"] == {}
    assert limits.guest_limits() == {}


@pytest.mark.parametrize(
    "own", [{"memory": 1}, {"cpus": "1"}, {"cpus": 1e300}, {"processes": 2**80}, {"disk": 1}, [1], 5]
)
def test_resources_that_do_not_fit_are_refused(served: Served, acme: Team, own: Any) -> None:
    body = {"name": "Renamed", "guest_limits": own}
    refused = served.operator.patch(f"{API}/teams/{acme.id}", json=body)
    assert refused.status_code == 422
    if isinstance(own, dict) and not isinstance(own.get("cpus"), str):
        assert (refused.json()["code"], refused.json()["setting"]) == ("wrong_setting", "guest_limits")
    found = Team.objects.get(id=acme.id)
    assert (found.name, found.guest_limits) == ("Acme", {})


def test_a_form_of_resources(served: Served, acme: Team) -> None:
    browser, path = served.browser(), f"/operator/teams/{acme.id}/resources"
    form = {"memory": "95.367431640625", "cpus": "0,5", "cpu_weight": " 300 ", "processes": "", "file_bytes": "0"}
    assert browser.post(path, **form).status_code == 303
    own = {"memory": 100_000_000, "cpus": 0.5, "cpu_weight": 300, "file_bytes": 0}
    assert Team.objects.get(id=acme.id).guest_limits == own
    # what is shown is what is set, and sent again it stays so
    page = browser.http.get(f"/teams/{acme.id}").text
    shown = {name: found[1] for name in form if (found := re.search(rf'id="{name}"[^>]* value="([^"]*)"', page))}
    assert shown == form | {"cpus": "0.5", "cpu_weight": "300"}
    assert 'placeholder="512"' in page
    assert browser.post(path, **shown).status_code == 303
    assert Team.objects.get(id=acme.id).guest_limits == own
    assert Audit.objects.filter(verb="set_guest_limits").count() == 1
    for name, text in (("memory", "64,000"), ("cpus", "-1"), ("processes", "1.5"), ("cpu_weight", "0"),
                       ("memory", "<script>"), ("open_files", "９"), ("cpus", "9" * 400), ("cpus", "NaN")):  # fmt: skip
        refused = browser.post(path, **{name: text})
        assert (refused.status_code, f"{name} takes" in refused.text) == (422, True), text
        assert re.search(rf'id="{name}"[^>]* aria-invalid="true"', refused.text), text
        assert "<script>" not in refused.text.partition("<main")[2]
    assert Team.objects.get(id=acme.id).guest_limits == own
    assert browser.post(path).status_code == 303
    assert Team.objects.get(id=acme.id).guest_limits == {}


def test_without_the_sandbox_nothing_counts_and_pages_say_so(served: Served, acme: Team) -> None:
    def said() -> tuple[bool, bool]:
        shown = served.operator.get(f"{API}/teams/{acme.id}").json()
        page = served.browser().http.get(f"/teams/{acme.id}").text
        return shown["resources"] is None, "nothing holds them to these" in page

    assert said() == (False, False)
    with override_settings(CONFIG=replace(served.config, sandbox="off")):
        assert said() == (True, True)


# Operators


def test_an_account_that_is_switched_off_is_out_at_once(served: Served) -> None:
    ben = make_person("ben")
    browser, token, operator = served.browser(ben), served.bearer(ben), served.browser()
    assert browser.http.get("/teams").status_code == 200
    assert operator.post(f"/operator/accounts/{ben.pk}/off").status_code == 303
    assert browser.http.get("/teams").headers["location"].startswith("/account/sign-in")
    assert token.get(f"{API}/me").status_code == 401
    assert operator.post(f"/operator/accounts/{ben.pk}/link").status_code == 409
    operator.post(f"/operator/accounts/{ben.pk}/on")
    assert token.get(f"{API}/me").status_code == 200


def test_a_link_lets_somebody_in_and_is_shown_once(served: Served) -> None:
    ben, operator = make_person("ben"), served.browser()
    shown = operator.post(f"/operator/accounts/{ben.pk}/link").text
    link = shown.partition('id="link">')[2].partition("<")[0]
    assert link not in operator.http.get("/operator/accounts").text
    guest = served.client()
    assert guest.get(link).headers["location"] == "/"
    assert "ben" in guest.get("/teams").text
    assert guest.get("/operator").status_code == 403


def test_the_last_operator_stays_one_however_many_try_at_the_same_moment(served: Served) -> None:
    ana, ben = make_person("ana", operator=True), make_person("ben", operator=True)
    User.objects.filter(username="operator").update(is_active=False)
    results = at_once(
        lambda: operators.take_operator_back(ana.pk, acting_user=ben),
        lambda: operators.switch_account_off(ben.pk, acting_user=ana),
    )
    assert sum(isinstance(each, Conflict) for each in results) == 1
    assert User.objects.filter(is_superuser=True, is_active=True).count() == 1


def test_the_account_of_this_machine_stays_an_operator_and_nobody_switches_themselves_off(served: Served) -> None:
    ana = make_person("ana", operator=True)
    browser, machine = served.browser(ana), User.objects.get(username="operator")
    for path in (f"{machine.pk}/off", f"{machine.pk}/take-back", f"{ana.pk}/off"):
        assert browser.post(f"/operator/accounts/{path}").status_code == 409, path
    assert browser.post(f"/operator/accounts/{ana.pk}/take-back").status_code == 303
    assert browser.http.get("/operator").status_code == 403


def test_a_suspension_is_seen_by_the_owner_with_its_reason(served: Served, acme: Team) -> None:
    shop = make_instance("shop", team=acme.id)
    operator, ana = served.browser(), served.bearer(person("ana"))
    before = shop.generation
    assert operator.post("/operator/instances/shop/suspend", reason="  ").status_code == 422
    assert operator.post("/operator/instances/shop/suspend", reason="It sent <b>mail</b>.").status_code == 303
    row = ana.get(f"{API}/instances/shop").json()
    assert (row["state"], row["reason"]) == ("suspended", "It sent <b>mail</b>.")
    assert row["generation"] == before + 1
    operator.post("/operator/instances/shop/suspend", reason="It sent <b>mail</b>.")
    assert ana.get(f"{API}/instances/shop").json()["generation"] == before + 1, "said twice it is one change"
    assert "It sent &lt;b&gt;mail&lt;/b&gt;." in operator.http.get("/operator/instances?only=suspended").text
    # its owner cannot lift it by power or settings
    ana.patch(f"{API}/instances/shop", json={"power": "on"})
    assert ana.get(f"{API}/instances/shop").json()["state"] == "suspended"
    assert operator.post("/operator/instances/shop/lift").status_code == 303
    assert ana.get(f"{API}/instances/shop").json()["state"] == "asleep"
    assert operator.post("/operator/instances/shop/lift").status_code == 409


def test_health_says_what_is_not_well_and_what_to_do(served: Served, config: Config) -> None:
    (config.logs / "node.log").write_text("2026-11-25T08:03:00.123Z ERROR   pocketfleet.node it <b>broke</b>\n")
    page = served.browser().http.get("/operator").text
    # neither HAProxy nor node runs in this test
    assert "edge: does not answer" in page
    assert "node: does not answer" in page
    for text in ("Disk", "Memory", "Load", "File watchers", "Database", "HAProxy", "pocketfleet"):
        assert f"<dt>{text}</dt>" in page
    assert "it &lt;b&gt;broke&lt;/b&gt;" in page


def test_lists_of_operators_are_searched_and_come_in_pages(served: Served) -> None:
    User.objects.bulk_create(User(username=f"user{number:03}", email=f"u{number}@example.org") for number in range(120))
    browser = served.browser()
    first = browser.http.get("/operator/accounts").text
    assert "121 accounts" in first
    assert 'rel="next"' in first
    assert "user007" in browser.http.get("/operator/accounts?q=u7%40example.org").text
    for query in ("q=%00", "page=0", "page=x", "page=999999", "only=nonsense", "q=" + "x" * 5000):
        for path in ("accounts", "instances", "teams"):
            assert browser.http.get(f"/operator/{path}?{query}").status_code == 200, (path, query)
