"""Verbs of changing releases: upgrade, rollback, report, probes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import Json, Name, Wait, connect, path_of
from pocketfleet.errors import RehearsalNotFound, WrongUsage

if TYPE_CHECKING:
    from pocketfleet.cli.client import Client


#: Errors of an upgrade that say that the data, or what lies beside it, must be mended.
_BY_HAND = ("release_broken", "start_failed", "verification_failed")


def upgrade(
    name: Name,
    version_range: Annotated[
        str | None,
        typer.Argument(metavar="[RANGE]", help="Version or range to follow from then on; without it, what it follows."),
    ] = None,
    rehearse: Annotated[bool, typer.Option("--rehearse", help="Only try it on a copy and tell.")] = False,
    accept_changes: Annotated[
        bool,
        typer.Option("--accept-changes", help="Go on with the changes that the newest report on this told."),
    ] = False,
    rehearsal: Annotated[
        str | None,
        typer.Option("--report", metavar="REHEARSAL", help="Accept what this report told, instead of the newest."),
    ] = None,
    wait: Wait = True,
    as_json: Json = False,
) -> None:
    """Change an instance's release: rehearsed on a copy, switched while requests wait, back by itself if it fails.

    Ends with 3 where you must look at the report first, with 4 where everything was put back.
    """
    from pocketfleet.cli.follow import ask

    wanted = {
        "range": version_range,
        "rehearse_only": rehearse,
        "accept_changes": accept_changes,
        "rehearsal": rehearsal,
    }
    with connect() as client:
        body = {key: value for key, value in wanted.items() if value}
        operation = ask(client, "POST", path_of(name, "upgrade"), body, wait=wait, quiet=as_json)
        found = None if as_json else rehearsal_of(client, operation)
    if not as_json:
        _print_upgrade(operation, found, name, version_range)
    end(operation, as_json=as_json)


def rollback(
    name: Name,
    snapshot: Annotated[
        str | None, typer.Argument(metavar="[SNAPSHOT]", help="Its id; without it, from before the last upgrade.")
    ] = None,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Go back although what was written since is lost.")
    ] = False,
    export: Annotated[
        bool, typer.Option("--export", help="Write what would be lost as a zip among the backups.")
    ] = False,
    wait: Wait = True,
    as_json: Json = False,
) -> None:
    """Go back to a snapshot and its release. Where that loses anything it says what, and ends with 3."""
    from pocketfleet.cli.follow import ask

    wanted = {"snapshot": snapshot, "accept_loss": accept_loss, "export": export}
    with connect() as client:
        body = {key: value for key, value in wanted.items() if value}
        operation = ask(client, "POST", path_of(name, "rollback"), body, wait=wait, quiet=as_json)
    if not as_json:
        _print_rollback(operation, name)
    end(operation, as_json=as_json)


def report(
    name: Name,
    rehearsal: Annotated[
        str | None, typer.Argument(metavar="[REHEARSAL]", help="Its id; without it, the newest.")
    ] = None,
    all_: Annotated[bool, typer.Option("--list", help="Show which there are.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a rehearsal found: of a release, or of data to be restored."""
    from pocketfleet.cli.reports import print_report

    with connect() as client:
        items = client.get(path_of(name, "rehearsals"))["items"]
        if all_:
            _list_rehearsals(items, name, as_json=as_json)
            return
        chosen = rehearsal or (items[0]["id"] if items else None)
        if chosen is None:
            raise RehearsalNotFound(
                f"Nothing was rehearsed yet, so there is no report: `pocketfleet upgrade {name} RANGE --rehearse`."
            )
        found = client.get(f"/rehearsals/{_id(chosen)}")
    if as_json:
        output.print_json(found)
    else:
        print_report(found)


class ProbesVerb(StrEnum):
    """What to do with probes."""

    ADD = "add"
    REMOVE = "remove"


class Identity(StrEnum):
    """As whom a probe is made."""

    ANONYMOUS = "anonymous"
    SUPERUSER = "superuser"


