"""Taking raw output over: partial lines, garbage, floods, positions, and the space given back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pocketfleet.config import Config
from pocketfleet.runtime import raw_output
from pocketfleet.runtime.output import GuestLog, LogKeeper, clean
from pocketfleet.runtime.raw_output import RawStream, open_for_guest


@pytest.fixture
def keeper(tmp_path: Path) -> LogKeeper:
    return LogKeeper(Config(home=tmp_path, log_bytes=10_000_000))


@pytest.fixture
def log(keeper: LogKeeper) -> GuestLog:
    log = keeper.of("abcdefghijklmno")
    os.close(open_for_guest(log.folder, "stdout"))
    log.watch()
    return log


def write(log: GuestLog, data: bytes, stream: str = "stdout") -> None:
    descriptor = open_for_guest(log.folder, stream)
    os.write(descriptor, data)
    os.close(descriptor)


def texts(log: GuestLog) -> list[str]:
    return [line.text for line in log.tail(100_000)]


def test_whole_lines_are_taken_and_halves_are_waited_for(log: GuestLog) -> None:
    write(log, b"one\ntwo\nthr")
    assert log.take_over()
    assert texts(log) == ["one", "two"]
    assert not log.take_over()
    write(log, b"ee\n")
    write(log, b"trouble\n", "stderr")
    log.take_over()
    assert texts(log) == ["one", "two", "three", "trouble"]
    assert [line.stream for line in log.tail(2)] == ["stdout", "stderr"]


async def test_at_the_end_half_a_line_is_taken_and_nothing_is_left(log: GuestLog) -> None:
    write(log, b"one\nlast words")
    await log.finish()
    assert texts(log) == ["one", "last words"]
    assert [path.name for path in log.folder.iterdir()] == ["instance.log"]


def test_the_next_node_goes_on_where_this_one_stopped(keeper: LogKeeper, log: GuestLog) -> None:
    write(log, b"one\ntw")
    log.take_over()
    keeper.unwatch(log)
    write(log, b"o\nthree\n")
    later = keeper.of(log.folder.name)
    assert later is not log
    later.watch()
    later.take_over()
    assert texts(later) == ["one", "two", "three"]


async def test_an_old_position_does_not_hide_what_is_new(keeper: LogKeeper, log: GuestLog) -> None:
    write(log, b"x" * 100 + b"\n")
    log.take_over()
    for path in log.folder.glob("*.raw"):
        path.unlink()
    await log.finish()
    write(log, b"new\n")
    later = keeper.of(log.folder.name)
    later.watch()
    later.take_over()
    assert texts(later)[-1] == "new"


def test_garbage_becomes_readable() -> None:
    assert clean([b"\x1b[31mred\x1b[0m \x07bell\xff\r", "\u202eevil\u2028line".encode(), b"\x1b]0;title\x07x\ty"]) == [
        "red bell\ufffd",
        "evilline",
        "x\ty",
    ]
    assert clean([b"a\rb\x00c"]) == ["abc"]


def test_a_long_line_is_cut_and_the_next_one_is_whole(log: GuestLog) -> None:
    write(log, b"x" * 1_000_000)
    while log.take_over():
        pass
    write(log, b"x" * 1000 + b"\nnext\n")
    log.take_over()
    first, second = texts(log)
    assert first == "x" * raw_output.LINE_BYTES + " [line cut here]"
    assert second == "next"


def test_a_flood_is_left_out_and_said(log: GuestLog) -> None:
    for _ in range(6):
        write(log, b"a line of a flood\n" * 60_000)
    write(log, b"the end\n")
    while log.take_over():
        pass
    lines = texts(log)
    assert "left out" in lines[0]
    assert set(lines[1:-1]) == {"a line of a flood"}
    assert lines[-1] == "the end"


def test_the_space_of_what_was_read_is_given_back(log: GuestLog) -> None:
    path = raw_output.raw_path(log.folder, "stdout")
    for _ in range(8):
        write(log, b"y" * 1000 + b"\n" * 24 + b"z" * 1_000_000 + b"\n")
        while log.take_over():
            pass
    assert path.stat().st_blocks * 512 < 3_000_000
    write(log, b"still here\n")
    log.take_over()
    assert texts(log)[-1] == "still here"


def test_a_disk_without_holes_is_cut_instead(log: GuestLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_output, "_punch_hole", lambda *_: False)
    for _ in range(5):
        write(log, (b"z" * 999 + b"\n") * 600)
        while log.take_over():
            pass
    assert raw_output.raw_path(log.folder, "stdout").stat().st_size < 1_500_000
    write(log, b"still here\n")
    log.take_over()
    assert len(texts(log)) == 3001
    assert texts(log)[-1] == "still here"


def test_the_end_of_the_output_for_a_reason(log: GuestLog) -> None:
    write(log, b"x\n" * 100_000 + b"\n\nError: no luck\n")
    write(log, b"on the other one\n", "stderr")
    assert log.last_output().endswith("x\nError: no luck\non the other one")


def test_links_are_not_followed(tmp_path: Path) -> None:
    raw_output.raw_path(tmp_path, "stdout").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        open_for_guest(tmp_path, "stdout")
    assert RawStream(tmp_path / "none").new_lines() == []
