"""What one listener may keep waiting for it."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from django.db import OperationalError

from pocketfleet.web.hub import PENDING, Changed, Feed, _queried


def everything(_: Changed) -> bool:
    return True


async def test_a_thing_that_changed_often_is_told_once() -> None:
    feed = Feed(everything)
    for _ in range(100):
        feed.put(Changed("instance", "a"))
    feed.put(Changed("operation", "a"))
    assert await feed.take(1) == [Changed("instance", "a"), Changed("operation", "a")]
    assert not feed.missed


async def test_taking_waits_for_something_and_not_for_ever() -> None:
    feed = Feed(everything)
    assert await feed.take(0.01) == []
    asyncio.get_running_loop().call_later(0.01, feed.put, Changed("instance", "b"))
    assert await feed.take(5) == [Changed("instance", "b")]
    assert await feed.take(0.01) == []


async def test_only_what_is_wanted_is_kept() -> None:
    feed = Feed(lambda change: change.key == "mine")
    feed.put(Changed("instance", "other"))
    feed.put(Changed("instance", "mine"))
    assert await feed.take(1) == [Changed("instance", "mine")]


async def test_a_slow_listener_is_told_that_it_missed_some() -> None:
    feed = Feed(everything)
    for number in range(3 * PENDING + 5):
        feed.put(Changed("instance", str(number)))
    assert feed.missed
    assert len(await feed.take(1)) <= PENDING


async def test_a_closed_feed_lets_go_at_once_and_always() -> None:
    feed = Feed(everything)
    waiting = asyncio.ensure_future(feed.take(30))
    await asyncio.sleep(0)
    feed.close()
    assert await asyncio.wait_for(waiting, 5) == []
    assert await asyncio.wait_for(feed.take(30), 5) == []
    assert feed.closed


class _HungUp:
    """A connection whose server hung up."""

    def __init__(self, vendor: str) -> None:
        self.vendor = vendor
        self.open = True

    def close(self) -> None:
        self.open = False


@pytest.mark.parametrize(("vendor", "answered"), [("postgresql", True), ("sqlite", False)])
def test_a_server_that_hung_up_is_asked_again(vendor: str, answered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = _HungUp(vendor)
    monkeypatch.setattr("django.db.connection", connection)

    def query() -> int:
        if connection.open:
            raise OperationalError("server closed the connection unexpectedly")
        return 7

    with contextlib.nullcontext() if answered else pytest.raises(OperationalError):
        assert _queried(query) == 7
