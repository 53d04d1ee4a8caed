"""The pages without a browser: signing in, forms, static files, and how much they ask of the database."""

from __future__ import annotations

import gzip
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib.sessions.models import Session
from django.db.backends.utils import CursorWrapper

from pocketfleet.actions import sign_in
from pocketfleet.models import Audit, Instance, Operation, SignInLink
from tests.integration.web.served import Served, make_instance, make_many


@contextmanager
def queries() -> Iterator[list[str]]:
    """Every statement of every thread, transactions left out."""
    seen: list[str] = []
    original = CursorWrapper.execute

    def execute(self: CursorWrapper, sql: str, params: object = None) -> object:
        seen.append(sql)
        return original(self, sql, params)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CursorWrapper, "execute", execute)
        yield seen


def test_the_page_asks_the_same_of_the_database_for_10_and_for_500(served: Served) -> None:
    browser = served.browser()
    browser.http.get("/")
    make_instance("creating", state="creating")
    make_many(10)
    with queries() as few:
        assert "many-0009" in browser.http.get("/").text
    Instance.objects.filter(id__startswith="many").delete()
    make_many(500)
    with queries() as many:
        assert "501 instances" in browser.http.get("/").text
    assert len(few) == len(many) <= 11, "\n".join(many)


def test_the_list_of_the_api_is_one_query_besides_the_caller(served: Served) -> None:
    make_many(300)
    make_instance("creating", state="creating")
    token = served.operator.post("/api/v1/tokens", json={"name": "laptop"}).json()["token"]
    client = served.client(authorization=f"Bearer {token}")
    client.get("/api/v1/me")
    with queries() as asked:
        answer = client.get("/api/v1/instances?limit=1000").json()
    assert answer["total"] == len(answer["items"]) == 301
    assert len(asked) == 2, "\n".join(asked)


def test_the_list_is_paged_and_searched(served: Served) -> None:
    make_many(25)
    shop = make_instance("shop", state="creating")

    def names(query: str) -> tuple[list[str], int]:
        answer = served.operator.get(f"/api/v1/instances?{query}").json()
        return [item["name"] for item in answer["items"]], answer["total"]

    assert names("limit=2&offset=1") == (["many-0001", "many-0002"], 26)
    assert names("limit=2&offset=25") == (["shop"], 26)
    assert names("limit=2&offset=26") == ([], 26)
    assert names("search=HO") == (["shop"], 1)
    assert names(f"search={shop.id[:6]}") == (["shop"], 1)
    assert names("search=%25") == ([], 0), "a percent sign is no wildcard"
    assert names("search=many_00") == ([], 0), "neither is an underscore"
    row = served.operator.get("/api/v1/instances?search=shop").json()["items"][0]
    assert row["operation"] == {"id": shop.operations.get().id, "kind": "create", "state": "pending"}


def test_a_link_signs_in_once(served: Served) -> None:
    path = served.link()
    first, second = served.client(), served.client()
    answer = first.get(path)
    assert answer.status_code == 302
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "domain" not in cookie.lower(), "host-only, so that it is never sent to an instance"
    assert first.get("/").status_code == 200
    burnt = second.get(path)
    assert burnt.status_code == 410
    assert "used already" in burnt.text
    assert "pocketfleet open" in burnt.text
    assert "set-cookie" not in burnt.headers
    assert second.get("/").headers["location"] == "/account/sign-in"
    assert first.get(path).headers["location"] == "/", "who is in already is not bothered"


def test_two_that_open_a_link_at_the_same_time_do_not_both_get_in(served: Served) -> None:
    path = served.link()
    statuses: list[int] = []
    gate = threading.Barrier(8)

    def open_it() -> None:
        with served.client() as client:
            gate.wait()
            statuses.append(client.get(path).status_code)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [302] + [410] * 7


def test_a_browser_that_only_guesses_does_not_burn_the_link(served: Served) -> None:
    path = served.link()
    client = served.client()
    assert client.get(path, headers={"sec-purpose": "prefetch;prerender"}).status_code == 503
    assert client.head(path).status_code == 405
    assert client.get(path).status_code == 302


def test_old_and_unknown_links_say_what_to_do(served: Served) -> None:
    for path, words in (
        (served.link(seconds=-1), "too old"),
        ("/sign-in/nonsense", "not known"),
        ("/sign-in/%00", "not known"),
    ):
        answer = served.stranger.get(path)
        assert answer.status_code == 410
        assert words in answer.text
        assert "pocketfleet open" in answer.text


def test_signing_in_begins_a_new_session(served: Served) -> None:
    client = served.client()
    client.cookies.set("pocketfleet_session", "planted0000000000000000000000000", domain="localhost.local")
    client.get(served.link())
    planted = served.client(cookie="pocketfleet_session=planted0000000000000000000000000")
    assert planted.get("/").headers["location"] == "/account/sign-in"
    assert Session.objects.count() == 1


