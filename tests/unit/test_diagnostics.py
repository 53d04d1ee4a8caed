"""What our own processes print stays small, and its writers notice nothing of that."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pocketfleet import config as configuration
from pocketfleet import serve as serving
from pocketfleet.diagnostics import log_to_file, rotate_output
from pocketfleet.serve import Child, Serve

#: prints as many lines as it is told by a line on its standard input, and says when it has
PRINTER = """
import os, sys
count = 0
for line in sys.stdin:
    for _ in range(int(line)):
        os.write(2, b"line %d\\n" % count)
        count += 1
    print("done", flush=True)
"""


def lines_of(folder: Path) -> list[str]:
    """Everything that was printed, oldest first."""
    older = sorted(folder.glob("x.err.log.*"), reverse=True)
    return [line for path in [*older, folder / "x.err.log"] for line in path.read_text().splitlines()]


def test_a_living_process_goes_on_writing_across_rotations_and_no_line_is_lost(home: Path) -> None:
    path = home / "x.err.log"
    with path.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PRINTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True
        )
    assert process.stdin is not None
    assert process.stdout is not None
    for round_ in range(4):
        process.stdin.write("100\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        assert rotate_output(path, 500) == (round_ < 4)
        assert path.stat().st_size == 0
    process.stdin.write("3\n")
    process.stdin.close()
    assert process.wait() == 0
    assert not rotate_output(path, 500)
    assert path.read_text() == "".join(f"line {number}\n" for number in range(400, 403))
    names = sorted(entry.name for entry in home.iterdir())
    assert names == ["x.err.log", "x.err.log.1", "x.err.log.2", "x.err.log.3"]
    assert path.with_name("x.err.log.1").read_text().startswith("[")
    assert path.with_name("x.err.log.1").read_text().endswith("line 399\n")


def test_nothing_is_left_out_where_it_fits(home: Path) -> None:
    path = home / "x.err.log"
    for number in range(3):
        path.write_text(f"{number}" * 499 + "\n")
        assert rotate_output(path, 500)
    assert lines_of(home) == ["0" * 499, "1" * 499, "2" * 499]
    assert [entry.stat().st_mode & 0o777 for entry in home.glob("*.[123]")] == [0o600] * 3


def test_what_is_small_or_not_there_is_left_alone(home: Path) -> None:
    assert not rotate_output(home / "none.err.log", 500)
    (home / "x.err.log").write_text("x" * 499)
    assert not rotate_output(home / "x.err.log", 500)
    assert [entry.name for entry in home.iterdir()] == ["x.err.log"]


def test_a_copy_that_broke_off_is_begun_anew_and_nothing_is_emptied_before(home: Path) -> None:
    path = home / "x.err.log"
    path.write_text("x" * 600)
    (home / "x.err.log.0").write_text("half a copy of an earlier time")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError):
            rotate_output(path, 500)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert path.read_text() == "x" * 600
    assert rotate_output(path, 500)
    assert (home / "x.err.log.1").read_text() == "[100 bytes left out]\n" + "x" * 500


async def test_serve_looks_after_what_its_processes_print(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "ROTATE_EVERY", 0.01)
    serve = Serve(configuration.load({}, home=home), Console())
    code = "import os, time; os.write(2, b'x' * 2_000_001); time.sleep(60)"
    child = Child("node", [sys.executable, "-c", code], signal.SIGKILL, home / "node.err.log")
    missing = Child("edge", [], signal.SIGKILL, home / "edge.log")
    serve.children = {"edge": missing, "node": child}
    await child.start(dict(os.environ))
    watching = asyncio.create_task(serve._rotate_output())
    try:
        async with asyncio.timeout(30):
            while not (home / "node.err.log.1").exists():  # noqa: ASYNC110 - a file rings no bell
                await asyncio.sleep(0.01)
        assert child.log.stat().st_size == 0
        assert child.process is not None
        assert child.process.returncode is None
    finally:
        watching.cancel()
        child.send(signal.SIGKILL)
        await child.ended(10)


def test_our_own_logs_hold_no_token_wherever_it_came_from(home: Path) -> None:
    secret = "eyJhbGciOiJI.eyJpZCI6ImFi.c2lnbmF0dXJl"
    config = configuration.load({}, home=home)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    log_to_file(config, "node")
    try:
        log = logging.getLogger("pocketfleet.test")
        log.warning("asked for %s with %s", f"/x?token={secret}", {"authorization": f"Bearer {secret}"})
        try:
            raise ValueError(f"postgres://fleet:geheim@host refused {secret}")
        except ValueError:
            log.exception("failed", extra={"instance": "a" * 15})
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:], root.level = handlers, level
    text = (home / "logs" / "node.log").read_text()
    assert "failed" in text
    assert "Traceback" in text
    assert secret not in text
    assert "geheim" not in text
