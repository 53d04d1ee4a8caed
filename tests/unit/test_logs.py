"""An instance's log: form, rotation, tail, and following it across rotation."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pocketfleet import logs
from pocketfleet.logs import InstanceLog, LogLine


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FOLLOW_SECONDS", 0.01)


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


def test_the_form_of_a_line(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path, 1000, 2)
    at = datetime(2026, 11, 23, 8, 3, 0, 123456, UTC)
    log.append("stdout", "a\ttab", at)
    assert (tmp_path / "instance.log").read_text() == "2026-11-23T08:03:00.123Z\tstdout\ta\ttab\n"
    [line] = log.tail(5)
    assert (line.stream, line.text, line.at) == ("stdout", "a\ttab", at.replace(microsecond=123000))
    assert LogLine.parse(str(line)) == line


def test_every_line_of_a_text_gets_its_stamp(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path, 1000, 2)
    log.append("platform", "died: because\nof this")
    log.append("platform", "")
    assert texts(log.tail(5)) == ["died: because", "of this", ""]


def test_what_must_not_stand_there_does_not(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path, 1000, 2)
    log.append("stdout", "http://127.0.0.1:8090/_/#/pbinstal/eyJhbGciOi.eyJjb2xsZWN0.abcdefgh")
    assert "eyJ" not in (tmp_path / "instance.log").read_text()


def test_rotation_keeps_so_many_bytes_and_the_newest(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path, 1000, 3)
    for number in range(1000):
        log.append("stdout", f"line {number}")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert set(names) <= {"instance.log", "instance.log.1", "instance.log.2", "instance.log.3"}
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir() if path.stat().st_size > 1000} == {}
    kept = texts(log.tail(1000))
    assert kept == [f"line {number}" for number in range(1000 - len(kept), 1000)]
    assert len(kept) > 50


def test_many_lines_at_once_are_spread_over_files(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path, 1000, 3)
    log.append_lines("stdout", [f"line {number}" for number in range(70)])
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert texts(log.tail(70)) == [f"line {number}" for number in range(70)]


def test_a_line_longer_than_a_file_is_kept_whole(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path, 100, 3)
    log.append("stdout", "x" * 500)
    log.append("stdout", "y")
    assert texts(log.tail(2)) == ["x" * 500, "y"]


@pytest.mark.parametrize("count", [0, 1, 7, 5000])
def test_tail(tmp_path: Path, count: int) -> None:
    log = InstanceLog(tmp_path, 10_000, 5)
    for number in range(600):
        log.append("stdout", f"line {number}")
    expected = [f"line {number}" for number in range(600)]
    assert texts(log.tail(count)) == (expected[-count:] if count else [])


def test_tail_of_nothing(tmp_path: Path) -> None:
    assert InstanceLog(tmp_path / "none", 100, 1).tail(5) == []


def test_lines_of_somebody_else_do_not_break_it(tmp_path: Path) -> None:
    (tmp_path / "instance.log").write_bytes(b"\xff\xfe nonsense\n\n")
    assert len(InstanceLog(tmp_path, 100, 1).tail(5)) == 2


async def test_following_across_rotations_loses_and_repeats_nothing(tmp_path: Path) -> None:
    writer, reader = InstanceLog(tmp_path, 1000, 50), InstanceLog(tmp_path, 1000, 50)
    for number in range(100):
        writer.append("stdout", f"line {number}")
    got: list[str] = []

    async def follow() -> None:
        async for line in reader.follow(tail=70):
            got.append(line.text)
            if line.text == "line 699":
                return

    following = asyncio.create_task(follow())
    for number in range(100, 700):
        writer.append("stdout", f"line {number}")
        if number % 37 == 0:
            await asyncio.sleep(0.012)
    async with asyncio.timeout(5):
        await following
    assert got == [f"line {number}" for number in range(int(got[0].split()[1]), 700)]
    assert int(got[0].split()[1]) <= 101


async def test_following_what_is_not_there_yet(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path / "later", 1000, 2)
    lines = log.follow()
    first = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0.03)
    log.append("platform", "woken by GET /")
    async with asyncio.timeout(5):
        assert (await first).text == "woken by GET /"
    await lines.aclose()


async def test_half_a_line_is_waited_for(tmp_path: Path) -> None:
    log = InstanceLog(tmp_path, 1000, 2)
    log.append("stdout", "whole")
    path = tmp_path / "instance.log"
    lines = log.follow(tail=1)
    assert (await anext(lines)).text == "whole"
    nxt = asyncio.ensure_future(anext(lines))
    with path.open("a") as opened:
        opened.write("2026-11-23T08:03:00.123Z\tstdout\tin ")
        opened.flush()
        await asyncio.sleep(0.05)
        assert not nxt.done()
        opened.write("two\n")
    async with asyncio.timeout(5):
        assert (await nxt).text == "in two"
    await lines.aclose()


def test_a_full_disk_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    InstanceLog(tmp_path / "file" / "folder", 1000, 2).append("stdout", "lost")
    assert "log lines lost" in caplog.text


def test_what_an_earlier_release_left_in_clear_is_hidden_when_it_is_read(tmp_path: Path) -> None:
    line = '2026-01-01T00:00:00.000Z\tstdout\t{"password":"hunter2"}'
    (tmp_path / "instance.log").write_text(f"{line}\n")
    (tmp_path / "instance.log.1").write_text(f"{line}\n")
    shown = InstanceLog(tmp_path, 1000, 2).tail(10)
    assert [line.text for line in shown] == ['{"password":"[redacted]"}'] * 2
