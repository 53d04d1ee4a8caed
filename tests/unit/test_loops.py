"""What serve and node do all the time: a loop that fails begins anew, and Ctrl-C ends a greeting that takes long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from rich.console import Console

from pocketfleet import config as configuration
from pocketfleet import node
from pocketfleet.node import lasting
from pocketfleet.serve import Serve


async def test_a_loop_that_fails_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "LOOP_AGAIN", 0.0)
    begun = 0

    async def loop() -> None:
        nonlocal begun
        begun += 1
        if begun < 3:
            raise OSError(28, "No space left on device")

    await asyncio.wait_for(lasting("changes", loop), 5)
    assert begun == 3


async def test_ctrl_c_ends_a_greeting_that_takes_long(home: Path) -> None:
    serve = Serve(configuration.load({}, home=home), Console())
    ended = asyncio.Event()

    async def greet() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asyncio.get_running_loop().call_later(0.01, serve.stopping.set)
    await asyncio.wait_for(serve._unless_stopped(greet()), 5)
    assert ended.is_set()


async def test_a_greeting_that_fails_says_so(home: Path) -> None:
    serve = Serve(configuration.load({}, home=home), Console())

    async def greet() -> None:
        raise OSError("no terminal")

    with pytest.raises(OSError, match="no terminal"):
        await serve._unless_stopped(greet())
