"""Verbs of copies: snapshot, snapshots, backup, backups, download, restore, clone; and the feed: events."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import Json, Name, NoWait, Wait, connect, path_of
from pocketfleet.errors import BackupNotFound, WrongUsage

if TYPE_CHECKING:
    from pocketfleet.cli.client import Client


class SnapshotsVerb(StrEnum):
    """What to do with a snapshot."""

    REMOVE = "remove"


class BackupsVerb(StrEnum):
    """What to do with a backup."""

    VERIFY = "verify"
    REMOVE = "remove"


def snapshot(
    name: Name,
    note: Annotated[str, typer.Option(metavar="TEXT", help="A word to know it by.")] = "",
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Take a snapshot, to go back to. Nobody is stopped or woken for it."""
    operation = _carry_out("POST", path_of(name, "snapshots"), {"note": note}, wait=not no_wait, as_json=as_json)
    if as_json:
        output.print_json(operation)
    elif no_wait:
        print(f"A snapshot of {name} is being taken.")
    else:
        from pocketfleet.cli.restoring import say_left_out

        found = operation["result"]
        print(
            f"{found['snapshot']}: {output.size(found['bytes'])}, {found['files']} files, PocketBase {found['release']}"
        )
        say_left_out(found)


def snapshots(
    name: Name,
    verb: Annotated[SnapshotsVerb | None, typer.Argument(metavar="[remove]", help="Without it: all of them.")] = None,
    subject: Annotated[str | None, typer.Argument(metavar="[SNAPSHOT]", help="Its id.")] = None,
    as_json: Json = False,
) -> None:
    """Show an instance's snapshots, or remove one."""
    if verb is not None:
        path = path_of(name, "snapshots", _part(_needed(subject, "snapshots", verb)))
        _finish("DELETE", path, "The snapshot is removed.", as_json=as_json)
        return
    with connect() as client:
        found = client.get(path_of(name, "snapshots"))["items"]
    if as_json:
        output.print_json(found)
        return
    rows = [
        [
            item["id"],
            item["purpose"],
            item["release"],
            output.size(item["size"]),
            output.ago(item["created_at"]),
            item["note"],
        ]
        for item in found
    ]
    empty = f"{name} has no snapshots; take one: `pocketfleet snapshot {name}`."
    output.print_table(("id", "purpose", "release", "size", "taken", "note"), rows, empty=empty)


def backup(
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="With hooks, migrations and public files.")] = False,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Make a backup: a zip that PocketBase can restore. Nobody is stopped or woken for it."""
    operation = _carry_out("POST", path_of(name, "backups"), {"full": full}, wait=not no_wait, as_json=as_json)
    if as_json:
        output.print_json(operation)
    elif no_wait:
        print(f"A backup of {name} is being made.")
    else:
        found = operation["result"]
        print(f"{found['name']}: {output.size(found['bytes'])}, PocketBase {found['release']}")
        output.say(f"Take it away: `pocketfleet download {name} {found['name']}`.")


def backups(
    name: Name,
    verb: Annotated[
        BackupsVerb | None, typer.Argument(metavar="[verify|remove]", help="Without it: all of them.")
    ] = None,
    subject: Annotated[str | None, typer.Argument(metavar="[BACKUP]", help="Its name or id.")] = None,
    as_json: Json = False,
) -> None:
    """Show an instance's backups, read one whole, or remove one."""
    if verb is not None:
        path = path_of(name, "backups", _part(_needed(subject, "backups", verb)))
        if verb is BackupsVerb.VERIFY:
            _finish("POST", f"{path}/verify", "The backup is sound.", as_json=as_json)
        else:
            _finish("DELETE", path, "The backup is removed.", as_json=as_json)
        return
    with connect() as client:
        found = client.get(path_of(name, "backups"))["items"]
    if as_json:
        output.print_json(found)
        return
    rows = [
        [
            item["name"],
            item["purpose"],
            item["release"],
            output.size(item["size"]),
            "everything" if item["full"] else "data",
            output.ago(item["created_at"]),
        ]
        for item in found
    ]
    empty = f"{name} has no backups; make one: `pocketfleet backup {name}`."
    output.print_table(("name", "purpose", "release", "size", "holds", "made"), rows, empty=empty)


