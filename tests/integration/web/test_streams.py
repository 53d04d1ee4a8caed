"""Event streams and waiting: woken by the bell, ended with the client or the process, never growing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.db import transaction

from pocketfleet.actions import instances, observations, operations
from pocketfleet.actions.records import changed
from pocketfleet.domain.states import OperationState, StepState
from pocketfleet.logs import InstanceLog
from pocketfleet.models import Change
from pocketfleet.web import open_streams, streams
from pocketfleet.web.hub import PENDING
from tests.integration.web.served import Served, make_instance, make_many, make_person, show_process

API = "/api/v1"


@contextlib.contextmanager
def events(client: httpx.Client, path: str) -> Iterator[Iterator[tuple[str, Any]]]:
    """The events of a stream as (name, data); the stream is open when this begins."""
    with client.stream("GET", path) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        yield parsed(answer)


def parsed(answer: httpx.Response) -> Iterator[tuple[str, Any]]:
    """(name, data) of each event; comments are (":", text)."""
    name = ""
    for line in answer.iter_lines():
        if line.startswith(":"):
            yield ":", line
        elif line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def until(condition: Any, seconds: float = 10) -> None:
    """Wait for something that no event tells."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def in_a_moment(act: Any) -> threading.Thread:
    """Do it in a thread of its own, with a database connection of its own, after the client had time to ask."""

    def later() -> None:
        from django.db import connection

        time.sleep(0.2)
        act()
        connection.close()

    thread = threading.Thread(target=later)
    thread.start()
    return thread


def test_an_operation_is_followed_to_its_end(served: Served) -> None:
    work = make_instance("shop", state="creating").operations.get()
    with events(served.operator, f"{API}/operations/{work.id}/events") as stream:
        name, first = next(stream)
        assert (name, first["state"], first["steps"]) == ("operation", "pending", [])
        operations.move_operation(work.id, OperationState.RUNNING)
        assert next(stream)[1]["state"] == "running"
        operations.move_step(work.id, "fetch", StepState.RUNNING)
        operations.report_progress(work.id, "fetch", 0.5, "half way")
        shown = next(stream)[1]["steps"][0]
        while shown["progress"] is None:
            shown = next(stream)[1]["steps"][0]
        assert (shown["name"], shown["progress"], shown["message"]) == ("fetch", 0.5, "half way")
        operations.move_operation(work.id, OperationState.FAILED, error={"code": "disk_trouble", "detail": "full"})
        rest = list(stream)
        assert rest[-1][1]["state"] == "failed"
        assert rest[-1][1]["error"]["detail"] == "full"
        assert "password_hash" not in json.dumps(rest)
    with events(served.operator, f"{API}/operations/{work.id}/events") as stream:
        assert [data["state"] for _, data in stream] == ["failed"], "a finished one is told once"


