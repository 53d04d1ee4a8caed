"""A rehearsed PocketBase in its room, until this program is killed: run by tests as a program of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pocketfleet.rehearsal.boot import boot
from pocketfleet.rehearsal.clone import Release, Surroundings, make_clone
from pocketfleet.rehearsal.sandbox import Place, choose_place
from pocketfleet.runtime.sandbox.runner import SandboxRunner
from tests.integration.runtime.rooms import house


async def stay(snapshot: Path, work: Path, release: str, executable: Path, kind: str) -> None:
    """Says `ready` when it answers, and stays. `kind`: plain, alone in its namespaces, or held as its instance is."""
    if kind == "held":
        async with house(work.parent / "held", sandboxed=True) as made:
            assert isinstance(made.runner, SandboxRunner)
            async with made.runner.confined("rehearsal-one", made.add()) as confines:
                await _stay(snapshot, work, release, executable, choose_place(sandboxed=True, confines=confines))
    await _stay(snapshot, work, release, executable, choose_place(sandboxed=kind == "alone"))


async def _stay(snapshot: Path, work: Path, release: str, executable: Path, place: Place) -> None:
    clone = await make_clone(snapshot, work, Release(release, executable), Surroundings({}), place)
    start, _ = await boot(clone)
    print("ready" if start.answered else start.reason, flush=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    _, snapshot_, work_, release_, executable_, kind_ = sys.argv
    asyncio.run(stay(Path(snapshot_), Path(work_), release_, Path(executable_), kind_))