def download(
    name: Name,
    which: Annotated[str, typer.Argument(metavar="BACKUP", help="Its name or id.")],
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to; here, by its name.")] = None,
    as_json: Json = False,
) -> None:
    """Download a backup. Broken off, the same command goes on where it was."""
    from pocketfleet.cli.transferring import fetch

    with connect() as client:
        chosen = _backup(client.get(path_of(name, "backups"))["items"], which)
        if chosen is None:
            raise BackupNotFound(f"{name} has no backup “{which[:70]}”; `pocketfleet backups {name}` shows them.")
        target = file or Path(chosen["name"])
        target = target / chosen["name"] if target.is_dir() else target
        if target.exists():
            raise WrongUsage(f"{target} is there already. Name another file, or remove that one.")
        address = path_of(name, "backups", chosen["name"], "file")
        resumed = fetch(client, address, chosen, target, quiet=as_json)
    if as_json:
        output.print_json({**chosen, "file": str(target), "resumed": resumed})
    else:
        print(target)
        output.say(f"Mended, bring it back: `pocketfleet restore {name} FILE` tries it on copies first.")


def restore(
    name: Name,
    what: Annotated[
        str, typer.Argument(metavar="SNAPSHOT|BACKUP|FILE", help="A snapshot's id, a backup's name, or a zip here.")
    ],
    rehearse: Annotated[bool, typer.Option("--rehearse", help="Only try it on copies and tell.")] = False,
    no_rehearsal: Annotated[
        bool, typer.Option("--no-rehearsal", help="Do not try a file on copies first, as is usual.")
    ] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on with the changes that the newest report on this told.")
    ] = False,
    rehearsal: Annotated[
        str | None,
        typer.Option("--report", metavar="REHEARSAL", help="Accept what this report told, instead of the newest."),
    ] = None,
    wait: Wait = True,
    as_json: Json = False,
) -> None:
    """Bring back what a snapshot, a backup or a file holds; a file is rehearsed on copies first.

    Ends with 3 where you must look at the report first, with 4 where it did not work and all is as before.
    """
    from pocketfleet.cli.follow import ask
    from pocketfleet.cli.restoring import print_restore
    from pocketfleet.cli.upgrades import end

    wanted = {"rehearse_only": rehearse, "accept_changes": accept_changes, "rehearsal": rehearsal}
    with connect() as client:
        body = {**_origin(client, name, what, quiet=as_json), **{key: value for key, value in wanted.items() if value}}
        if no_rehearsal:
            body["rehearse"] = False
        operation = ask(client, "POST", path_of(name, "restore"), body, wait=wait, quiet=as_json)
        if not as_json:
            print_restore(client, operation, name, what, only=rehearse)
    end(operation, as_json=as_json)