def test_changes_are_told_to_everybody_and_read_once(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        clients = [served.client(authorization=served.operator.headers["authorization"]) for _ in range(5)]
        opened = [stack.enter_context(events(client, f"{API}/events")) for client in clients]
        assert [next(stream)[0] for stream in opened] == ["hello"] * 5
        shop = make_instance("shop", state="creating")
        for stream in opened:
            told = [next(stream), next(stream)]
            assert ("change", {"kind": "instance", "key": shop.id}) in told
            assert ("change", {"kind": "operation", "key": shop.operations.get().id}) in told


def test_a_log_is_followed_across_rotation(served: Served) -> None:
    shop = make_instance("shop")
    log = InstanceLog(served.config.logs / shop.id, 2000, 3)
    for number in range(3):
        log.append("stdout", f"early {number}")
    answer = served.operator.get(f"{API}/instances/shop/logs?tail=2").json()
    assert [item["text"] for item in answer["items"]] == ["early 1", "early 2"]
    with events(served.operator, f"{API}/instances/{shop.id}/logs/events?tail=1") as stream:
        assert next(stream)[0] == "hello"
        assert next(stream)[1]["text"] == "early 2"
        for number in range(100):
            log.append("stderr", f"late {number}")
        lines = [next(stream) for _ in range(100)]
    assert [(name, line["stream"], line["text"]) for name, line in lines] == [
        ("line", "stderr", f"late {number}") for number in range(100)
    ]
    assert served.operator.get(f"{API}/instances/blank/logs").status_code == 404


def test_a_change_waits_until_node_has_seen_to_it(served: Served) -> None:
    shop = make_instance("shop")
    began = time.monotonic()
    thread = in_a_moment(lambda: observations.record_observed({shop.id: shop.generation + 1}))
    answer = served.operator.patch(f"{API}/instances/shop?wait=15", json={"power": "off"}).json()
    thread.join()
    assert answer["state"] == "off"
    assert answer["observed_generation"] == answer["generation"] == shop.generation + 1
    assert time.monotonic() - began < 10
    late = served.operator.patch(f"{API}/instances/shop?wait=0.2", json={"dev": True}).json()
    assert late["observed_generation"] < late["generation"], "the wait is bounded, and says how things are"
    assert served.operator.patch(f"{API}/instances/shop?wait=600", json={"dev": True}).status_code == 422


def test_secrets_wait_too(served: Served) -> None:
    shop = make_instance("shop")
    thread = in_a_moment(lambda: observations.record_observed({shop.id: 99}))
    answer = served.operator.patch(f"{API}/instances/shop/secrets?wait=15", json={"KEY": "value", "B": "x"}).json()
    thread.join()
    assert answer == {"items": [{"name": "B"}, {"name": "KEY"}]}
    assert served.operator.patch(f"{API}/instances/shop/secrets", json={"KEY": None}).json() == {
        "items": [{"name": "B"}]
    }


def test_an_instance_that_goes_while_somebody_waits(served: Served) -> None:
    shop = make_instance("shop")
    thread = in_a_moment(lambda: observations.mark_deleted(shop.id))
    answer = served.operator.patch(f"{API}/instances/shop?wait=15", json={"power": "off"})
    thread.join()
    assert answer.status_code == 200


def test_a_client_that_goes_ends_its_stream(served: Served) -> None:
    hub = served.server._hub
    with contextlib.ExitStack() as stack:
        clients = [served.client(authorization=served.operator.headers["authorization"]) for _ in range(3)]
        opened = [stack.enter_context(events(client, f"{API}/events")) for client in clients]
        assert [next(stream)[0] for stream in opened] == ["hello"] * 3
        assert (hub.streams.count, hub.listeners) == (3, 3)
    until(lambda: (hub.streams.count, hub.listeners) == (0, 0))


def test_silence_is_filled_with_comments(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE", 0.1)
    make_instance("shop")
    for path in (f"{API}/events", f"{API}/instances/shop/logs/events"):
        with events(served.operator, path) as stream:
            assert next(stream)[0] == "hello"
            assert next(stream)[0] == ":"
            assert next(stream)[0] == ":"


def test_there_is_a_limit_to_open_streams(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_streams, "STREAMS", 1)
    with events(served.operator, f"{API}/events") as stream:
        next(stream)
        other = served.client(authorization=served.operator.headers["authorization"])
        refused = other.get(f"{API}/events")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "10"
        assert refused.json()["code"] == "too_many_streams"


def test_one_person_does_not_take_them_all(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_streams, "PER_WAY_IN", 1)
    monkeypatch.setattr(open_streams, "PER_PERSON", 2)
    ana, ben = make_person("ana"), make_person("ben")
    first, second, third = (served.bearer(ana) for _ in range(3))
    with events(first, f"{API}/events") as one, events(second, f"{API}/events") as two:
        next(one)
        next(two)
        again = served.client(authorization=second.headers["authorization"])
        for refused in (again.get(f"{API}/events"), third.get(f"{API}/events"), served.browser(ana).http.get("/live")):
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_own_streams")
            assert refused.headers["retry-after"] == "10"
        with events(served.bearer(ben), f"{API}/events") as other:
            assert next(other)[0] == "hello"
    until(lambda: served.server._hub.streams.count == 0)
    with events(third, f"{API}/events") as after:
        assert next(after)[0] == "hello"


def test_a_page_is_told_to_look_again_and_gets_nothing_twice(served: Served) -> None:
    browser = served.browser()
    shop = make_instance("shop")
    follower = served.browser()
    with events(follower.http, "/live") as stream:
        assert next(stream) == ("hello", None)
        htmx = {"hx-request": "true", "hx-target": "live"}
        fragment = browser.http.get("/", headers=htmx).text
        assert "<html" not in fragment
        again = fragment.partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")
        assert browser.http.get(again, headers=htmx).status_code == 204
        for process in ("waking", "awake") * 20:
            show_process(shop.id, process)
        assert next(stream)[0] == "change"
        changed_fragment = browser.http.get(again, headers=htmx)
        assert changed_fragment.status_code == 200
        assert "pill awake" in changed_fragment.text or "pill waking" in changed_fragment.text


def test_a_slow_client_cannot_make_us_remember_everything(served: Served) -> None:
    """It stops reading; more changes than are kept for anybody; the others still hear of every one."""
    make_many(10)
    slow = served.client(authorization=served.operator.headers["authorization"])
    with events(slow, f"{API}/events") as stuck, events(served.operator, f"{API}/events") as quick:
        next(stuck)
        next(quick)
        heard = threading.Thread(target=_read_until, args=(quick, "last"))
        heard.start()
        for batch in range(8):
            with transaction.atomic():
                changed("instance", *(f"{'x' * 60}{batch}-{number}" for number in range(1000)))
        changed("instance", "last")
        heard.join(60)
        assert not heard.is_alive()
        feeds = list(served.server._hub._feeds)
        assert max(len(feed._pending) for feed in feeds) <= PENDING
        told = {name for name, data in _until_last(stuck)}
        assert told >= {"change"}
    assert Change.objects.count() > 8_000


def _read_until(stream: Iterator[tuple[str, Any]], key: str) -> None:
    for _, data in stream:
        if data and data["key"] == key:
            return


def _until_last(stream: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, data in stream:
        yield name, data
        if data and data["key"] == "last":
            return


def test_sigterm_ends_a_control_with_open_streams_quickly(served: Served) -> None:
    """The real process: a socket of mode 0600 in place of a stale one, streams ended, exit code 0."""
    config = served.config
    served.stop()
    assert config.control_socket.exists(), "the stale socket of the one that ended"
    environment = {**os.environ, **config.environment()}
    process = subprocess.Popen([sys.executable, "-m", "pocketfleet.control"], env=environment)
    try:
        client = served.client(authorization=served.operator.headers["authorization"])
        until(lambda: _answers(client), 20)
        assert config.control_socket.stat().st_mode & 0o777 == 0o600
        shop = make_instance("shop")
        others = served.client(authorization=served.operator.headers["authorization"])
        with events(client, f"{API}/events") as stream, events(others, f"{API}/instances/shop/logs/events") as lines:
            next(stream)
            next(lines)
            instances.set_power(shop.id, "off", acting_user=None)
            assert next(stream)[0] == "change"
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert time.monotonic() - began < 2.5
            with contextlib.suppress(httpx.HTTPError):
                list(stream)
    finally:
        process.kill()
        process.wait()
    log = (config.logs / "control.log").read_text()
    assert "control serves at" in log
    assert "control ended" in log
    assert "Traceback" not in log


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get(f"{API}/me").status_code == 200
    except httpx.HTTPError:
        return False
