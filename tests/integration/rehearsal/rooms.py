"""A rehearsed PocketBase in its room, until this program is killed: run by tests as a program of its own."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from pocketfleet.rehearsal.boot import boot
from pocketfleet.rehearsal.clone import Release, Surroundings, make_clone
from pocketfleet.rehearsal.sandbox import choose_place


async def stay(snapshot: Path, work: Path, release: str, executable: Path, *, sandboxed: bool) -> None:
    """Says `ready` when it answers, and stays."""
    place = choose_place(sandboxed=sandboxed)
    clone = await make_clone(snapshot, work, Release(release, executable), Surroundings({}), place)
    start, _ = await boot(clone)
    print("ready" if start.answered else start.reason, flush=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    _, snapshot_, work_, release_, executable_, sandboxed_ = sys.argv
    asyncio.run(stay(Path(snapshot_), Path(work_), release_, Path(executable_), sandboxed=sandboxed_ == "True"))
