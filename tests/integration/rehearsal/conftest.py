"""Shops built once for all workers of a run, and rehearsals over them."""

from __future__ import annotations

import fcntl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.rehearsal.clone import Release
from pocketfleet.rehearsal.report import Report
from pocketfleet.rehearsal.run import Request, rehearse
from tests.integration.rehearsal import datasets
from tests.pocketbases import executable

#: release, hooks, key of the settings
_KINDS = {
    "0.22.27": ("0.22.27", "", ""),
    "0.22.27 with hooks": ("0.22.27", datasets.OLD_HOOKS, ""),
    "0.22.27 encrypted": ("0.22.27", "", datasets.KEY),
    "0.30.4": ("0.30.4", "", ""),
    "0.36.9": ("0.36.9", "", ""),
    "0.36.9 with hooks": ("0.36.9", datasets.NEW_HOOKS, ""),
    "0.36.9 encrypted": ("0.36.9", "", datasets.KEY),
}

Shop = Callable[[str], Path]
Rehearse = Callable[..., Awaitable[Report]]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The data folder of a kind of shop; nobody may write to it."""
    base = tmp_path_factory.getbasetemp()
    # with several workers each has a folder of its own below one of the run
    shared = (base.parent if base.name.startswith("popen-") else base) / "shops"
    shared.mkdir(exist_ok=True)

    def built(kind: str) -> Path:
        release, hooks, key = _KINDS[kind]
        folder = shared / kind.replace(" ", "-")
        with (shared / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                fresh = folder.with_name(f"{folder.name}.fresh")
                datasets.build(fresh, release, hooks=hooks, key=key).rename(folder)
        return folder

    return built


@pytest.fixture
def spoilt(shop: Shop, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a shop to spoil."""
    return lambda kind: datasets.copied(shop(kind), tmp_path / "spoilt")


@pytest.fixture
def rehearsed(home: Path) -> Iterator[Rehearse]:
    """Rehearse data from one release to another; nothing may be left of it."""

    async def carry_out(data: Path, old: str, new: str, **more: Any) -> Report:
        async def silent(_: float | None, __: str) -> None:
            return None

        releases = Release(old, executable(old)), Release(new, executable(new))
        settings: dict[str, Any] = {"secrets": {}, **more}
        return await rehearse(Request(data, home / "rehearsal", *releases, **settings), silent)

    yield carry_out
    assert not (home / "rehearsal").exists()
