"""The logs of our own processes: one rotating file each, lines that end with `instance=` and `operation=` fields."""

from __future__ import annotations

import logging
import logging.handlers
import time

from pocketfleet.config import Config

_FIELDS = ("instance", "operation")
#: Libraries that say more than anybody wants to know.
_CHATTY = ("asyncio", "django", "httpcore", "httpx", "nodesemver")


class _Lines(logging.Formatter):
    """`2026-11-23T08:03:00.123Z INFO pocketfleet.node text instance=...`, in UTC."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, with those fields that the record has."""
        fields = ((name, getattr(record, name, "")) for name in _FIELDS)
        return super().formatMessage(record) + "".join(f" {name}={value}" for name, value in fields if value)


def log_to_file(config: Config, process: str) -> None:
    """Send everything that this process logs to `<home>/logs/<process>.log`: 2 MB, three generations."""
    config.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = logging.handlers.RotatingFileHandler(
        config.logs / f"{process}.log", maxBytes=2_000_000, backupCount=3, encoding="utf-8"
    )
    handler.setFormatter(_Lines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.log_level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
