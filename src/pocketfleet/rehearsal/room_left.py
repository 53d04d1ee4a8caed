"""Ends a rehearsal that fills the disk: a hook may write as much on a clone as it likes, and others share the disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from pocketfleet.errors import RehearsalFailed
from pocketfleet.runtime.copying import keep_reserve
from pocketfleet.runtime.errands import carry_out
from pocketfleet.runtime.sizes import measure_folder

T = TypeVar("T")

#: Seconds between two looks at what is free; and how many times what counting files takes is waited until the next.
_EVERY = 1.0
_TIMES = 20


async def while_there_is_room(work: Coroutine[Any, Any, T], folder: Path, *, most: int) -> T:
    """What `work` answers. It is ended where the disk gets too full for others, or `folder` larger than `most` bytes.

    `most`: 0 for any. Raises DiskTrouble, RehearsalFailed, and what `work` raises.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_watch(folder, most))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            # it ends by an error alone
            watching.result()
        return await working
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _watch(folder: Path, most: int) -> None:
    await asyncio.gather(_keep_reserve(folder), _keep_size(folder, most))


async def _keep_reserve(folder: Path) -> None:
    while True:
        await asyncio.to_thread(keep_reserve, folder)
        await asyncio.sleep(_EVERY)


async def _keep_size(folder: Path, most: int) -> None:
    while most:
        began = time.monotonic()
        size = await carry_out(lambda errand: measure_folder(folder, errand))
        if size.bytes > most or not size.whole:
            raise RehearsalFailed(
                f"The rehearsal's copies grew to {size.bytes / 1e6:.0f} MB{'' if size.whole else ' or more'}, over the "
                f"{most / 1e6:.0f} MB that they may have, and it was given up. Look for a hook that writes much while "
                "it starts or answers. Nothing live was touched."
            )
        await asyncio.sleep(max(_EVERY, _TIMES * (time.monotonic() - began)))
