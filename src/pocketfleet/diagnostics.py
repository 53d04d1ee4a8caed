"""The logs of our own processes: one rotating file each, lines that end with `instance=` and `operation=` fields.

What they print besides (`*.err.log`, and HAProxy's words) goes straight into a file, which is rotated here, too.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import time
from pathlib import Path
from typing import BinaryIO

from pocketfleet.config import Config
from pocketfleet.domain.redaction import redact

_FIELDS = ("instance", "operation")
#: Bytes after which a log is rotated, and how many older ones are kept.
MAX_BYTES = 2_000_000
GENERATIONS = 3
#: Libraries that say more than anybody wants to know.
_CHATTY = ("asyncio", "django", "httpcore", "httpx", "nodesemver")


class _Lines(logging.Formatter):
    """`2026-11-23T08:03:00.123Z INFO pocketfleet.node text instance=...`, in UTC."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Without tokens, passwords and links, wherever they came from: an address, somebody's words, a traceback."""
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, with those fields that the record has."""
        fields = ((name, getattr(record, name, "")) for name in _FIELDS)
        return super().formatMessage(record) + "".join(f" {name}={value}" for name, value in fields if value)


def log_to_file(config: Config, process: str) -> None:
    """Send everything that this process logs to `<home>/logs/<process>.log`."""
    config.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = logging.handlers.RotatingFileHandler(
        config.logs / f"{process}.log", maxBytes=MAX_BYTES, backupCount=GENERATIONS, encoding="utf-8"
    )
    handler.setFormatter(_Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.log_level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def rotate_output(path: Path, max_bytes: int = MAX_BYTES, generations: int = GENERATIONS) -> bool:
    """Rotate a file that a living process has open for appending; whether that was due.

    1 the oldest copy goes, which makes room on a full disk, 2 the end of the file is copied, 3 the file is emptied.
    The writer notices nothing: no pipe that could break, no file to open anew. What it prints between the last byte
    copied and the emptying, a few microseconds, is lost. Raises OSError, and the file is as it was.
    """
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as opened:
        if os.fstat(opened.fileno()).st_size < max_bytes:
            return False
        _older(path, generations).unlink(missing_ok=True)
        fresh = _older(path, 0)
        fresh.unlink(missing_ok=True)
        fresh.touch(0o600)
        _move_end(opened, fresh, max_bytes)
        for number in range(generations - 1, -1, -1):
            with contextlib.suppress(FileNotFoundError):
                _older(path, number).rename(_older(path, number + 1))
        return True
    return False


def _move_end(opened: BinaryIO, fresh: Path, max_bytes: int) -> None:
    with fresh.open("wb") as copy:
        left_out = os.fstat(opened.fileno()).st_size - max_bytes
        if left_out > 0:
            copy.write(b"[%d bytes left out]\n" % left_out)
            opened.seek(left_out)
        # written through each time, so that nothing slow stands between the end of the file and its emptying
        while block := opened.read(1 << 20):
            copy.write(block)
            copy.flush()
        opened.truncate(0)


def _older(path: Path, number: int) -> Path:
    """`.1` is the newest copy; `.0` is one under way."""
    return path.with_name(f"{path.name}.{number}")
