"""A rehearsal ends in time, can be called off at any moment, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.domain.policies import Verdict
from pocketfleet.errors import DiskTrouble, RehearsalFailed
from pocketfleet.rehearsal import room_left, sandbox
from pocketfleet.rehearsal.clone import Release
from pocketfleet.rehearsal.report import Section
from pocketfleet.rehearsal.run import Limits, Request, rehearse
from pocketfleet.runtime import file_copying
from pocketfleet.runtime.confines import Confines
from tests.integration.rehearsal.conftest import Rehearse, Shop
from tests.integration.rehearsal.test_sandbox import gone
from tests.pocketbases import executable

#: Writes 400 MB while it starts.
FILLING = """
onBootstrap((e) => {
  e.next()
  for (let i = 0; i < 400; i++) $os.writeFile(`pb_data/junk${i}`, "x".repeat(1000000), 0o600)
})
"""
SLOW = """
routerAdd("GET", "/slow", (e) => { sleep(60000); return e.json(200, {}) })
routerAdd("GET", "/fast", (e) => e.json(200, {}))
"""


async def silent(_: float | None, __: str) -> None:
    """Nobody listens."""


def request(data: Path, home: Path, **limits: Any) -> Request:
    """From 0.36.9 to 0.40.6."""
    old, new = (Release(version, executable(version)) for version in ("0.36.9", "0.40.6"))
    return Request(data, home / "work", old, new, secrets={}, limits=Limits(**limits))


async def test_in_time_or_not_at_all(shop: Shop, home: Path) -> None:
    with pytest.raises(RehearsalFailed, match="longer than 1 s"):
        await rehearse(request(shop("0.36.9"), home, seconds=1.0), silent)
    assert not (home / "work").exists()
    assert gone(home)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
async def test_called_off_it_leaves_nothing(shop: Shop, home: Path, share: float) -> None:
    reached = asyncio.Event()

    async def tell(fraction: float | None, _: str) -> None:
        if (fraction or 0) >= share:
            reached.set()

    rehearsal = asyncio.create_task(rehearse(request(shop("0.36.9"), home), tell))
    if share:
        await asyncio.wait(
            {rehearsal, asyncio.create_task(reached.wait())}, timeout=60, return_when=asyncio.FIRST_COMPLETED
        )
        assert reached.is_set()
    else:
        await asyncio.sleep(0.05)
    rehearsal.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rehearsal
    assert not (home / "work").exists()
    assert gone(home)


async def test_a_clone_that_fills_the_disk_ends_it(
    spoilt: Callable[[str], Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_left, "_EVERY", 0.05)
    monkeypatch.setattr(room_left, "_TIMES", 1)
    data = spoilt("0.36.9")
    (data / "pb_hooks" / "main.pb.js").write_text(FILLING)
    with pytest.raises(RehearsalFailed, match="that they may have"):
        await rehearse(replace(request(data, home), storage=10_000_000), silent)
    assert not (home / "work").exists()
    assert gone(home)
    # where no limit is set, what others need is left to them
    monkeypatch.setattr(file_copying, "RESERVE", 10**15)
    with pytest.raises(DiskTrouble, match="nearly full"):
        await rehearse(request(data, home), silent)
    assert not (home / "work").exists()


async def test_a_route_that_hangs_is_left_out_and_said(
    spoilt: Callable[[str], Path], rehearsed: Rehearse, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = spoilt("0.36.9")
    (data / "pb_hooks" / "main.pb.js").write_text(SLOW)
    report = await rehearsed(data, "0.36.9", "0.40.6")
    assert any("GET /slow" in text and "too long" in text for text in report.not_covered)
    # what nobody could ask cannot be vouched for
    assert report.verdict is Verdict.CHANGED
    assert any("/slow" in reason.text and "/fast" not in reason.text for reason in report.reasons)
    assert report.took_ms < 60_000


async def test_what_holds_instances_holds_clones_or_there_are_none(
    shop: Shop, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "available", lambda _: (False, "No namespaces here."))
    held = Confines((), (), Path("/nowhere"), 2_000_000_000, {}, lambda: "")
    with pytest.raises(RehearsalFailed, match="No namespaces here"):
        await rehearse(replace(request(shop("0.36.9"), home), confines=held), silent)
    assert not (home / "work").exists()


async def test_without_a_sandbox_it_is_never_safe(
    shop: Shop, rehearsed: Rehearse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "available", lambda _: (False, "No namespaces here."))
    report = await rehearsed(shop("0.36.9 with hooks"), "0.36.9", "0.40.6")
    assert not report.sandboxed
    assert report.verdict is Verdict.CHANGED
    assert ["No namespaces here." in reason.text for reason in report.reasons] == [True]
    # mail and web requests are led to us all the same
    assert {one["kind"] for one in report.sections[Section.ATTEMPTS].facts["attempts"]} == {"mail", "web"}
