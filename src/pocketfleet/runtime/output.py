"""Takes the awake guests' raw output over into their logs: stamped, cleaned, redacted; one task for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from pathlib import Path

from pocketfleet.config import Config
from pocketfleet.logs import InstanceLog
from pocketfleet.runtime.raw_output import STREAMS, RawStream, raw_path

#: Seconds between two looks at what the awake guests printed.
POLL_SECONDS = 0.25
#: Raw bytes per stream that the reason of a failure is looked for in.
_REASON_BYTES = 64 * 1024
_POSITIONS = "positions"
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# everything that a terminal might act upon, the eighth-bit controls and the line separators of Unicode included
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class GuestLog(InstanceLog):
    """An instance's log together with the raw output that feeds it."""

    def __init__(self, folder: Path, max_bytes: int, generations: int, keeper: LogKeeper) -> None:
        super().__init__(folder, max_bytes, generations)
        self.folder = folder
        self._keeper = keeper
        self._streams = {name: RawStream(raw_path(folder, name)) for name in STREAMS}

    def watch(self) -> None:
        """A guest writes from now on; goes on where a former node stopped reading."""
        self._restore_positions()
        self._keeper.watch(self)

    def take_over(self, *, to_the_end: bool = False) -> bool:
        """Append what is new; whether there was anything. Costs two stats where there is not."""
        before = self._positions()
        for name, stream in self._streams.items():
            lines = stream.new_lines(to_the_end=to_the_end)
            if lines:
                self.append_lines(name, clean(lines))
        changed = self._positions() != before
        if changed:
            self._save_positions()
        return changed

    def last_output(self) -> str:
        """The end of what the guest printed, both streams, as it is needed to say why it ended."""
        ends = (stream.last_bytes(_REASON_BYTES) for stream in self._streams.values())
        return "\n".join(line for end in ends for line in clean(end.split(b"\n")) if line.strip())

    async def finish(self) -> None:
        """The guest is gone: take everything over and remove the raw files. Cheap where there are none."""
        self._keeper.unwatch(self)
        if any(stream.path.exists() for stream in self._streams.values()):
            self._restore_positions()
            while self.take_over(to_the_end=True):  # noqa: ASYNC110 - lets others run in between
                await asyncio.sleep(0)
        for stream in self._streams.values():
            stream.remove()
        with contextlib.suppress(FileNotFoundError):
            self._positions_path.unlink()

    @property
    def _positions_path(self) -> Path:
        return self.folder / _POSITIONS

    def _positions(self) -> dict[str, int]:
        return {name: stream.position for name, stream in self._streams.items()}

    def _save_positions(self) -> None:
        # one write of few bytes, after the lines: a node killed in between repeats some, and loses none
        text = " ".join(["1", *(f"{name}={position:020d}" for name, position in self._positions().items())])
        with contextlib.suppress(OSError):
            descriptor = os.open(self._positions_path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)

    def _restore_positions(self) -> None:
        try:
            version, *items = self._positions_path.read_text().split()
            positions = {name: int(value) for name, _, value in (item.partition("=") for item in items)}
        except (OSError, ValueError):
            return
        for name, stream in self._streams.items():
            if version == "1" and name in positions:
                stream.position = max(stream.position, positions[name])


class LogKeeper:
    """All instances' logs. Its cost follows the awake ones alone."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._watched: dict[Path, GuestLog] = {}
        self._some = asyncio.Event()

    def of(self, instance_id: str) -> GuestLog:
        """The log of one instance; the same one for as long as its guest runs."""
        folder = self._config.logs / instance_id
        log = self._watched.get(folder)
        return log or GuestLog(folder, self._config.log_bytes, self._config.log_generations, self)

    def watch(self, log: GuestLog) -> None:
        """Take its output over from now on."""
        self._watched[log.folder] = log
        self._some.set()

    def unwatch(self, log: GuestLog) -> None:
        """No longer."""
        self._watched.pop(log.folder, None)
        if not self._watched:
            self._some.clear()

    async def run(self) -> None:
        """Until cancelled: look four times a second, and not at all while nobody is awake."""
        while True:
            await self._some.wait()
            await asyncio.sleep(POLL_SECONDS)  # first, so that the moment of a wake is left to the wake
            await self.drain()

    async def drain(self) -> None:
        """Take over what there is now, letting others run in between."""
        for log in list(self._watched.values()):
            if log.take_over():
                await asyncio.sleep(0)


def clean(lines: list[bytes]) -> list[str]:
    """Readable text: no colours, no control characters, and no doubt where a line ends."""
    text = b"\n".join(lines).decode(errors="replace").replace("\r\n", "\n")
    return _CONTROLS.sub("", _ESCAPES.sub("", text)).split("\n")
