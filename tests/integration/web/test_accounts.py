"""Accounts: who gets in, who does not, and that nobody learns who has one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from allauth.usersessions.models import UserSession
from django.contrib.auth.hashers import ScryptPasswordHasher
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.http import HttpRequest
from django.test import override_settings
from django.utils import timezone

from pocketfleet.actions import accounts, sign_in, sign_up, teams
from pocketfleet.config import Config
from pocketfleet.errors import Conflict
from pocketfleet.models import AccountMail, Audit, SignUpInvitation, Team, Token, User
from pocketfleet.web.accounts.invited import let_sign_up
from tests.integration.web.people import ANA, PASSWORD, Person, newest_link, newest_mail, words
from tests.integration.web.served import OPERATOR_TOKEN, Served, make_instance

BEN = "ben@example.org"
#: What Chromium's virtual authenticator gave for `localhost`.
PASSKEY = {
    "name": "Laptop",
    "credential": {
        "id": "7xb1_RfdJqQ8m8RT7L9bTdRpS_zm3h3HFd_kQajC3LQ",
        "rawId": "7xb1_RfdJqQ8m8RT7L9bTdRpS_zm3h3HFd_kQajC3LQ",
        "type": "public-key",
        "clientExtensionResults": {"credProps": {"rk": True}},
        "response": {
            "clientDataJSON": (
                "eyJ0eXBlIjoid2ViYXV0aG4uY3JlYXRlIiwiY2hhbGxlbmdlIjoiSm5qLWluZ1hRR3J1QVI2d1hhbm1uTURPMWFKY21KWXlJ"
                "UWU2YUYydDRDUSIsIm9yaWdpbiI6Imh0dHA6Ly9sb2NhbGhvc3Q6MzYzNzkiLCJjcm9zc09yaWdpbiI6ZmFsc2UsIm90aGVy"
                "X2tleXNfY2FuX2JlX2FkZGVkX2hlcmUiOiJkbyBub3QgY29tcGFyZSBjbGllbnREYXRhSlNPTiBhZ2FpbnN0IGEgdGVtcGxh"
                "dGUuIFNlZSBodHRwczovL2dvby5nbC95YWJQZXgifQ"
            ),
            "attestationObject": (
                "o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YVikSZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2NFAAAAAQECAwQF"
                "BgcIAQIDBAUGBwgAIO8W9f0X3SakPJvEU-y_W03UaUv85t4dxxXf5EGowty0pQECAyYgASFYIJwFOSldJPpzpArvEPMCP2dN"
                "nl52qgyNo_7bNjsISewoIlggri8BW4alLvmOFw4eaUZTdFYYoCLDfWk2lW5Nr9Ky10A"
            ),
            "transports": ["internal"],
        },
    },
}


@pytest.fixture
def config(config: Config) -> Config:
    """Everybody may sign up."""
    return replace(config, sign_up="open")


@contextmanager
def mode(served: Served, value: str) -> Iterator[None]:
    """Another value of `sign_up`."""
    with override_settings(CONFIG=replace(served.config, sign_up=value)):
        yield


@contextmanager
def hashes() -> Iterator[list[str]]:
    """Every password that is hashed, which takes longest by far."""
    seen: list[str] = []
    original = ScryptPasswordHasher.encode

    def encode(self: ScryptPasswordHasher, password: str, *rest: Any) -> str:
        seen.append(password)
        return original(self, password, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScryptPasswordHasher, "encode", encode)
        yield seen


def verbs_of(name: str) -> list[str]:
    """What the journal says that somebody did."""
    return list(Audit.objects.filter(actor=name).order_by("id").values_list("verb", flat=True))


# signing up


def test_a_new_account_needs_its_address_verified(served: Served) -> None:
    ana = Person(served)
    ana.sign_up()
    assert not ana.is_in()
    assert ana.sign_in().headers["location"] == "/account/address/sent"
    assert not ana.is_in()
    link = newest_link(ANA)
    assert "Yes, it is mine" in ana.get(link).text
    assert not ana.is_in(), "a program that looks into mails opens links, too"
    ana.post(link)
    ana.sign_in()
    assert ana.is_in()
    user = User.objects.get(username="ana")
    assert (user.email, user.is_superuser, user.is_staff) == (ANA, False, False)
    assert user.password.startswith("scrypt$")
    assert verbs_of("ana") == ["sign_up", "verify_address", "sign_in"]


def test_with_sign_up_closed_nobody_makes_an_account(served: Served) -> None:
    with mode(served, "closed"):
        stranger = Person(served)
        secret = sign_up.invite(ANA, acting_user=None)
        for path in ("/account/sign-up", f"/account/invited/{secret}"):
            assert "No new accounts" in stranger.get(path).text
        assert "Make an account" not in stranger.get("/account/sign-in").text
        answer = stranger.post("/account/sign-up", "/account/sign-in", email=ANA, password1=PASSWORD)
        assert "No new accounts" in answer.text
    assert User.objects.count() == 1


def test_by_invitation_only_who_was_invited_makes_an_account_and_only_with_that_address(served: Served) -> None:
    with mode(served, "invitation"):
        stranger, ana = Person(served), Person(served)
        answer = stranger.post("/account/sign-up", "/account/sign-in", email=ANA, password1=PASSWORD)
        assert "By invitation" in answer.text
        link = f"/account/invited/{sign_up.invite(ANA, acting_user=None)}"
        assert f'value="{ANA}"' in ana.get(link).text
        assert "Your invitation is for" in ana.sign_up(BEN).text
        assert ana.sign_up().headers["location"] == "/"
        assert ana.is_in(), "who came by that link has proved that the address is theirs"
        assert "works once" in words(stranger.get(link)) or "not known" in words(stranger.get(link))
        assert stranger.http.get(link).status_code == 410
        assert "By invitation" in stranger.get("/account/sign-up").text
    assert sorted(User.objects.values_list("username", flat=True)) == ["ana", "operator"]


def test_two_that_have_one_invitation_do_not_both_get_in(served: Served) -> None:
    with mode(served, "invitation"):
        link = f"/account/invited/{sign_up.invite(ANA, acting_user=None)}"
        first, second = Person(served), Person(served)
        first.get(link)
        second.get(link)
        first.sign_up()
        answer = second.post("/account/sign-up", "/account/sign-in", email=ANA, password1=PASSWORD)
        assert "By invitation" in answer.text
        assert not second.is_in()


def test_an_invitation_whose_link_others_saw_proves_nothing(served: Served) -> None:
    with mode(served, "invitation"):
        ana = Person(served)
        ana.get("/account/sign-in")
        session = SessionStore(ana.http.cookies["pocketfleet_session"])
        request = HttpRequest()
        request.session = session
        let_sign_up(request, ANA, proved=False)
        session.save()
        assert "Your invitation is for" in ana.sign_up(BEN).text
        assert ana.sign_up().headers["location"] == "/account/address/sent"
        assert not ana.is_in()
        ana.post(newest_link(ANA))
        ana.sign_in()
        assert ana.is_in()


def test_an_invitation_ends_and_can_be_withdrawn(served: Served) -> None:
    with mode(served, "invitation"):
        old = f"/account/invited/{sign_up.invite(ANA, acting_user=None)}"
        SignUpInvitation.objects.update(expires_at=timezone.now())
        assert Person(served).http.get(old).status_code == 410
        fresh = f"/account/invited/{sign_up.invite(ANA, acting_user=None)}"
        ana = Person(served)
        ana.get(fresh)
        operator = served.browser()
        (open_one,) = sign_up.open_invitations()
        for number, status in ((open_one.pk, 303), (open_one.pk, 410), (10**30, 410)):
            assert operator.post(f"/operator/invitations/{number}/withdraw").status_code == status
        assert "By invitation" in ana.get("/account/sign-up").text
    ana.sign_up(BEN)
    assert not ana.is_in(), "what a withdrawn invitation proved counts no longer"
    assert User.objects.exclude(username="operator").get().email == BEN


def test_names_that_mean_something_are_nobodys(served: Served) -> None:
    for number, name in enumerate(("operator", "pocketfleet", "root")):
        Person(served, f"192.0.2.{number}").join(f"{name}@example.org")
    names = set(User.objects.exclude(username="operator").values_list("username", flat=True))
    assert len(names) == 3
    assert not names & {"operator", "pocketfleet", "root"}


@pytest.mark.parametrize("password", ["short", "password1234", "anaexampleorg", "", "ana@example.org"])
def test_a_weak_password_is_refused(served: Served, password: str) -> None:
    answer = Person(served).sign_up(password=password)
    assert answer.status_code == 200
    assert 'aria-invalid="true"' in answer.text
    assert User.objects.count() == 1


def test_who_never_verified_is_forgotten(served: Served) -> None:
    Person(served).sign_up(BEN)
    Person(served).join(ANA)
    week = timedelta(days=7)
    assert accounts.forget_unverified(week) == 0
    User.objects.update(date_joined=timezone.now() - 2 * week)
    assert accounts.forget_unverified(week) == 1
    assert sorted(User.objects.values_list("username", flat=True)) == ["ana", "operator"]


# who has an account is nobody's business


def test_signing_up_with_a_taken_address_looks_and_costs_the_same(served: Served) -> None:
    Person(served).join()
    cache.clear()
    stranger, other = Person(served), Person(served)
    with hashes() as taken:
        answer = stranger.sign_up(ANA)
    with hashes() as fresh:
        expected = other.sign_up(BEN)
    assert len(taken) == len(fresh) == 1
    assert (answer.status_code, answer.headers["location"]) == (expected.status_code, expected.headers["location"])
    assert words(stranger.get("/account/address/sent")) == words(other.get("/account/address/sent"))
    assert User.objects.filter(email=ANA).count() == 1
    assert newest_mail(ANA).subject == "You have an account already"


def test_asking_for_a_new_password_looks_the_same_for_whoever_asks(served: Served) -> None:
    Person(served).join()
    stranger = Person(served)
    before = AccountMail.objects.count()
    known = stranger.post("/account/password/reset", email=ANA)
    unknown = stranger.post("/account/password/reset", email="nobody@example.org")
    assert (known.status_code, known.headers["location"]) == (unknown.status_code, unknown.headers["location"])
    assert AccountMail.objects.count() == before + 2, "the same work, so the same time"
    assert newest_mail("nobody@example.org").to_nobody
    assert not newest_mail(ANA).to_nobody


def test_a_wrong_password_and_an_unknown_address_look_and_cost_the_same(served: Served) -> None:
    Person(served).join()
    stranger = Person(served)
    costs, pages = [], []
    for login in (ANA, "nobody@example.org"):
        with hashes() as seen:
            pages.append(words(stranger.sign_in(login, "not the right one")).replace(login, ""))
        costs.append(len(seen))
    assert costs == [1, 1]
    assert pages[0] == pages[1]
    costs, pages = [], []
    for login in ("ana", "operator", "nobody"):
        with hashes() as seen:
            pages.append(words(stranger.sign_in(login, "not the right one")).replace(f'value="{login}"', ""))
        costs.append(len(seen))
    assert costs == [1, 1, 1]
    assert pages[0] == pages[1] == pages[2]


def test_forms_that_could_tell_take_a_fixed_time_at_least(served: Served) -> None:
    began = time.monotonic()
    Person(served).post("/account/password/reset", email="nobody@example.org")
    assert time.monotonic() - began >= 0.5


def test_changing_to_a_taken_address_tells_nothing(served: Served) -> None:
    Person(served).join(ANA)
    ben = Person(served, "192.0.2.2").join(BEN)
    ben.post("/account/confirm?next=/account/address", password=PASSWORD)
    for address in (ANA, "nobody@example.org"):
        answer = ben.post("/account/address", email=address, action_add="")
        assert answer.status_code == 302
        assert f"is on its way to <strong>{address}</strong>" in ben.get("/account/address").text
    assert User.objects.get(username="ben").email == BEN


# limits


def test_guessing_one_password_ends_soon_wherever_it_comes_from(served: Served) -> None:
    ana = Person(served).join()
    for number in range(5):
        assert "do not belong together" in Person(served, f"198.51.100.{number}").sign_in(password="wrong").text
    blocked = Person(served, "198.51.100.99")
    assert "Too many attempts" in blocked.sign_in(password="wrong").text
    assert "Too many attempts" in blocked.sign_in().text, "also with the right one, or guessing would go on"
    assert "do not belong together" in blocked.sign_in("operator", "wrong").text
    assert ana.is_in()


def test_one_client_cannot_try_many_accounts_whatever_it_says_of_itself(served: Served) -> None:
    for number in range(10):
        told = {"x-forwarded-for": f"203.0.113.{number}", "forwarded": f"for=203.0.113.{number}"}
        answer = Person(served, "198.51.100.7", **told).sign_in(f"nobody{number}@example.org", "wrong")
        assert "do not belong together" in answer.text
    assert "Too many attempts" in Person(served, "198.51.100.7").sign_in("nobody@example.org", "wrong").text
    assert "do not belong together" in Person(served, "198.51.100.8").sign_in("nobody@example.org", "wrong").text


def test_nobody_is_flooded_with_mail(served: Served) -> None:
    Person(served).join()
    AccountMail.objects.all().delete()
    for number in range(5):
        asked = Person(served, f"198.51.100.{number}").post("/account/password/reset", email=ANA)
        assert asked.status_code == 302
    refused = Person(served, "198.51.100.99").post("/account/password/reset", email=ANA)
    assert refused.status_code == 429
    assert "Too many attempts" in refused.text
    assert AccountMail.objects.count() == 5


def test_signing_up_is_limited_for_each_client(served: Served) -> None:
    stranger = Person(served)
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', stranger.get("/account/sign-up").text)
    assert token is not None
    fields = {"csrfmiddlewaretoken": token[1], "email": "x", "password1": "y"}
    statuses = [stranger.http.post("/account/sign-up", data=fields).status_code for _ in range(21)]
    assert statuses == [200] * 20 + [429]


def test_codes_cannot_be_guessed(served: Served) -> None:
    Person(served).join()
    with_code(ANA)
    thief = Person(served, "198.51.100.1")
    thief.sign_in()
    for _ in range(5):
        assert "This code is not right" in thief.post("/account/sign-in/second-factor", code="000000").text
    assert "Too many" in thief.post("/account/sign-in/second-factor", code="000000").text
    assert not thief.is_in()
    assert Audit.objects.filter(verb="fail_second_factor").count() == 5


# links


def test_a_reset_link_works_once_and_for_an_hour(served: Served) -> None:
    Person(served).join()
    stranger = Person(served)
    stranger.post("/account/password/reset", email=ANA)
    link = newest_link(ANA)
    assert newest_mail(ANA).expires_at <= timezone.now() + timedelta(hours=1)
    with override_settings(PASSWORD_RESET_TIMEOUT=-1):
        assert "does not work any more" in stranger.get(link).text
    page = stranger.get(link)
    assert str(page.url).endswith("-set-password"), "the key is taken out of the address at once"
    path = page.url.path
    new = "another sentence by now"
    assert stranger.post(path, password1=new, password2=new).status_code == 302
    assert "does not work any more" in Person(served).get(link).text
    assert Person(served).sign_in().status_code == 200
    assert Person(served).sign_in(password=new).headers["location"] == "/"
    assert "reset_password" in verbs_of("ana")


def test_a_verification_link_ends_after_a_day(served: Served) -> None:
    ana = Person(served)
    ana.sign_up()
    link = newest_link(ANA)
    with override_settings(ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS=0):
        assert "This link does not work" in ana.get(link).text
    assert "Yes, it is mine" in ana.get(link).text


def test_links_lead_to_the_public_address_whatever_the_client_asked_for(served: Served) -> None:
    public = "https://fleet.example.org"
    with override_settings(CONFIG=replace(served.config, url=public)):
        ana = Person(served)
        ana.sign_up()
        assert newest_link(ANA).startswith(public + "/account/address/verify/")
        ana.post(newest_link(ANA).removeprefix(public))
        ana.post("/account/password/reset", email=ANA)
        assert newest_link(ANA).startswith(public + "/account/password/reset/")
        cache.clear()
        ana.sign_up()
        assert newest_link(ANA) == public + "/account/password/reset"


def test_a_passkey_that_is_none_is_asked_for_again(served: Served) -> None:
    ana = Person(served).join()
    Authenticator.objects.create(user=User.objects.get(username="ana"), type="webauthn", data=PASSKEY)
    path = "/account/confirm/passkey?next=/account/delete"
    for credential in ("", "{}", "null", "[]", "nonsense", '{"response": {"clientDataJSON": "AAAA"}}'):
        answer = ana.post(path, credential=credential)
        assert answer.headers["location"] == path
        page = ana.get(path).text
        assert "This code is not right" in page or "required" in page or "valid JSON" in page, credential
    assert ana.http.get("/account/delete").status_code == 302
    stranger = Person(served)
    for credential in ("", "{}", "null", "[]", "nonsense"):
        answer = stranger.post("/account/sign-in/passkey", "/account/sign-in", credential=credential)
        assert answer.headers["location"] == "/account/sign-in"
    options = stranger.http.get("/account/sign-in/passkey", headers={"accept": "application/json"}).json()
    assert options["request_options"]["publicKey"]["userVerification"] == "required"
    assert not options["request_options"]["publicKey"]["allowCredentials"], "whose passkeys there are is not told"


def test_next_leads_nowhere_else(served: Served) -> None:
    Person(served).join()
    for target in ("https://evil.example", "//evil.example", "http://shop.localhost:8099/", "javascript:alert(1)"):
        ana = Person(served)
        answer = ana.post("/account/sign-in", login=ANA, password=PASSWORD, next=target)
        assert answer.headers["location"] == "/", target
    ana = Person(served)
    assert ana.http.get("/ranges?range=latest").headers["location"].endswith("?next=%2Franges%3Frange%3Dlatest")
    answer = ana.post("/account/sign-in", login=ANA, password=PASSWORD, next="/account")
    assert answer.headers["location"] == "/account"


def with_code(email: str) -> str:
    """Give somebody an app for codes; answers its secret."""
    secret = generate_totp_secret()
    TOTP.activate(User.objects.get(email=email), secret)
    return secret


def test_a_link_that_a_token_made_asks_for_the_second_factor_and_one_of_this_machine_does_not(served: Served) -> None:
    operator = sign_in.find_operator()
    assert operator is not None
    secret = generate_totp_secret()
    TOTP.activate(operator, secret)
    token = served.operator.post("/api/v1/tokens", json={"name": "laptop"}).json()["token"]

    def link(bearer: str) -> str:
        made = served.client(authorization=f"Bearer {bearer}").post("/api/v1/sign-in-links").json()["link"]
        return str(made)

    thief = Person(served)
    assert "One more step" in thief.get(link(token)).text
    assert not thief.is_in()
    code = format_hotp_value(hotp_value(secret, int(time.time()) // 30))
    assert thief.post("/account/sign-in/second-factor", code=code).headers["location"] == "/"
    assert thief.is_in()
    owner = Person(served)
    owner.get(link(OPERATOR_TOKEN))
    assert owner.is_in(), "whoever has the machine gets in, also without their phone"
    assert "Remove the app?" in owner.get("/account/second-factor/app/remove").text


def test_secrets_of_second_factors_are_sealed(served: Served) -> None:
    Person(served).join()
    secret = with_code(ANA)
    stored = Authenticator.objects.get(type="totp")
    assert secret not in str(stored.data)
    code = format_hotp_value(hotp_value(secret, int(time.time()) // 30))
    with override_settings(SECRET_KEY="of another server"):
        assert not stored.wrap().validate_code(code)
    assert stored.wrap().validate_code(code)
    assert not stored.wrap().validate_code(code), "each code works once"


# sessions


def test_signing_in_begins_a_new_session_and_its_key_is_nowhere_but_in_the_cookie(served: Served) -> None:
    ana = Person(served)
    ana.get("/account/sign-in")
    planted = ana.http.cookies["pocketfleet_session"]
    ana.join()
    key = ana.http.cookies["pocketfleet_session"]
    assert key != planted
    assert not Session.objects.filter(pk=planted).exists()
    for path in ("/", "/account", "/account/sessions"):
        page = ana.get(path)
        assert key not in page.text
        assert key not in str(page.url)
    names = {cookie.name for cookie in ana.http.cookies.jar}
    assert names == {"pocketfleet_session"}, "messages, CSRF and all else lie in the session"


def test_strangers_are_kept_for_an_hour_and_people_for_two_weeks(served: Served) -> None:
    def days(person: Person) -> float:
        session = Session.objects.get(pk=person.http.cookies["pocketfleet_session"])
        return (session.expire_date - timezone.now()).total_seconds() / 86400

    ana = Person(served)
    ana.get("/account/sign-in")
    assert days(ana) < 1 / 23
    ana.join()
    assert 13.9 < days(ana) <= 14
    by_link = Person(served)
    by_link.get("/account/sign-in")
    by_link.get(served.link())
    assert 13.9 < days(by_link) <= 14
    ana.post("/sign-out", "/account")
    assert not ana.http.cookies
    Session.objects.update(expire_date=timezone.now())
    assert sign_in.forget_old_sessions() == 1


def test_a_new_password_ends_all_other_sessions(served: Served) -> None:
    here, there = Person(served).join(), Person(served)
    there.sign_in()
    new = "another sentence by now"
    here.post("/account/password", oldpassword=PASSWORD, password1=new, password2=new)
    assert here.is_in()
    assert not there.is_in()
    assert "change_password" in verbs_of("ana")


def test_sessions_are_ended_by_their_owner_alone(served: Served) -> None:
    here, there = Person(served, **{"user-agent": "Mozilla/5.0 (X11; Linux) Firefox/140.0"}).join(), Person(served)
    there.sign_in()
    assert "Firefox on Linux" in here.get("/account/sessions").text
    ben = Person(served, "192.0.2.2").join(BEN)
    other = UserSession.objects.exclude(session_key=here.http.cookies["pocketfleet_session"]).get(user__username="ana")
    assert ben.post(f"/account/sessions/{other.pk}/end", "/account").status_code == 404
    assert ben.post(f"/account/sessions/{10**30}/end", "/account").status_code == 404
    assert there.is_in()
    assert here.post(f"/account/sessions/{other.pk}/end", "/account").status_code == 303
    assert not there.is_in()
    there.sign_in()
    assert here.post("/account/sessions/end-others", "/account").status_code == 303
    assert here.is_in()
    assert not there.is_in()
    assert ben.is_in()
    assert verbs_of("ana")[-2:] == ["sign_in", "end_other_sessions"]


# what matters is asked for once more


@pytest.mark.parametrize(
    "path",
    ["/account/second-factor/app", "/account/passkeys/add", "/account/delete"],
)
def test_what_matters_asks_who_is_there(served: Served, path: str) -> None:
    ana = Person(served).join()
    answer = ana.http.get(path)
    assert answer.headers["location"].startswith("/account/confirm?next=")
    assert "not your password" in ana.post("/account/confirm", password="wrong").text
    assert ana.post(answer.headers["location"], password=PASSWORD).headers["location"] == path
    assert ana.http.get(path).status_code == 200


def test_changing_the_address_asks_who_is_there_and_goes_on(served: Served) -> None:
    ana = Person(served).join()
    answer = ana.post("/account/address", email="ana@example.net", action_add="")
    assert answer.headers["location"] == "/account/confirm?next=%2Faccount%2Faddress"
    assert not AccountMail.objects.filter(recipient="ana@example.net").exists()
    ana.post(answer.headers["location"], password=PASSWORD)
    assert AccountMail.objects.filter(recipient="ana@example.net").exists()


@pytest.mark.parametrize(
    "path",
    [
        "/account",
        "/account/sessions",
        "/account/address",
        "/account/password",
        "/account/password/set",
        "/account/second-factor/app",
        "/account/recovery-codes",
        "/account/recovery-codes/new",
        "/account/recovery-codes/download",
        "/account/passkeys/add",
        "/account/passkeys/1/remove",
        "/account/passkeys/1/rename",
        "/account/delete",
        "/account/confirm",
        "/operator/mail",
        "/operator/invitations",
    ],
)
def test_pages_of_an_account_are_not_for_strangers(served: Served, path: str) -> None:
    answer = Person(served).http.get(path)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/account/sign-in")


def test_passkeys_of_others_are_not_there(served: Served) -> None:
    Person(served).join()
    user = User.objects.get(username="ana")
    key = Authenticator.objects.create(user=user, type="webauthn", data={"name": "Laptop", "credential": {}})
    ben = Person(served, "192.0.2.2").join(BEN)
    ben.post("/account/confirm?next=/account", password=PASSWORD)
    for what in ("remove", "rename"):
        assert ben.http.get(f"/account/passkeys/{key.pk}/{what}").status_code == 404
    assert Authenticator.objects.filter(pk=key.pk).exists()


# the end


def test_an_account_goes_with_all_that_is_its_own(served: Served) -> None:
    ana = Person(served).join()
    there = Person(served)
    there.sign_in()
    user = User.objects.get(username="ana")
    Token.objects.create(user=user, name="laptop", digest="x" * 64, hint="pf_xxxx")
    with_code(ANA)
    ana.post("/account/confirm?next=/account/delete", password=PASSWORD)
    assert "not the name" in ana.post("/account/delete", name="operator").text
    assert "The account is deleted" in ana.post("/account/delete", name="ana").text
    assert not ana.is_in()
    assert not there.is_in()
    assert not Token.objects.exists()
    assert not Authenticator.objects.exists()
    assert verbs_of("ana")[-1] == "delete_account"
    assert Person(served).sign_in().status_code == 200


def test_no_account_goes_that_something_needs(served: Served) -> None:
    assert "command line acts as this account" in served.browser().http.get("/account/delete").text
    operator = sign_in.find_operator()
    assert operator is not None
    with pytest.raises(Conflict, match="command line"):
        accounts.delete_account(operator, acting_user=operator)
    ana = User.objects.create(username="ana")
    accounts.sign_up(ana, invitation_id=None)
    own = teams.own_team(ana)
    shop = make_instance("shop", team=own.id)
    assert accounts.what_is_left(ana) == [shop]
    with pytest.raises(Conflict, match="shop"):
        accounts.delete_account(ana, acting_user=ana)
    teams.move_instance(shop.id, teams.own_team(operator).id, acting_user=operator)
    accounts.delete_account(ana, acting_user=ana)
    assert not Team.objects.filter(pk=own.pk).exists(), "nobody is left in it"


# operators


def test_mail_waits_for_operators_alone_and_not_for_ever(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    ana = Person(served).join()
    ana.post("/account/password/reset", email=ANA)
    ana.post("/account/password/reset", email="nobody@example.org")
    link = newest_link(ANA)
    operator = served.browser()
    page = operator.http.get("/operator/mail").text
    assert link in page
    assert "nobody@example.org" not in page
    assert ana.http.get("/operator/mail").status_code == 403
    mail = newest_mail(ANA)
    assert ana.post(f"/operator/mail/{mail.pk}/drop", "/account").status_code == 403
    assert link not in caplog.text
    AccountMail.objects.filter(pk=mail.pk).update(expires_at=timezone.now())
    assert link not in operator.http.get("/operator/mail").text
    other = AccountMail.objects.filter(to_nobody=False).exclude(pk=mail.pk).first()
    assert other is not None
    assert operator.post(f"/operator/mail/{other.pk}/drop").status_code == 303
    assert not AccountMail.objects.filter(pk=other.pk).exists()
    assert "drop_mail" in verbs_of("operator")


def test_operators_invite_and_others_do_not(served: Served) -> None:
    Person(served).join()
    ben = Person(served, "192.0.2.2").join(BEN)
    operator = served.browser()
    page = operator.post("/operator/invitations", email="carl@example.org")
    link = re.search(r'<pre id="link">(\S+)</pre>', page.text)
    assert link is not None
    assert link[1] not in operator.http.get("/operator/invitations").text, "shown once"
    assert "has an account already" in operator.post("/operator/invitations", email=ANA).text
    assert "no mail address" in operator.post("/operator/invitations", email="carl").text
    assert ben.http.get("/operator/invitations").status_code == 403
    assert ben.post("/operator/invitations", "/account", email="x@example.org").status_code == 403
    assert SignUpInvitation.objects.count() == 1
    assert "Make an account" in Person(served).get(link[1]).text


def test_the_operator_is_reminded_until_both_are_set(served: Served) -> None:
    operator = served.browser()
    assert "no mail address here yet, and no password" in operator.http.get("/").text
    operator.post("/account/password/set", password1=PASSWORD, password2=PASSWORD)
    assert "no mail address here yet:" in operator.http.get("/").text
    assert Person(served).sign_in("operator").headers["location"] == "/"
    operator.post("/account/confirm?next=/account", password=PASSWORD)
    operator.post("/account/address", email="operator@example.org", action_add="")
    assert Person(served).sign_in("operator").headers["location"] == "/", "also while the new address waits"
    link = newest_link("operator@example.org").removeprefix(served.config.public_url)
    operator.post(link)
    assert "no mail address" not in operator.http.get("/").text
    assert Person(served).sign_in("operator@example.org").headers["location"] == "/"
    assert "set_password" in verbs_of("operator")
