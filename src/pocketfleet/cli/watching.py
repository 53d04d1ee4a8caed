"""Verbs to see what happens: logs, operations."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import AnyName, Json, Name, connect, path_of

if TYPE_CHECKING:
    from pocketfleet.cli.client import Client

#: Lines that are read again after a stream broke; those that were shown already are left out.
_OVERLAP = 500
_PAUSE = 0.5


def logs(
    name: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, help="Lines to begin with.")] = 100,
    as_json: Json = False,
) -> None:
    """Show an instance's log: PocketBase's output, and when it woke, slept or died. As JSON one line each."""
    with connect() as client:
        if follow:
            for line in followed(client, name, tail):
                _print_line(line, as_json=as_json)
            return
        lines = client.get(path_of(name, "logs"), tail=tail)["items"]
    for line in lines:
        _print_line(line, as_json=as_json)
    if not lines and not as_json:
        output.say(f"Nothing is in the log of {name} yet.")


def operations(name: AnyName = None, as_json: Json = False) -> None:
    """Show what was and is being done with an instance, or with all."""
    with connect() as client:
        found = client.get(path_of(name, "operations") if name else "/operations")["items"]
    if as_json:
        output.print_json(found)
        return
    rows = [
        [
            item["id"],
            item["kind"],
            item.get("instance"),
            item["state"],
            output.ago(item["created_at"]),
            _took(item),
            _said(item),
        ]
        for item in found
    ]
    output.print_table(
        ("id", "kind", "instance", "state", "begun", "took", "message"), rows, empty="Nothing was done yet."
    )


VERBS: dict[str, Callable[..., None]] = {"logs": logs, "operations": operations}


def followed(client: Client, name: str, tail: int) -> Iterator[dict[str, Any]]:
    """Lines as they come, each once, also when the stream breaks and the server is away for some seconds."""
    from pocketfleet.cli.client import Patience, Problem
    from pocketfleet.errors import NotAnswering

    shown = _Shown()
    patience = None
    while True:
        shown.begin()
        try:
            for event, line in client.events(path_of(name, "logs", "events"), tail=tail):
                patience = patience or Patience()
                patience.answered()
                if event == "line" and shown.is_new(line):
                    yield line
        except Problem:
            raise
        except NotAnswering:
            if patience is None or patience.is_over():
                raise
        tail = _OVERLAP
        time.sleep(_PAUSE)


class _Shown:
    """Which lines were shown before a stream broke: all up to a moment, and so many of that very moment."""

    def __init__(self) -> None:
        self._moment = ""
        self._count = 0
        self._behind = 0
        self._catching_up = False

    def begin(self) -> None:
        """A stream begins, with lines that may have been shown."""
        self._behind = self._count
        self._catching_up = True

    def is_new(self, line: dict[str, Any]) -> bool:
        """Whether the line was not shown yet; it counts as shown from now on."""
        moment = str(line["at"])
        if self._catching_up and moment < self._moment:
            return False
        if self._catching_up and moment == self._moment and self._behind:
            self._behind -= 1
            return False
        self._catching_up = False
        self._count = self._count + 1 if moment == self._moment else 1
        self._moment = moment
        return True


def _print_line(line: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps(line, ensure_ascii=False), flush=True)
        return
    moment = datetime.fromisoformat(line["at"]).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    mark = {"stderr": "!", "platform": "*"}.get(line["stream"], " ")
    print(f"{moment} {mark} {output.plain(line['text'])}", flush=sys.stdout.isatty())


def _took(operation: dict[str, Any]) -> str:
    if not operation.get("started_at") or not operation.get("finished_at"):
        return ""
    start, end = (datetime.fromisoformat(operation[key]) for key in ("started_at", "finished_at"))
    return output.duration((end - start).total_seconds())


def _said(operation: dict[str, Any]) -> str:
    error = (operation.get("error") or {}).get("detail")
    running = [step["message"] or step["name"] for step in operation.get("steps") or [] if step["state"] == "running"]
    return str(error or (running[-1] if running else ""))[:200]
