"""Teams, tokens and the operator's pages in a real browser: journeys, and screenshots of every page of theirs."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import httpx
from django.utils import timezone
from playwright.sync_api import Page

from pocketfleet.actions import instances, limits, teams, tokens
from pocketfleet.domain.roles import Role
from pocketfleet.models import Audit, Membership, Snapshot, Team, Token, User
from tests.browser.camera import picture
from tests.browser.conftest import OpenPage
from tests.integration.web.served import Served, make_instance, make_person


def bakery() -> Team:
    """A team with people, instances, invitations, and a history."""
    ana = make_person("ana")
    team = teams.create_team("Bakery on the corner", acting_user=ana)
    for name, role in (("ben", Role.MAINTAINER), ("clara.from.accounting", Role.VIEWER)):
        Membership.objects.create(team=team, user=make_person(name), role=role)
    shop = make_instance("shop", state="awake", team=team.id)
    make_instance("blog-of-ana", team=team.id)
    instances.set_power(shop.id, "on", acting_user=ana)
    instances.change_secrets(shop.id, {"SMTP_PASSWORD": "x"}, acting_user=ana)
    Snapshot.objects.create(instance=shop, purpose="manual", release="0.40.6", size=1_250_000_000)
    teams.invite(team.id, "dora@example.org", "viewer", acting_user=ana)
    operator = User.objects.get(username="operator")
    limits.set_limits(team.id, awake=5, storage=10_000_000_000, acting_user=operator)
    limits.set_guest_limits(team.id, {"memory": 256 * 1024**2, "cpus": 0.5}, acting_user=operator)
    Audit.objects.filter(actor="ana").update(address="203.0.113.7", via="session")
    return team


def as_person(served: Served, page: Page, name: str) -> None:
    """Sign somebody in, in place of whoever is."""
    somebody_is = page.locator("text=Sign out").count() > 0
    # a live page whose session ends leaves for the sign-in by itself, and would cut this visit short
    page.goto("about:blank")
    if somebody_is:
        # a link asks before it takes somebody's place; a stranger's session may know what they came for
        page.context.clear_cookies()
    page.goto(served.config.public_url + served.link(user=User.objects.get(username=name)))
    page.get_by_role("link", name=name, exact=True).first.wait_for()


def test_inviting_accepting_and_leaving(served: Served, open_page: OpenPage) -> None:
    page = open_page()
    make_person("ana")
    make_person("ben")
    as_person(served, page, "ana")
    page.click("nav >> text=Teams")
    page.fill("#name", "Bakery")
    page.click("text=Make team")
    page.wait_for_selector("h1:has-text('Bakery')")
    page.fill("#email", "ben")
    page.click("button:has-text('Invite')")
    page.wait_for_selector("#email-error")
    page.fill("#email", "ben@example.org")
    page.select_option("#role", "maintainer")
    page.click("button:has-text('Invite')")
    link = page.inner_text("#invitation-link")
    # a stranger: asked to sign in, and back at the invitation afterwards
    page.click("text=Sign out")
    page.wait_for_url("**/account/sign-in*")
    page.goto(link)
    page.wait_for_url("**/account/sign-up")
    as_person(served, page, "ben")
    page.wait_for_selector("h1:has-text('Into the team “Bakery”')")
    page.click("text=Accept")
    page.wait_for_selector("text=you are maintainer")
    assert page.locator("text=Invite somebody").count() == 0
    page.click("#leave")
    page.wait_for_selector("h1:has-text('Teams')")
    assert page.locator("text=Bakery").count() == 0


def test_a_token_is_made_copied_and_revoked(served: Served, open_page: OpenPage) -> None:
    page = open_page()
    page.goto(f"{served.config.public_url}/tokens")
    page.fill("#name", "ci")
    page.check("#verb-operate")
    page.click("text=Make token")
    secret = page.inner_text("#token")

    def status() -> int:
        bearer = {"authorization": f"Bearer {secret}"}
        return httpx.get(f"{served.config.public_url}/api/v1/instances", headers=bearer).status_code

    assert status() == 200
    page.click("[aria-label='Revoke ci']")
    page.wait_for_selector("text=No tokens yet")
    assert status() == 401


def test_an_operator_suspends_with_a_reason_and_lifts_it(served: Served, open_page: OpenPage) -> None:
    make_instance("spam-trap")
    page = open_page()
    page.click("nav >> text=Operator")
    page.click("nav[aria-label=Operator] >> text=Instances")
    page.click("summary:has-text('Suspend')")
    page.fill("textarea", "It sent mail to strangers.")
    page.click("button:has-text('Suspend spam-trap')")
    page.wait_for_selector(".pill.suspended")
    assert page.locator("td >> text=It sent mail to strangers.").count() == 1
    page.click("[aria-label='Lift suspension of spam-trap']")
    page.wait_for_selector(".pill.asleep")


def test_screenshots(served: Served, open_page: OpenPage) -> None:
    page = open_page(device_scale_factor=1)
    team = bakery()
    url = served.config.public_url
    furnish(served, team)
    shoot = partial(picture, page)
    for name, path in (
        ("operator-health", "/operator"),
        ("operator-accounts", "/operator/accounts"),
        ("operator-instances", "/operator/instances"),
        ("operator-teams", "/operator/teams"),
        ("operator-audit", "/operator/audit"),
        ("team-as-operator", f"/teams/{team.id}"),
    ):
        page.goto(url + path)
        shoot(name)
    page.goto(f"{url}/operator/accounts?q=ben")
    page.click("[aria-label='Sign-in link for ben']")
    shoot("operator-link")
    page.goto(f"{url}/operator/instances")
    page.click("summary >> nth=0")
    shoot("operator-suspend")
    as_person(served, page, "ana")
    page.goto(f"{url}/teams")
    shoot("teams")
    page.goto(f"{url}/tokens")
    shoot("tokens-empty")
    tokens.create_token("laptop", acting_user=User.objects.get(username="ana"))
    tokens.create_token(
        "nightly backup",
        team=team,
        verbs=["view", "operate"],
        expires_in_days=90,
        acting_user=User.objects.get(username="ana"),
    )
    Token.objects.filter(name="laptop").update(used_at=timezone.now() - timedelta(hours=3))
    page.goto(f"{url}/tokens")
    page.click("text=Make token")
    shoot("tokens-refused")
    page.fill("#name", "ci")
    page.click("text=Make token")
    shoot("tokens-made")
    page.goto(f"{url}/teams/{team.id}/audit")
    shoot("team-audit")
    page.goto(f"{url}/teams/{team.id}")
    page.fill("#email", "eve@example.org")
    page.click("button:has-text('Invite')")
    shoot("team-invited")
    link = page.inner_text("#invitation-link")
    as_person(served, page, "ben")
    page.goto(f"{url}/teams/{team.id}")
    shoot("team-as-maintainer")
    as_person(served, page, "eve")
    page.goto(link)
    shoot("invitation")


def furnish(served: Served, team: Team) -> None:
    """What an operator has to look at."""
    make_person("eve")
    User.objects.filter(username="clara.from.accounting").update(is_active=False)
    make_instance(
        "spam-trap", state="suspended", reason="It sent mail to strangers. Write to the operator.", team=team.id
    )
    (served.config.logs / "node.log").write_text(
        "2026-11-25T08:03:00.123Z WARNING pocketfleet.operations.run step fetch of create failed: "
        "GitHub did not answer\n"
    )
