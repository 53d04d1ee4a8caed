"""Nothing lost: the whole fleet under load while everything of ours and of PocketBase is killed, and worse."""

from __future__ import annotations

import os
import time

import pytest

from tests.soak.schedules import FAULTS, WORK
from tests.soak.soaking import Length, Summary, prepared


def _soaked(seconds: float, instances: int, clients: int, seed: int, pause: float = 0.02) -> Summary:
    length = Length(
        float(os.environ.get("POCKETFLEET_SOAK_SECONDS", seconds)),
        int(os.environ.get("POCKETFLEET_SOAK_INSTANCES", instances)),
        clients,
        int(os.environ.get("POCKETFLEET_SOAK_SEED", seed)),
        pause,
    )
    print(f"POCKETFLEET_SOAK_SEED={length.seed}", flush=True)
    with prepared(length) as soak:
        try:
            return soak.run()
        finally:
            print(soak.summary, soak.server.said(), soak.server.diagnosis(), sep="\n", flush=True)


@pytest.mark.timeout(600)
def test_a_minute_of_everything() -> None:
    summary = _soaked(60, 12, 4, 20261125, pause=0.05)
    assert not summary.troubles, summary
    assert summary.writes["read back"] > 200, summary
    began = {name.partition(":")[0] for name, count in summary.operations.items() if count}
    assert began >= set(WORK), summary
    went_back = sum(summary.operations[f"{kind}: succeeded"] for kind in ("restore", "rollback"))
    assert went_back, summary
    missing = {kind for kind in FAULTS if not any(kind in name for name, count in summary.faults.items() if count)}
    assert missing <= {"disk" if "disk" in text else "clock" for text in summary.without}, summary


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_an_hour_of_everything() -> None:
    summary = _soaked(3600, 100, 8, int(time.time()))
    assert not summary.troubles, summary
