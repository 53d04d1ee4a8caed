"""Clones: own copies of everything, with nothing in their settings that reaches out, encrypted or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pocketfleet.rehearsal.boot import boot
from pocketfleet.rehearsal.clone import Release, Surroundings, make_clone
from pocketfleet.rehearsal.identities import ANONYMOUS, SUPERUSER, Minter, choose_identities
from pocketfleet.rehearsal.replay import Client
from pocketfleet.rehearsal.sandbox import choose_place
from pocketfleet.runtime import inspect
from tests.integration.rehearsal import datasets
from tests.pocketbases import executable

Shop = Callable[[str], Path]
KINDS = ["0.22.27", "0.22.27 encrypted", "0.36.9", "0.36.9 encrypted"]


def surroundings(kind: str) -> Surroundings:
    """What PocketBase is given for this shop."""
    if "encrypted" not in kind:
        return Surroundings({})
    return Surroundings({datasets.KEY_NAME: datasets.KEY}, encryption_env=datasets.KEY_NAME)


def everything(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Identity, size and time of every file."""
    files = {str(path.relative_to(folder)): path.lstat() for path in folder.rglob("*") if path.is_file()}
    return {name: (found.st_ino, found.st_size, found.st_mtime_ns) for name, found in files.items()}


@pytest.mark.parametrize("kind", KINDS)
async def test_neutralised_and_open_to_everybody_we_mint(shop: Shop, home: Path, kind: str) -> None:
    data, release = shop(kind), kind.partition(" ")[0]
    before = everything(data)
    clone = await make_clone(
        data, home / "clone", Release(release, executable(release)), surroundings(kind), choose_place(sandboxed=True)
    )
    copies = everything(clone.folder)
    # PocketBase's own backup of the minute may be among them
    assert {name for name in before if "/backups/" not in name} <= set(copies)
    assert not [name for name in copies if "/backups/" in name]
    assert not {one[0] for one in before.values()} & {one[0] for one in copies.values()}
    assert (inspect.settings(clone.folder) is None) == ("encrypted" in kind)

    start, confined = await boot(clone)
    assert start.answered, start
    assert confined is not None
    client = Client(confined.socket)
    try:
        minter = Minter(clone.folder, clone.settings, live=True)
        settings = client.ask("GET", "/api/settings", token=minter.token(SUPERUSER)).content()
        assert_neutral(settings, clone.room.place.address, clone.room.place.mail_port)
        for identity in choose_identities(data):
            path = f"/api/collections/{identity.collection}/auth-refresh"
            if identity == SUPERUSER and release.startswith("0.22."):
                path = "/api/admins/auth-refresh"
            if identity != ANONYMOUS:
                assert client.ask("POST", path, token=minter.token(identity)).status == 200, identity
    finally:
        client.close()
        assert await confined.stop() == 0
    assert everything(data) == before


def assert_neutral(settings: dict[str, Any], address: str, mail_port: int) -> None:
    """Mail goes to us, and nothing else goes anywhere."""
    assert (settings["smtp"]["host"], settings["smtp"]["port"]) == (address, mail_port)
    assert settings["smtp"]["username"] == ""
    assert not settings["smtp"].get("password")
    assert settings["backups"]["cron"] == ""
    assert not settings["s3"]["enabled"]
    assert not settings["backups"]["s3"]["enabled"]
    assert not settings.get("rateLimits", {}).get("enabled")


async def test_files_that_snapshots_share_are_in_the_clone_with_a_content_of_their_own(shop: Shop, home: Path) -> None:
    data = shop("0.36.9")
    file = data / "pb_data" / "storage" / "shared" / "record" / "note.txt"
    file.parent.mkdir(parents=True)
    file.write_text("shared")
    (home / "earlier.txt").hardlink_to(file)
    release = Release("0.36.9", executable("0.36.9"))
    clone = await make_clone(data, home / "clone", release, Surroundings({}), choose_place(sandboxed=True))
    copy = clone.folder / file.relative_to(data)
    assert copy.read_text() == "shared"
    assert copy.stat().st_nlink == 1
    assert not copy.samefile(file)


async def test_without_their_key_encrypted_settings_stay_as_they_are(shop: Shop, home: Path) -> None:
    data = shop("0.36.9 encrypted")
    release = Release("0.36.9", executable("0.36.9"))
    clone = await make_clone(data, home / "clone", release, Surroundings({}), choose_place(sandboxed=True))
    assert clone.settings is None
    start, confined = await boot(clone)
    assert confined is None
    assert not start.answered
    assert "encrypted: set the secret" in start.reason


async def test_a_wrong_key_is_no_key(shop: Shop, home: Path) -> None:
    data = shop("0.36.9 encrypted")
    release = Release("0.36.9", executable("0.36.9"))
    wrong = Surroundings({datasets.KEY_NAME: "x" * 32}, encryption_env=datasets.KEY_NAME)
    clone = await make_clone(data, home / "clone", release, wrong, choose_place(sandboxed=True))
    assert clone.settings is None


def test_roles_get_an_identity_each(shop: Shop) -> None:
    found = choose_identities(shop("0.22.27"))
    names = [identity.name for identity in found]
    assert names[:2] == ["anonymous", "superuser"]
    assert any("role staff" in name for name in names)
    assert any("verified false" in name for name in names)
    assert any("most records refer to" in name for name in names)
    assert len({identity.record_id for identity in found[2:]}) == len(found) - 2
