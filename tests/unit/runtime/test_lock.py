"""One writer per instance."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pocketfleet.errors import DiskTrouble, InstanceInUse
from pocketfleet.runtime.lock import Lock, is_held, take_lock, try_lock


def held(path: Path) -> Lock:
    lock = try_lock(path)
    assert lock is not None
    return lock


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    first = try_lock(path)
    assert first is not None
    assert is_held(path)
    assert try_lock(path) is None
    first.close()
    assert not is_held(path)


def test_a_removed_lock_is_not_mistaken_for_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with held(path) as lock:
        lock.remove()
        with held(path):
            assert is_held(path)


async def test_it_lives_as_long_as_who_inherited_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with held(path) as lock:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(lock.descriptor,))  # noqa: ASYNC220
    assert is_held(path)
    with await take_lock(path, patience=0.01):
        assert child.wait() == -9


async def test_we_never_end_ourselves(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with held(path), pytest.raises(InstanceInUse, match="try again later"):
        await take_lock(path, patience=0.01)


def test_it_is_not_handed_down_by_accident(tmp_path: Path) -> None:
    with held(tmp_path / "a.lock") as lock:
        assert not os.get_inheritable(lock.descriptor)


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    with pytest.raises(DiskTrouble, match="cannot be opened"):
        try_lock(tmp_path / "nowhere" / "a.lock")
