"""What a page says of following is what node does: prospect against next_step, over everything that may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from pocketfleet.domain.following import PATIENCE, TRY_AGAIN, Behind, Next, next_step
from pocketfleet.domain.outlook import Outlook, Prospect, prospect
from pocketfleet.domain.policies import Policy, Verdict
from pocketfleet.domain.windows import Window

#: a Monday
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OPEN = Window.parse({"from": "11:00", "to": "13:00"})
CLOSED = Window.parse({"from": "02:00", "to": "05:00", "days": [2], "zone": "Europe/Vienna"})
WANTED = {
    Outlook.OFF: {Next.WAIT},
    Outlook.REFUSED: {Next.IF_CHANGED, Next.WAIT},
    Outlook.BROKEN: {Next.IF_CHANGED, Next.WAIT},
    Outlook.ASKS: {Next.IF_CHANGED, Next.WAIT},
    Outlook.AGAIN: {Next.WAIT},
    Outlook.WINDOW: {Next.WAIT},
    Outlook.QUIET: {Next.WAIT},
    Outlook.REHEARSES: {Next.GO},
    Outlook.UPGRADES: {Next.GO},
}


def all_that_may_be() -> list[Behind]:
    return [
        Behind(policy, window, asleep, always, NOW - age, verdict, boundary, refused, failed)
        for policy, window, (asleep, always), age, verdict, boundary, refused, failed in product(
            Policy,
            (None, OPEN, CLOSED),
            ((True, False), (False, False), (False, True)),
            (timedelta(hours=1), 2 * PATIENCE),
            (None, *Verdict),
            (False, True),
            (False, True),
            (None, NOW - timedelta(hours=1), NOW - timedelta(hours=3), NOW - 2 * TRY_AGAIN),
        )
    ]


def test_the_page_says_what_node_does() -> None:
    seen = set()
    for behind in all_that_may_be():
        said = prospect(behind, NOW)
        seen.add(said.kind)
        assert next_step(behind, NOW) in WANTED[said.kind], (behind, said)
        assert (said.at is not None) == (said.kind in (Outlook.AGAIN, Outlook.WINDOW, Outlook.QUIET))
    assert seen == set(Outlook)


def test_whoever_waits_goes_on_at_the_moment_that_was_told() -> None:
    for behind in all_that_may_be():
        said = prospect(behind, NOW)
        if said.at is not None:
            assert next_step(behind, said.at) is Next.GO, (behind, said)
            assert next_step(behind, said.at - timedelta(seconds=1)) is Next.WAIT


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (
            Behind(Policy.AUTO, CLOSED, True, False, NOW),
            Prospect(Outlook.WINDOW, datetime(2026, 11, 25, 1, 0, tzinfo=UTC)),
        ),
        (Behind(Policy.AUTO, None, False, False, NOW), Prospect(Outlook.QUIET, NOW + PATIENCE)),
        (Behind(Policy.ASK, CLOSED, False, False, NOW), Prospect(Outlook.REHEARSES)),
        (Behind(Policy.AUTO, OPEN, False, False, NOW, Verdict.CHANGED), Prospect(Outlook.ASKS)),
    ],
)
def test_what_is_said(behind: Behind, said: Prospect) -> None:
    assert prospect(behind, NOW) == said