def clone(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The name of the clone.")],
    origin: Annotated[
        str | None, typer.Option("--from", metavar="SNAPSHOT|BACKUP", help="Instead of as it is now.")
    ] = None,
    keep_mail: Annotated[bool, typer.Option("--keep-mail", help="Leave its mail server switched on.")] = False,
    keep_s3: Annotated[bool, typer.Option("--keep-s3", help="Leave its S3 storage switched on.")] = False,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Make a new instance with the data of another. Its mail and S3 are switched off."""
    from pocketfleet.cli.follow import follow, must_succeed

    with connect() as client:
        body: dict[str, Any] = {"name": new, "keep_mail": keep_mail, "keep_s3": keep_s3}
        if origin is not None:
            body |= _copy_of(client, name, origin)
        made = client.post(path_of(name, "clone"), body)
        if not no_wait:
            made["operation"] = follow(client, made["operation"], quiet=as_json)
            must_succeed(made["operation"], as_json=as_json)
            made["instance"] = client.get(f"/instances/{made['instance']['id']}")
    if as_json:
        output.print_json({**made["instance"], "operation": made["operation"]})
        return
    instance, off = made["instance"], made["operation"]["result"].get("switched_off") or []
    words = "is being made" if no_wait else f"is there, with PocketBase {instance['release']}"
    print(f"{new} {words}: {instance['url']}")
    if "s3" in off:
        output.say("! Files of the original lie in S3, which is switched off here: they are not in the clone.")
    if "mail" in off:
        output.say("Its mail is switched off; switch it on in its admin page when it may write to people.")


def events(
    name: Name,
    number: Annotated[int, typer.Option("--tail", "-n", min=1, max=1000, help="How many.")] = 20,
    as_json: Json = False,
) -> None:
    """Show what happened to an instance: upgrades, restores, failed backups."""
    with connect() as client:
        found = client.get(path_of(name, "events"), limit=number)["items"]
    if as_json:
        output.print_json(found)
        return
    if not found:
        output.say(f"Nothing worth a word has happened to {name} yet.")
    for item in reversed(found):
        mark = {"warning": "!", "problem": "✗"}.get(item["weight"], " ")
        print(f"{item['at'][:16].replace('T', ' ')} {mark} {output.plain(item['text'])}")


VERBS: dict[str, Callable[..., None]] = {
    "snapshot": snapshot,
    "snapshots": snapshots,
    "backup": backup,
    "backups": backups,
    "download": download,
    "restore": restore,
    "clone": clone,
    "events": events,
}


def _carry_out(
    method: str, path: str, body: dict[str, Any] | None = None, *, wait: bool = True, as_json: bool
) -> dict[str, Any]:
    """The operation, once it has succeeded where that is waited for."""
    from pocketfleet.cli.follow import ask, must_succeed

    with connect() as client:
        operation = ask(client, method, path, body, wait=wait, quiet=as_json)
    must_succeed(operation, as_json=as_json)
    return operation


def _finish(method: str, path: str, done: str, *, as_json: bool) -> None:
    operation = _carry_out(method, path, as_json=as_json)
    if as_json:
        output.print_json(operation)
    else:
        print(done)


def _origin(client: Client, name: str, what: str, *, quiet: bool) -> dict[str, Any]:
    """A file where it looks like one or nothing else has that name; else a snapshot or a backup."""
    from pocketfleet.cli.transferring import send

    file = Path(what)
    if "/" not in what and (known := _known_copy(client, name, what)):
        return known
    if not file.is_file():
        raise WrongUsage(
            f"“{what[:70]}” is neither a snapshot nor a backup of {name}, nor a file here. "
            f"`pocketfleet snapshots {name}` and `pocketfleet backups {name}` show what there is."
        )
    return {"upload": send(client, file, quiet=quiet, instance=name)}


def _copy_of(client: Client, name: str, what: str) -> dict[str, str]:
    found = _known_copy(client, name, what)
    if not found:
        raise WrongUsage(f"“{what[:70]}” is neither a snapshot nor a backup of {name}.")
    return found


def _known_copy(client: Client, name: str, what: str) -> dict[str, str]:
    for item in client.get(path_of(name, "snapshots"))["items"]:
        if item["id"] == what:
            return {"snapshot": what}
    found = _backup(client.get(path_of(name, "backups"))["items"], what)
    return {"backup": found["name"]} if found else {}


def _backup(items: list[dict[str, Any]], what: str) -> dict[str, Any] | None:
    return next((item for item in items if what in (item["id"], item["name"], item["name"].removesuffix(".zip"))), None)


def _needed(subject: str | None, verb: str, what: str) -> str:
    if subject is None:
        raise WrongUsage(f"Say which one: `pocketfleet {verb} NAME {what} {verb.removesuffix('s').upper()}`.")
    return subject


def _part(text: str) -> str:
    """A part of a path. Raises WrongUsage for what can be none."""
    if not text or not all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in text):
        raise WrongUsage(f"“{text[:70]}” is neither a name nor an id.")
    return text
