"""What is known of running guests."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pocketfleet.runtime.records import RunRecord, RunRecords

RECORD = RunRecord("abcdefghijklmno", "0.40.6", "127.1.2.3:8090", "2026-11-23T08:03:00+00:00", 42, 4711)


def test_written_read_and_removed(tmp_path: Path) -> None:
    records = RunRecords(tmp_path)
    records.write(RECORD)
    assert records.ids() == [RECORD.instance_id]
    assert records.read(RECORD.instance_id) == RECORD
    assert RECORD.awake_since.isoformat() == RECORD.since
    records.remove(RECORD.instance_id)
    records.remove(RECORD.instance_id)
    assert records.ids() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"pid": 1}',
        json.dumps({**asdict(RECORD), "version": 99}),
        json.dumps({**asdict(RECORD), "since": "never"}),
        json.dumps({**asdict(RECORD), "more": 1}),
        json.dumps(asdict(replace(RECORD, instance_id="another"))),
    ],
)
def test_what_cannot_be_understood_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{RECORD.instance_id}.json").write_text(text)
    assert RunRecords(tmp_path).read(RECORD.instance_id) is None
