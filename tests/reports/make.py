"""Rehearse real releases on real data and keep the reports: `python -m tests.reports.make [NAME ...]`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketfleet.rehearsal.clone import Release
from pocketfleet.rehearsal.run import Request, rehearse
from tests.integration.rehearsal import datasets
from tests.integration.rehearsal.test_planted_differences import HOOKS, IS_NEW, MIGRATION, PROBES
from tests.pocketbases import executable
from tests.reports import FOLDER

#: What a page must neither run nor break on.
HOSTILE = "<script>alert('owned')</script><img src=x onerror=alert(1)> & \"quoted\" \u202e reversed"
LOSE = f'migrate((app) => {{ if ({IS_NEW.replace("$app", "app")}) app.delete(app.findAllRecords("ledger")[0]) }})'
UGLY_HOOKS = (
    HOOKS
    + f"""
routerAdd("GET", "/hostile", (e) => e.json(200, {{text: {IS_NEW} ? {json.dumps(HOSTILE)} : "plain"}}))
routerAdd("GET", "/long", (e) => e.json(200, {{text: ({IS_NEW} ? "new" : "old") + "0123456789abcdef".repeat(400)}}))
routerAdd("GET", "/wide", (e) => {{
  const found = {{}}
  for (let i = 0; i < 120; i++) found["key_" + i + "_" + "x".repeat(60)] = {IS_NEW} ? i : String(i)
  return e.json(200, found)
}})
"""
    + "\n".join(
        f'routerAdd("GET", "/many/{number}", (e) => e.json(200, {{n: {IS_NEW} ? {number} : -1}}))'
        for number in range(150)
    )
)
UGLY_MIGRATION = f"""
migrate((app) => {{
  const c = new Collection({{name: "x".repeat(90), type: "base", listRule: "@request.auth.id != '' && ("
    + Array(60).fill("title ~ '" + "y".repeat(20) + "'").join(" || ") + ")",
    fields: [{{name: "title", type: "text"}}]}})
  app.save(c)
  if (!{IS_NEW.replace("$app", "app")}) return
  const made = app.findCollectionByNameOrId("x".repeat(90))
  made.listRule = ""
  made.viewRule = "title = '<b onclick=alert(1)>&amp;'"
  app.save(made)
}}, (app) => null)
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A rehearsal: of which shop, to which release, spoilt how."""

    old: str
    new: str = "0.40.6"
    hooks: str = ""
    spoil: Callable[[Path], None] = lambda _: None
    more: dict[str, Any] = field(default_factory=dict)


def _planted(data: Path) -> None:
    (data / "pb_hooks" / "main.pb.js").write_text(HOOKS)
    (data / "pb_migrations" / "1900000000_planted.js").write_text(MIGRATION)


def _rule(data: Path) -> None:
    with sqlite3.connect(data / "pb_data" / "data.db") as database:
        database.execute("UPDATE _collections SET listRule = 'gone = 1' WHERE name = 'reviews'")
    database.close()


def _lose(data: Path) -> None:
    (data / "pb_migrations" / "1900000000_lose.js").write_text(LOSE)


def _ugly(data: Path) -> None:
    (data / "pb_hooks" / "main.pb.js").write_text(UGLY_HOOKS)
    (data / "pb_migrations" / "1900000000_planted.js").write_text(MIGRATION)
    (data / "pb_migrations" / "1900000001_ugly.js").write_text(UGLY_MIGRATION)


KINDS = {
    "safe": Kind("0.36.9"),
    "planted": Kind("0.36.9", spoil=_planted, more={"probes": PROBES}),
    "old-hooks": Kind("0.22.27", hooks=datasets.OLD_HOOKS),
    "broken-rule": Kind("0.22.27", spoil=_rule),
    "lost-record": Kind("0.36.9", spoil=_lose),
    "ugly": Kind("0.36.9", spoil=_ugly, more={"probes": PROBES}),
}


async def make(name: str, work: Path) -> None:
    """One report, written beside this file."""
    kind = KINDS[name]
    data = datasets.build(work / name, kind.old, hooks=kind.hooks)
    kind.spoil(data)

    async def silent(_: float | None, __: str) -> None:
        return None

    releases = Release(kind.old, executable(kind.old)), Release(kind.new, executable(kind.new))
    settings: dict[str, Any] = {"secrets": {}, **kind.more}
    found = await rehearse(Request(data, work / f"{name}-rehearsal", *releases, **settings), silent)
    (FOLDER / f"{name}.json").write_text(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n")
    print(name, found.verdict, len(found.findings), "findings")


def main() -> None:
    """Those that are named, or all."""
    with tempfile.TemporaryDirectory(prefix="pf-") as folder:
        for name in sys.argv[1:] or KINDS:
            asyncio.run(make(name, Path(folder)))


if __name__ == "__main__":
    main()
