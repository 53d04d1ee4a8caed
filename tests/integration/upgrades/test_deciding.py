"""How far an upgrade that nobody asked for goes, once its rehearsal has spoken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.domain.policies import Verdict
from pocketfleet.models import Event, Instance, Rehearsal
from pocketfleet.operations import upgrade
from pocketfleet.operations.database import Database
from pocketfleet.operations.plan import ENDS, RESULT, Work
from pocketfleet.rehearsal.report import Finding, Section, Severity
from tests.integration.upgrades import fleets


async def decided(home: Path, database: Database, verdict: Verdict, ran: bool = False, **fields: Any) -> Any:
    """The state in which it ends there; None where it goes on to the switch."""

    def prepare() -> Instance:
        fleets.offer("0.36.8", "0.36.9", "0.40.6")
        return fleets.instance("shop", "latest", "0.36.8", **fields)

    async def report(fraction: float | None, message: str) -> None:
        return None

    shop = await database.call(prepare)
    tools, _ = fleets.tools(home, database)
    result = {"from": "0.36.8", "to": "0.36.9", "verdict": str(verdict), "reasons": []}
    outputs = {"rehearse": {"system_migrations": ran, RESULT: result}}
    params = {"by_itself": True, "accept_changes": False}
    work = Work("operation123456", "upgrade", shop.id, params, outputs, tools, report)
    output = await upgrade.PLAN.steps[upgrade.PLAN.position("decide")].run(work)
    assert output is not None
    assert output[RESULT] == result
    return output.get(ENDS)


@pytest.mark.parametrize(
    ("policy", "verdict", "ran", "ends"),
    [
        ("auto", Verdict.SAFE, True, None),
        ("auto", Verdict.CHANGED, False, "asking"),
        ("schema-safe", Verdict.SAFE, False, None),
        ("schema-safe", Verdict.SAFE, True, "asking"),
        ("ask", Verdict.SAFE, False, "asking"),
        ("off", Verdict.SAFE, False, "cancelled"),
    ],
)
async def test_the_policy_as_it_is_by_then_decides(
    home: Path, database: Database, policy: str, verdict: Verdict, ran: bool, ends: str | None
) -> None:
    assert await decided(home, database, verdict, ran, policy=policy) == ends
    told = [event.kind for event in await database.call(lambda: list(Event.objects.all()))]
    assert told == (["asking"] if ends == "asking" else [])


@pytest.mark.parametrize(("minutes", "ends"), [(-5, None), (60, "cancelled")])
async def test_a_window_that_has_closed_meanwhile_waits_for_the_next(
    home: Path, database: Database, minutes: int, ends: str | None
) -> None:
    opens = datetime.now(UTC) + timedelta(minutes=minutes)
    window = {"from": f"{opens:%H:%M}", "to": f"{opens + timedelta(minutes=30):%H:%M}", "zone": "UTC"}
    assert await decided(home, database, Verdict.SAFE, policy="auto", window=window) == ends


def finding(text: str, where: str, **detail: Any) -> Finding:
    """Something that a person must look at."""
    return Finding(Severity.BREAKS, Section.RECORDS, text, where, detail=detail)


@pytest.mark.parametrize(
    ("seen", "found", "new"),
    [
        (None, ["posts holds 12 of them"], None),
        (["posts holds 12 of them"], ["posts holds 3000 of them"], None),
        (["posts holds 12 of them", "b"], ["b"], None),
        (["posts holds 12 of them"], ["posts holds 12 of them", "b"], ["b"]),
        ([], ["b"], ["b"]),
    ],
)
async def test_what_is_accepted_is_what_was_seen(
    home: Path, database: Database, seen: list[str] | None, found: list[str], new: list[str] | None
) -> None:
    def prepare() -> tuple[str, str, str]:
        fleets.offer("0.36.8", "0.36.9")
        shop = fleets.instance("shop", "latest", "0.36.8")
        ids = []
        for texts in (seen, found):
            reasons = [finding(text, "posts").as_json() for text in texts or []]
            row = {"from_release": "0.36.8", "to_release": "0.36.9", "verdict": "changed", "operation_id": "x"}
            ids.append(Rehearsal.objects.create(instance=shop, report={"reasons": reasons}, **row).id)
        return shop.id, ids[0], ids[1]

    async def report(fraction: float | None, message: str) -> None:
        return None

    shop, accepted, rehearsal = await database.call(prepare)
    tools, _ = fleets.tools(home, database)
    result = {"from": "0.36.8", "to": "0.36.9", "verdict": "changed", "reasons": found, "rehearsal": rehearsal}
    params = {"accept_changes": True, "accepted": "" if seen is None else accepted}
    work = Work("operation123456", "upgrade", shop, params, {"rehearse": {RESULT: result}}, tools, report)
    output = await upgrade.PLAN.steps[upgrade.PLAN.position("decide")].run(work)
    assert output is not None
    assert output.get(ENDS) == (None if new is None else "asking")
    assert output[RESULT].get("new_reasons") == new
