"""Sending and fetching large files, with a bar on a terminal; a download goes on where it broke off."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pocketfleet.cli import output
from pocketfleet.cli.client import Client, Patience, Problem
from pocketfleet.errors import DiskTrouble, NotAnswering, WrongUsage

_CHUNK = 1 << 20


def send(client: Client, path: Path, *, quiet: bool, instance: str = "", team: str = "") -> str:
    """Upload a file, for this instance or team, else for one's own; what the server calls it. Raises WrongUsage where
    it cannot be read."""
    client.get("/me")  # whoever is not let in should hear it before the file is on its way
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        with path.open("rb") as opened, _bar(f"uploading {path.name}", size, quiet=quiet) as advance:

            def content() -> Iterator[bytes]:
                while piece := opened.read(_CHUNK):
                    digest.update(piece)
                    advance(len(piece))
                    yield piece

            told = client.upload("/uploads", content(), size, instance=instance, team=team)
    except OSError as error:
        raise WrongUsage(f"{path} cannot be read: {error.strerror}.") from error
    if told["sha256"] != digest.hexdigest():
        raise NotAnswering("The file did not arrive as it was sent. Try again.")
    return str(told["upload"])


def fetch(client: Client, address: str, backup: dict[str, Any], target: Path, *, quiet: bool) -> bool:
    """Download a backup to `target` by way of `target.part`; whether it was taken up where it had broken off.

    The file is what it should be by its SHA-256. Raises DiskTrouble, NotAnswering.
    """
    part = target.with_name(f"{target.name}.part")
    tag, patience = f'"{backup["sha256"]}"', Patience()
    resumed = part.exists() and 0 < part.stat().st_size <= backup["size"]
    try:
        with part.open("ab" if resumed else "wb") as opened, _bar(target.name, backup["size"], quiet=quiet) as advance:
            advance(opened.tell())
            while opened.tell() < backup["size"]:
                try:
                    _fetch_rest(client, address, opened, tag, advance)
                    patience.answered()
                except Problem:
                    raise
                except NotAnswering:
                    if patience.is_over():
                        raise
                    time.sleep(0.3)
        _check(part, backup)
        part.rename(target)
    except OSError as error:
        raise DiskTrouble(f"{target} cannot be written: {error.strerror}.") from error
    return resumed


def _fetch_rest(client: Client, address: str, opened: Any, tag: str, advance: Callable[[int], None]) -> None:
    start = opened.tell()
    with client.download(address, {"range": f"bytes={start}-", "if-range": tag} if start else {}) as answer:
        if start and answer.status_code != 206:
            opened.truncate(0)  # another file now: all of it anew
            advance(-start)
        for piece in answer.iter_bytes():
            opened.write(piece)
            advance(len(piece))


def _check(part: Path, backup: dict[str, Any]) -> None:
    with part.open("rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() == backup["sha256"]:
            return
    part.unlink()
    raise NotAnswering(f"What came is not {backup['name']}: its SHA-256 differs. It was removed; try again.")


@contextlib.contextmanager
def _bar(text: str, size: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    if quiet or not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(output.plain(text), total=size)
        yield lambda count: progress.advance(task, count)