def test_links_and_tokens_are_kept_as_hashes_only(served: Served) -> None:
    secret = served.link().removeprefix("/sign-in/")
    token = served.operator.post("/api/v1/tokens", json={"name": "laptop"}).json()["token"]
    served.client(authorization=f"Bearer {token}").get("/api/v1/me")
    dump = "\n".join(sqlite3.connect(served.config.sqlite_file).iterdump())
    assert SignInLink.objects.count() == 1
    assert secret not in dump
    assert token not in dump
    assert Audit.objects.filter(verb="create_token", actor="operator").count() == 1


def test_the_api_makes_links_for_whoever_asks(served: Served) -> None:
    link = served.operator.post("/api/v1/sign-in-links").json()["link"]
    assert link.startswith(served.config.public_url + "/sign-in/")
    client = served.client()
    assert client.get(link.removeprefix(served.config.public_url)).status_code == 302
    assert client.get("/").status_code == 200


def test_signing_out_ends_the_session(served: Served) -> None:
    browser = served.browser()
    assert browser.http.post("/sign-out").status_code == 403
    assert browser.post("/sign-out").status_code == 303
    assert browser.http.get("/").headers["location"] == "/account/sign-in"
    assert Session.objects.count() == 0


def test_pages_are_for_those_who_are_signed_in(served: Served) -> None:
    shop = make_instance("shop")
    for path, sign_in_path in (
        ("/", "/account/sign-in"),
        ("/ranges?range=latest", "/account/sign-in?next=%2Franges%3Frange%3Dlatest"),
    ):
        assert served.stranger.get(path).headers["location"] == sign_in_path
        # a token opens the API and nothing else: forms trust the session
        assert served.operator.get(path).headers["location"] == sign_in_path
    assert served.stranger.get("/live").status_code == 401
    for path in ("/new/create", f"/instances/{shop.id}/power", f"/instances/{shop.id}/sleep", "/releases/refresh"):
        for client in (served.stranger, served.operator):
            assert client.post(path).status_code == 403
    fragment = served.stranger.get("/", headers={"hx-request": "true", "hx-target": "live"})
    assert fragment.status_code == 401
    assert fragment.headers["hx-redirect"] == "/account/sign-in"
    assert Operation.objects.filter(state="pending").count() == 0


def test_forms_need_the_pages_own_token(served: Served) -> None:
    shop = make_instance("shop")
    browser = served.browser()
    token = browser.csrf()
    assert "too old, or did not come" in browser.http.post(f"/instances/{shop.id}/power", data={"power": "off"}).text
    tenant = {"origin": "http://shop.localhost:8099"}
    fields = {"csrfmiddlewaretoken": token, "power": "off"}
    assert browser.http.post(f"/instances/{shop.id}/power", data=fields, headers=tenant).status_code == 403
    shop.refresh_from_db()
    assert shop.power == "on"
    assert browser.http.post(f"/instances/{shop.id}/power", data=fields).status_code == 303


def test_no_cookie_is_set_for_strangers(served: Served) -> None:
    for path in ("/", "/sign-in", "/nothing", "/api/v1/me"):
        assert "set-cookie" not in served.stranger.get(path).headers


def test_static_files_may_be_kept_for_ever_and_nothing_else_is_served(served: Served) -> None:
    page = served.stranger.get("/account/sign-in").text
    addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(set(addresses)) == 7
    for address in addresses:
        answer = served.stranger.get(address, headers={"accept-encoding": "identity"})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        packed = served.stranger.build_request("GET", address, headers={"accept-encoding": "gzip"})
        raw = served.stranger.send(packed, stream=True)
        assert gzip.decompress(b"".join(raw.iter_raw())) == answer.content
        raw.close()
    for path in ("/static/app.js", "/static/../settings.py", "/static/..%2fsettings.py", "/static/app.000000000000.js"):
        assert served.stranger.get(path).status_code == 404
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page
    assert "<style" not in page
    assert " style=" not in page
    assert "onclick" not in page


def test_what_tenants_write_is_only_text(served: Served) -> None:
    make_instance("shop", state="failing", reason='<img src=x onerror="alert(1)">\n</pre><script>alert(2)</script>')
    page = served.browser().http.get("/?q=%3Cscript%3Esho").text
    assert "&lt;script&gt;sho" in page
    assert "<script>sho" not in page
    page = served.browser().http.get("/").text
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    assert "<script>alert" not in page


def test_errors_are_pages_for_people(served: Served) -> None:
    browser = served.browser()
    assert "There is nothing at /nothing" in browser.http.get("/nothing").text
    assert browser.http.get("/new/create").status_code == 405
    assert "go back to the page" in browser.http.get("/new/create").text
    missing = browser.post("/instances/nothing/power", power="off")
    assert missing.status_code == 404
    assert "There is no instance" in missing.text
    assert sign_in.find_operator() is not None


def test_an_unexpected_error_shows_nothing_of_the_inside(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from pocketfleet.web import reading

    def broken(*args: object, **kwargs: object) -> object:
        raise RuntimeError("secret inside")

    browser = served.browser()
    monkeypatch.setattr(reading, "instances", broken)
    for answer in (served.operator.get("/api/v1/instances"), browser.http.get("/")):
        assert answer.status_code == 500
        assert "control.log" in answer.text
        assert "secret inside" not in answer.text
        assert "Traceback" not in answer.text
    assert served.operator.get("/api/v1/instances").headers["content-type"] == "application/problem+json"
