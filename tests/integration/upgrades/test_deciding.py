"""How far an upgrade that nobody asked for goes, once its rehearsal has spoken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.domain.policies import Verdict
from pocketfleet.models import Event, Instance
from pocketfleet.operations import upgrade
from pocketfleet.operations.database import Database
from pocketfleet.operations.plan import ENDS, RESULT, Work
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
