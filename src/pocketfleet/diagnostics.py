"""The logs of our own processes: one rotating file each, lines with `instance=` and `operation=` fields."""

from __future__ import annotations

import logging
import logging.handlers
import time

from pocketfleet.config import Config

_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s %(message)s"


def log_to_file(config: Config, process: str) -> None:
    """Send everything that this process logs to `<home>/logs/<process>.log`: 2 MB, three generations."""
    config.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    handler = logging.handlers.RotatingFileHandler(
        config.logs / f"{process}.log", maxBytes=2_000_000, backupCount=3, encoding="utf-8"
    )
    formatter = logging.Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.log_level)
    for chatty in ("asyncio", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
