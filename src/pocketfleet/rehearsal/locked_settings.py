"""Encrypted settings, opened and closed by PocketBase itself, which knows how: in a room of its own, without data."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketfleet.errors import ReleaseUnusable
from pocketfleet.rehearsal.sandbox import Confined, Place, make_room
from pocketfleet.runtime.beneath import open_file
from pocketfleet.runtime.disk import opened_folder
from pocketfleet.runtime.owners import own

#: Seconds that PocketBase may take to decrypt or encrypt its settings.
_PATIENCE = 20.0
#: The key is in no file, not even for a moment.
_VARIABLE = "SETTINGS_KEY"
_KEY = f'$os.getenv("{_VARIABLE}")'


@dataclass(frozen=True, slots=True)
class Key:
    """The key of an instance's settings, and who turns it: any release, in new folders below `work`."""

    #: "" where it is not known
    text: str = field(repr=False)
    executable: Path
    place: Place
    work: Path

    async def unlocked(self, raw: str) -> dict[str, Any] | None:
        """What is stored, in clear; None where this is not its key. Raises ReleaseUnusable, OSError."""
        if not self.text:
            return None
        # some releases store quotation marks around the base64
        bare = str(json.loads(raw)) if raw.startswith('"') else raw
        return loaded(await self._ask("unlocking", f"$security.decrypt({json.dumps(bare)}, {_KEY})"))

    async def locked(self, settings: dict[str, Any], like: str) -> str:
        """As it is stored, in the form of what was stored before. Raises ReleaseUnusable, OSError."""
        text = json.dumps(settings)
        found = await self._ask("locking", f"$security.encrypt({json.dumps(text)}, {_KEY})")
        if not found:
            raise ReleaseUnusable("PocketBase did not encrypt its settings again.")
        return json.dumps(found) if like.startswith('"') else found

    async def _ask(self, name: str, expression: str) -> str:
        """What an expression is to a hook, which runs before any data is opened. Answers "" where it fails."""
        folder = self.work / name
        hooks = folder / "instance" / "pb_hooks"
        hooks.mkdir(mode=0o700, parents=True)
        script = f'try {{ $os.writeFile("answer", {expression}, 0o600) }} catch (error) {{ }}\n$os.exit(0)\n'
        (hooks / "ask.pb.js").write_text(script)
        await asyncio.to_thread(own, folder / "instance", self.place.user, whole=True)
        asked = await asyncio.to_thread(make_room, self.executable, folder / "instance", folder / "room", self.place)
        paths = [f"--dir={asked.root}/pb_data", f"--hooksDir={asked.root}/pb_hooks", "--hooksWatch=false"]
        address = f"--http={asked.place.address}:{asked.place.port}"
        confined = await Confined.start(asked, ["serve", address, *paths], {_VARIABLE: self.text})
        try:
            async with asyncio.timeout(_PATIENCE):
                await asyncio.shield(confined.ended)
        except TimeoutError:
            raise ReleaseUnusable("PocketBase did not say within 20 s what its settings hold.") from None
        finally:
            await confined.close()
        with (
            contextlib.suppress(FileNotFoundError),
            opened_folder(folder / "instance") as here,
            open_file(here, "answer") as answer,
        ):
            return answer.read().decode()
        return ""


def loaded(raw: str) -> dict[str, Any] | None:
    """Settings in clear; None for anything else."""
    with contextlib.suppress(ValueError):
        found = json.loads(raw)
        return found if isinstance(found, dict) else None
    return None
