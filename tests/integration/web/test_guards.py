"""What keeps pages that are not the dashboard's away from it: headers, cookies, origins, hosts, where links lead.

The worst neighbour is an instance: its pages are of the same site, and it may set cookies for the whole domain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from django.contrib.sessions.models import Session
from django.test import override_settings

from pocketfleet.actions import teams
from pocketfleet.config import Config
from pocketfleet.models import Audit, SignInLink, User
from pocketfleet.web.assets import asset_url
from pocketfleet.web.middleware import HEADERS
from tests.integration.web.people import ANA, PASSWORD, Person, newest_link, newest_text
from tests.integration.web.served import OPERATOR_TOKEN, Served, make_instance, make_person
from tests.integration.web.test_routes import is_problem, make_shop
from tests.unit.web.test_settings import settings as settings_of

COOKIE = "pocketfleet_session"
SAFE_COOKIE = "__Host-pocketfleet"
SAFE_URL = "https://fleet.example.org"
#: What a browser says of a request that an instance's page made it make.
TENANT = {"sec-fetch-site": "same-site", "origin": "http://shop.localhost:8099"}
STRANGE_SITE = {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}
#: What it says where a click on such a page leads here.
GOES = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


class Raw:
    """A client that keeps no cookies: what is sent is what a test says."""

    def __init__(self, config: Config, **headers: str) -> None:
        host = config.public_url.partition("://")[2]
        transport = httpx.HTTPTransport(uds=str(config.control_socket), verify=False)
        self.http = httpx.Client(transport=transport, base_url=f"http://{host}", headers=headers, timeout=20)

    def get(self, path: str, cookie: bytes | str = b"", **headers: str) -> httpx.Response:
        """One GET; what it set is not remembered."""
        return self.send("GET", path, cookie, **headers)

    def send(self, method: str, path: str, cookie: bytes | str = b"", **headers: str) -> httpx.Response:
        """One request."""
        self.http.cookies.clear()
        given: dict[str, bytes | str] = {"cookie": cookie, **headers} if cookie else {**headers}
        return self.http.request(method, path, headers=given)  # type: ignore[arg-type]

    def key(self, served: Served, user: User | None = None) -> str:
        """The key of a new session of this person."""
        made = self.get(served.link(user=user)).headers["set-cookie"]
        return made.partition("=")[2].partition(";")[0]


@pytest.fixture
def config(config: Config) -> Config:
    """Everybody may make an account here."""
    return replace(config, sign_up="open")


@pytest.fixture
def https(tables: None, config: Config) -> Iterator[Served]:
    """Control as it is where people come by https, and the edge says so."""
    safe = replace(config, domain="fleet.example.org", url=SAFE_URL)
    found = settings_of(config.home, domain=safe.domain, url=safe.url)
    names = ("ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "SECURE_PROXY_SSL_HEADER")
    with override_settings(
        CONFIG=safe,
        **{
            name: found[name] for name in (*names, "SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE")
        },
    ):
        running = Served(safe)
        yield running
        running.stop()


def every_kind_of_answer(raw: Raw) -> Iterator[tuple[str, httpx.Response]]:
    """Pages, redirects, problems, files, streams and refusals, whoever in control makes them."""
    bearer = {"authorization": f"Bearer {OPERATOR_TOKEN}"}
    for path in ("/", "/account/sign-in", "/nothing", "/api/v1/me", "/api/v1/openapi.json", "/api/v1/nothing"):
        yield path, raw.get(path)
    yield "asset", raw.get(asset_url("app.css"))
    yield "another host", raw.get("/", host="evil.example")
    yield "another page's", raw.get("/", **TENANT)
    yield "wrong method", raw.send("POST", "/api/v1/me", **bearer)
    yield "form without a token", raw.send("POST", "/sign-out")
    yield "too large", raw.http.post("/api/v1/instances", content=b"x" * 3_000_000)
    yield "upload refused", raw.send("POST", "/api/v1/uploads")
    yield "download", raw.get("/api/v1/instances/shop/backups/one.zip/file", **bearer)
    with raw.http.stream("GET", "/api/v1/events", headers=bearer) as stream:
        yield "stream", stream


def test_every_answer_has_every_header(served: Served) -> None:
    make_shop(served)
    for what, answer in every_kind_of_answer(Raw(served.config)):
        for name, value in HEADERS.items():
            if what == "asset" and name == "Cache-Control":
                continue
            assert value in answer.headers[name], (what, name)
        assert "strict-transport-security" not in answer.headers, "over http browsers must not heed it"
        assert "server" not in answer.headers


def test_over_https_every_answer_says_to_stay_there(https: Served) -> None:
    make_shop(https)
    for what, answer in every_kind_of_answer(Raw(https.config, **{"x-forwarded-proto": "https"})):
        assert answer.headers["strict-transport-security"] == "max-age=31536000", what


def test_the_policy_lets_nothing_in(served: Served) -> None:
    policy = dict(part.partition(" ")[::2] for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not [value for value in policy.values() if "unsafe" in value or "*" in value or "http" in value]
    page = Person(served).join().get("/account").text
    assert not re.search(r"<script(?![^>]* src=)(?![^>]*application/json)|<style|\son\w+=|\sstyle=", page)


# cookies


def test_over_https_the_cookie_is_this_hosts_alone(https: Served) -> None:
    raw = Raw(https.config, **{"x-forwarded-proto": "https"})
    cookie = raw.get(https.link()).headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    attributes = {part.strip().lower() for part in rest.split(";")[1:]}
    assert name == SAFE_COOKIE
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
    assert not [each for each in attributes if each.startswith("domain")]


#: Names that a browser lets any subdomain set for the whole domain, and that must not be taken for ours.
ALIKE = [
    b"\xa0__Host-pocketfleet",
    b"__Host-pocketfleet\xa0",
    b"\x85__Host-pocketfleet",
    b"\x85\xa0__Host-pocketfleet\xa0",
    b"__host-pocketfleet",
    b"__HOST-pocketfleet",
    b"pocketfleet_session",
    b"$Version=1; $__Host-pocketfleet",
    b'"__Host-pocketfleet"',
]


def test_a_cookie_of_a_subdomain_is_none_of_ours_however_its_name_looks(https: Served) -> None:
    raw = Raw(https.config, **{"x-forwarded-proto": "https"})
    thiefs, own = raw.key(https, make_person("thief")), raw.key(https)
    mine = f"{SAFE_COOKIE}={own}".encode()
    assert raw.get("/api/v1/me", mine).json()["name"] == "operator"
    for name in ALIKE:
        planted = name + b"=" + thiefs.encode()
        assert raw.get("/api/v1/me", planted).status_code == 401, name
        for both in (mine + b"; " + planted, planted + b"; " + mine):
            assert raw.get("/api/v1/me", both).json()["name"] == "operator", name
        download = raw.get("/api/v1/instances/shop/backups/one.zip/file", planted)
        assert is_problem(download, 401), "files beside Django are no way around it"


def test_of_two_cookies_of_one_name_neither_counts(served: Served) -> None:
    raw = Raw(served.config)
    thiefs, own = raw.key(served, make_person("thief")), raw.key(served)
    mine, planted = f"{COOKIE}={own}", f"{COOKIE}={thiefs}"
    assert raw.get("/api/v1/me", mine).json()["name"] == "operator"
    for both in (f"{mine}; {planted}", f"{planted}; {mine}"):
        assert raw.get("/api/v1/me", both).status_code == 401
        assert raw.get("/", both).headers["location"] == "/account/sign-in"
    for harmless in (f"{mine}; {mine}", f"{COOKIE}=x; {mine}", f'{mine}; {COOKIE}="{thiefs}"', f"a=b; {mine}; c"):
        assert raw.get("/api/v1/me", harmless).json()["name"] == "operator", harmless


def test_a_cookie_that_is_no_key_is_no_cookie(served: Served) -> None:
    raw = Raw(served.config)
    for value in ('"\\000' + "a" * 31 + '"', "%00" * 11, "a" * 4000, "", "A" * 32, "é" * 32):
        assert raw.get("/api/v1/me", f"{COOKIE}={value}".encode()).status_code == 401


# who made the browser ask


#: What else such a page can make a browser do.
LOADS = [
    {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
    {"sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
    {"sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    {"sec-fetch-mode": "navigate", "sec-fetch-dest": "object"},
    {},
]


@pytest.mark.parametrize("site", [TENANT, STRANGE_SITE], ids=["instance", "elsewhere"])
def test_no_page_but_ours_loads_anything_here(served: Served, site: dict[str, str]) -> None:
    make_shop(served)
    raw = Raw(served.config)
    cookie = f"{COOKIE}={raw.key(served)}"
    for what in LOADS:
        for path in ("/", "/api/v1/me", "/api/v1/events", "/live", "/api/v1/instances/shop/backups/one.zip/file"):
            assert raw.get(path, cookie, **site, **what).status_code == 403, (path, what)
        assert raw.get("/api/v1/me", **site, **what, authorization=f"Bearer {OPERATOR_TOKEN}").status_code == 200
    assert not Audit.objects.filter(verb__contains="download").exists()


def test_a_click_elsewhere_leads_here_and_a_form_does_not(served: Served) -> None:
    raw = Raw(served.config)
    cookie = f"{COOKIE}={raw.key(served)}"
    for site in (TENANT, STRANGE_SITE):
        assert raw.get("/", cookie, **site, **GOES).status_code == 200
        assert raw.send("POST", "/sign-out", cookie, **site, **GOES).status_code == 403
    for ours in ("same-origin", "none"):
        assert raw.get("/api/v1/me", cookie, **{"sec-fetch-site": ours, "sec-fetch-mode": "cors"}).status_code == 200


def test_over_https_a_form_comes_from_https(https: Served) -> None:
    raw = Raw(https.config, **{"x-forwarded-proto": "https"})
    cookie = f"{SAFE_COOKIE}={raw.key(https)}"
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', raw.get("/", cookie).text)
    assert token is not None
    csrf = {"x-csrftoken": token[1]}
    for wrong in ("http://fleet.example.org", f"{SAFE_URL}:8443", "https://shop.fleet.example.org", "null"):
        assert raw.send("POST", "/sign-out", cookie, origin=wrong, **csrf).status_code == 403, wrong
    assert raw.send("POST", "/sign-out", cookie, **csrf).status_code == 403, "not even without any Origin"
    assert raw.send("POST", "/sign-out", cookie, referer="http://fleet.example.org/", **csrf).status_code == 403
    assert raw.send("POST", "/sign-out", cookie, origin=SAFE_URL, **csrf).status_code == 303


def test_a_forms_token_is_of_one_session_alone(served: Served) -> None:
    raw = Raw(served.config)
    thiefs, own = (f"{COOKIE}={raw.key(served, user)}" for user in (make_person("thief"), None))
    token = re.search(r'csrfmiddlewaretoken" value="([^"]+)"', raw.get("/", thiefs).text)
    assert token is not None
    here = {"origin": served.config.public_url, "x-csrftoken": token[1]}
    assert raw.send("POST", "/sign-out", own, **here).status_code == 403
    assert raw.send("POST", "/sign-out", thiefs, **here).status_code == 303


# hosts, and where links lead


def test_links_in_mail_lead_to_the_set_address_whatever_a_request_said(served: Served) -> None:
    Person(served).join()
    stranger = Person(served, "192.0.2.7")
    lies = {"host": "localhost", "x-forwarded-host": "evil.example", "x-original-host": "evil.example"}
    stranger.http.headers.update({**lies, "origin": "http://localhost"})
    stranger.post("/account/password/reset", email=ANA)
    assert newest_link(ANA).startswith(f"{served.config.public_url}/account/password/reset/")
    stranger.sign_up("new@example.org")
    assert newest_link("new@example.org").startswith(f"{served.config.public_url}/account/address/verify/")
    for email in (ANA, "new@example.org"):
        assert "evil" not in newest_text(email)


def test_next_is_a_path_of_ours_and_no_address(served: Served) -> None:
    Person(served).join()
    ours = f"{served.config.public_url}/account"
    assert Person(served).post("/account/sign-in", login=ANA, password=PASSWORD, next=ours).headers["location"] == "/"


def test_files_are_to_be_kept_and_never_to_be_shown(served: Served) -> None:
    make_shop(served)
    ana = served.browser()
    kinds = {
        "/instances/shop/logs/file": "text/plain; charset=utf-8",
        "/api/v1/instances/shop/backups/one.zip/file": "application/zip",
    }
    for path, kind in kinds.items():
        answer = ana.http.get(path)
        assert answer.headers["content-type"] == kind
        assert answer.headers["content-disposition"].startswith("attachment; filename=")
        assert answer.headers["x-content-type-options"] == "nosniff"


# links that somebody else may have made


def test_a_link_asks_before_it_takes_somebodys_place(served: Served) -> None:
    ben = served.browser(make_person("ben"))
    trap = served.link(user=make_person("ana"))
    page = ben.http.get(trap)
    assert page.status_code == 200
    assert "Sign in as ana?" in page.text
    assert "signed in here as <strong>ben</strong>" in page.text
    assert ben.http.get("/api/v1/me").json()["name"] == "ben"
    assert ben.http.post(trap).status_code == 403, "only the page's own form goes on"
    tenant = {"origin": "http://shop.localhost:8099"}
    token = {"csrfmiddlewaretoken": ben.csrf()}
    assert ben.http.post(trap, data=token, headers=tenant).status_code == 403
    assert SignInLink.objects.filter(used_at=None).count() == 1, "asking burns nothing"
    before = ben.http.cookies[COOKIE]
    assert ben.post(trap).headers["location"] == "/"
    assert ben.http.get("/api/v1/me").json()["name"] == "ana"
    assert not Session.objects.filter(pk=before).exists()
    assert Audit.objects.filter(actor="ben", verb="sign_out").count() == 1
    assert served.client().get(trap).status_code == 410


def test_a_link_that_another_page_led_to_asks_strangers_too(served: Served) -> None:
    trap = served.link(user=make_person("thief"))
    for site in (TENANT, STRANGE_SITE):
        victim = Person(served)
        page = victim.http.get(trap, headers={**site, **GOES})
        assert "Sign in as thief?" in page.text
        assert not victim.is_in()
    assert victim.post(trap, "/account/sign-in").headers["location"] == "/", "whoever was sent it may say yes"
    typed = Person(served)
    assert typed.http.get(served.link(), headers={"sec-fetch-site": "none", **GOES}).status_code == 302
    again = typed.http.get(served.link(), headers={**STRANGE_SITE, **GOES})
    assert again.status_code == 302, "who is in as the same person already loses nothing"


def test_a_link_of_somebody_else_that_works_no_longer_leaves_everything_as_it_is(served: Served) -> None:
    ben = served.browser(make_person("ben"))
    for dead in (served.link(seconds=-1, user=make_person("ana")), "/sign-in/nonsense"):
        assert ben.http.get(dead).headers["location"] == "/"
        assert ben.post(dead).headers["location"] == "/"
    assert ben.http.get("/api/v1/me").json()["name"] == "ben"


def test_an_invitation_says_whose_it_is_and_waits_for_a_yes_on_our_page(served: Served) -> None:
    mallory, ben = make_person("mallory"), make_person("ben")
    team = teams.create_team("Accounting", acting_user=mallory)
    _, secret = teams.invite(team.id, "somebody@example.org", "owner", acting_user=mallory)
    browser = served.browser(ben)
    page = browser.http.get(f"/invitations/{secret}", headers={**STRANGE_SITE, **GOES}).text
    for words in ("“Accounting”", "mallory", "mallory@example.org", "somebody@example.org", "ben@example.org", "owner"):
        assert words in page, words
    accept = f"/invitations/{secret}/accept"
    assert browser.http.get(accept).status_code == 405
    assert browser.http.post(accept).status_code == 403
    forged = {"csrfmiddlewaretoken": browser.csrf()}
    assert browser.http.post(accept, data=forged, headers={"origin": "http://shop.localhost:8099"}).status_code == 403
    assert not team.memberships.filter(user=ben).exists()
    assert browser.post(accept).headers["location"] == f"/teams/{team.id}"


def test_a_session_has_another_key_after_what_matters(served: Served) -> None:
    ana = Person(served).join()
    before = ana.http.cookies[COOKIE]
    new = "another sentence by now"
    ana.post("/account/password", oldpassword=PASSWORD, password1=new, password2=new)
    assert ana.http.cookies[COOKIE] != before
    assert Raw(served.config).get("/api/v1/me", f"{COOKIE}={before}").status_code == 401
    there = Person(served, "192.0.2.3")
    there.sign_in(password=new)
    fresh = Person(served, "192.0.2.4")
    fresh.post("/account/password/reset", email=ANA)
    third = "a third sentence for her"
    form = str(fresh.get(newest_link(ANA)).url.path)
    assert fresh.post(form, password1=third, password2=third).headers["location"] == "/account/password/reset/done"
    assert not there.is_in()
    assert not ana.is_in()
    assert not fresh.is_in(), "the link sets a password and signs nobody in"


def test_what_instances_are_called_reaches_no_header(served: Served) -> None:
    make_instance("shop")
    answer = served.browser().http.get("/instances/shop/logs/file")
    assert answer.headers["content-disposition"] == 'attachment; filename="shop.log"'