def probes(
    name: Name,
    verb: Annotated[ProbesVerb | None, typer.Argument(metavar="[add|remove]", help="Without it: show them.")] = None,
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[[METHOD] PATH | NUMBER]", help="`add GET /path`, `remove 2`.")
    ] = None,
    status: Annotated[int | None, typer.Option(help="The status that the answer must have.")] = None,
    expect: Annotated[str | None, typer.Option(metavar="JSON", help="What the answer must hold.")] = None,
    body: Annotated[str | None, typer.Option(metavar="JSON", help="What is sent.")] = None,
    identity: Annotated[Identity, typer.Option("--as", help="Who asks.")] = Identity.ANONYMOUS,
    safe: Annotated[
        bool, typer.Option("--safe", help="It changes nothing: ask it of the live data, too, after a switch.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Your own requests, which every rehearsal makes of the old and the new release."""
    with connect() as client:
        items = client.get(path_of(name, "probes"))["items"]
        if verb is ProbesVerb.ADD:
            made = {"expect_status": status, "identity": identity.value, "safe": safe, **_asked(what or [])}
            items.append(made | {"expect_json": _json("--expect", expect), "body": _json("--body", body)})
        elif verb is ProbesVerb.REMOVE:
            del items[_number(what or [], len(items))]
        if verb is not None:
            items = client.put(path_of(name, "probes"), {"items": items})["items"]
    if as_json:
        output.print_json(items)
        return
    _list_probes(items, name)


VERBS: dict[str, Callable[..., None]] = {
    "upgrade": upgrade,
    "rollback": rollback,
    "report": report,
    "probes": probes,
}


def rehearsal_of(client: Client, operation: dict[str, Any]) -> dict[str, Any] | None:
    """What was found, once the operation has ended and where there was a rehearsal."""
    rehearsal = operation["result"].get("rehearsal")
    found: dict[str, Any] | None = client.get(f"/rehearsals/{_id(rehearsal)}") if rehearsal else None
    return found


def _print_upgrade(
    operation: dict[str, Any], found: dict[str, Any] | None, name: str, version_range: str | None
) -> None:
    from pocketfleet.cli.reports import print_report

    state, old, new = operation["state"], operation["from"], operation["to"]
    switched = state == "succeeded" and operation["held_ms"] is not None
    if found is not None and not switched:
        print_report(found)
        print()
    if state == "succeeded":
        _print_upgraded(operation, name, switched=switched, rehearsed=found is not None)
    elif state == "asking":
        for text in operation["result"].get("new_reasons") or []:
            print(f"New since the report that you accepted: {output.plain(text)}")
        words = ["pocketfleet", "upgrade", name, *([version_range] if version_range else []), "--accept-changes"]
        print(f"Nothing was changed. To go on: {shlex.join(words)}")
    elif state in ("pending", "running"):
        print(f"{name}: from {old} to {new}, under way; see `pocketfleet operations {name}`.")
    else:
        if last := operation["result"].get("last_that_works"):
            print(f"The last release that works with this data: {last}")
        if operation["error"].get("code") in _BY_HAND:
            print(f"To mend the data by hand, take it as it is: pocketfleet backup {name} --full")


def _print_upgraded(operation: dict[str, Any], name: str, *, switched: bool, rehearsed: bool) -> None:
    old, new = operation["from"], operation["to"]
    if switched:
        held = output.duration(operation["held_ms"] / 1000)
        print(f"{name} runs PocketBase {new} now, before {old}. Requests waited for {held} at most.")
        print(f"To go back: pocketfleet rollback {name}")
    elif rehearsed:
        print("This was a rehearsal; nothing was changed.")
    else:
        print(f"{name} runs PocketBase {new} already.")


def _print_rollback(operation: dict[str, Any], name: str) -> None:
    from pocketfleet.cli.reports import print_losses

    result = operation["result"]
    if operation["state"] == "asking":
        print(f"Going back to PocketBase {operation['to']} would lose what was written since:\n")
        print_losses(result.get("lost", {}))
        words = ["pocketfleet", "rollback", name, str(result.get("snapshot", "")), "--accept-loss"]
        print(f"\nNothing was changed. To go on: {shlex.join(words)}")
    elif operation["state"] == "succeeded":
        held = output.duration((operation["held_ms"] or 0) / 1000)
        print(
            f"{name} is back on PocketBase {operation['to']}, before {operation['from']}. Requests waited for {held}."
        )
        if checkpoint := result.get("checkpoint"):
            print(f"What was there until now is kept: snapshot {checkpoint}")
    if file := result.get("export"):
        print(f"What is lost, as a file: {file}, among its backups")
    if operation["state"] in ("pending", "running"):
        print(f"{name} goes back to PocketBase {operation['to']}; see `pocketfleet operations {name}`.")


def end(operation: dict[str, Any], *, as_json: bool) -> None:
    """Print the operation where JSON is wanted, and end with its exit code; asking is no error."""
    from pocketfleet.cli.follow import failure, result_code

    if as_json:
        output.print_json(operation)
    code = result_code(operation)
    if code not in (output.DONE, output.ASKING):
        output.fail(failure(operation), as_json=as_json)
    if code:
        raise typer.Exit(code)


def _list_rehearsals(items: list[dict[str, Any]], name: str, *, as_json: bool) -> None:
    if as_json:
        output.print_json(items)
        return
    rows = [
        [
            item["id"],
            item.get("kind", "upgrade"),
            item["from"],
            item["to"],
            item["verdict"],
            output.ago(item["created_at"]),
            next(iter(item["reasons"]), "")[:80],
        ]
        for item in items
    ]
    empty = f"Nothing was rehearsed yet: `pocketfleet upgrade {name} RANGE --rehearse`."
    output.print_table(("id", "of", "from", "to", "verdict", "when", "first reason"), rows, empty=empty)


def _list_probes(items: list[dict[str, Any]], name: str) -> None:
    rows = [
        [
            number,
            item["method"],
            item["path"],
            item["identity"],
            item["expect_status"],
            None if item["expect_json"] is None else json.dumps(item["expect_json"]),
            "yes" if item["safe"] else None,
        ]
        for number, item in enumerate(items, 1)
    ]
    columns = ("number", "method", "path", "as", "status", "holds", "safe")
    empty = f"{name} has no probes. One: `pocketfleet probes {name} add /api/health --status 200 --safe`."
    output.print_table(columns, rows, empty=empty)


def _asked(what: list[str]) -> dict[str, str]:
    if len(what) not in (1, 2):
        raise WrongUsage("Which request? For example: `pocketfleet probes NAME add GET /api/health`.")
    return {"method": what[0] if len(what) == 2 else "GET", "path": what[-1]}


def _number(what: list[str], count: int) -> int:
    if len(what) != 1 or not what[0].isdecimal() or not 1 <= int(what[0]) <= count:
        raise WrongUsage(f"Which one? A number from 1 to {count}, as `pocketfleet probes NAME` shows them.")
    return int(what[0]) - 1


def _json(option: str, text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise WrongUsage(f"{option} takes JSON, for example '{{\"code\": 200}}'.") from None


def _id(text: str) -> str:
    """As a part of a path. What could not be an id is one that is not there."""
    return text if text.isascii() and text.isalnum() else "unknown"
