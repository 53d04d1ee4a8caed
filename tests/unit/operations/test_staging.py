"""The way back of data that was put in place: whole after every refusal of the disk, and after every kill."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pocketfleet.config import Config
from pocketfleet.errors import DiskTrouble
from pocketfleet.operations import staging
from pocketfleet.operations.plan import Work
from pocketfleet.operations.problems import must_go_on

INSTANCE, OPERATION = "i" * 15, "o" * 15


class Place:
    """An instance whose data was exchanged, with the old data aside."""

    def __init__(self, home: Path) -> None:
        self.config = Config(home=home)
        self.live = self.config.instances / INSTANCE
        self.new = staging.new_data(self.config, OPERATION)
        self.old = staging.replaced_data(self.config, OPERATION)
        for folder, content in ((self.live, "new"), (self.old, "old")):
            folder.mkdir(parents=True)
            (folder / "data").write_text(content)

    async def go_back(self) -> None:
        """As the compensation does it."""
        work = Work(
            operation_id=OPERATION,
            kind="restore",
            instance_id=INSTANCE,
            params={},
            outputs={},
            tools=SimpleNamespace(config=self.config),
            report=_nothing,
            leave_place=contextlib.nullcontext,
        )
        await staging.put_old_back(work)

    def lies_there(self) -> str:
        """What the instance's folder holds; "" without one."""
        return (self.live / "data").read_text() if self.live.exists() else ""


async def _nothing(*_: Any) -> None:
    pass


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path, Path], bool]], None]:
    """Let renames fail, which ones says a function of both names; the disk is not full."""
    rename = Path.rename

    def begin(refused: Callable[[Path, Path], bool]) -> None:
        def refusing(self: Path, target: Path) -> Path:
            if refused(self, target):
                raise OSError(errno.EIO, "Input/output error", str(self))
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", refusing)

    return begin


async def test_the_old_data_comes_back(place: Place) -> None:
    await place.go_back()
    assert (place.lies_there(), place.old.exists()) == ("old", False)
    await place.go_back()
    assert place.lies_there() == "old", "done twice is as done once"


async def test_killed_between_the_two_renames_it_ends_the_same(place: Place) -> None:
    place.live.rename(place.new)
    await place.go_back()
    assert (place.lies_there(), place.old.exists()) == ("old", False)


@pytest.mark.parametrize("which", ["the first", "the second"])
async def test_a_refused_rename_leaves_what_was_there_and_is_tried_again(
    place: Place, refuse: Callable[..., None], which: str
) -> None:
    first = which == "the first"
    refuse(lambda source, target: source == place.live if first else source == place.old)
    with pytest.raises(DiskTrouble) as caught:
        await place.go_back()
    assert (place.lies_there(), place.old.exists()) == ("new", True)
    assert not must_go_on(caught.value)
    refuse(lambda *_: False)
    await place.go_back()
    assert (place.lies_there(), place.old.exists()) == ("old", False)


async def test_what_is_half_undone_says_so_until_it_is_whole(place: Place, refuse: Callable[..., None]) -> None:
    refuse(lambda source, target: target == place.live)
    for _ in range(3):
        with pytest.raises(DiskTrouble, match="Input/output error") as caught:
            await place.go_back()
        assert must_go_on(caught.value)
        assert (place.lies_there(), place.old.exists()) == ("", True)
    refuse(lambda *_: False)
    await place.go_back()
    assert (place.lies_there(), place.old.exists()) == ("old", False)
