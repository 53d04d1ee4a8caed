"""Verbs of an instance's life: create, list, show, open, rename, delete."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import INTENT_SECONDS, AnyName, Json, Name, NoWait, connect, path_of
from pocketfleet.cli.windows import ANY, show_window
from pocketfleet.errors import WrongUsage

if TYPE_CHECKING:
    from pocketfleet.cli.client import Client


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its subdomain: small letters, digits, hyphens.")],
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="RANGE", help="Version or range to follow, such as 0.22.27 or '~0.40.0'."),
    ] = None,
    email: Annotated[str | None, typer.Option(help="Address of the first superuser.")] = None,
    password: Annotated[str | None, typer.Option(help="Its password; generated and shown once if left out.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    origin: Annotated[
        Path | None,
        typer.Option("--from", metavar="ZIP|FOLDER", help="A PocketBase that is there already: a backup, or a folder."),
    ] = None,
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="Whose it is; your own team's if left out.")] = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Make a new instance and wait until it is there."""
    from pocketfleet.cli.follow import follow, must_succeed
    from pocketfleet.cli.teams import find_team

    if password_stdin:
        password = _password_from_stdin(password)
    wanted = {"name": name, "range": version, "email": email, "password": password}
    with connect() as client:
        wanted["team"] = find_team(client, team)["id"] if team is not None else None
        if origin is not None:
            made = _imported(client, origin, wanted, quiet=as_json)
        else:
            made = client.post("/instances", {key: value for key, value in wanted.items() if value is not None})
        if not no_wait:
            made["operation"] = follow(client, made["operation"], quiet=as_json)
            must_succeed(made["operation"], as_json=as_json)
            made["instance"] = client.get(f"/instances/{made['instance']['id']}")
            made["superuser"] = {**made["superuser"], "email": made["instance"]["superuser_email"]}
    if as_json:
        output.print_json({**made["instance"], "superuser": made["superuser"], "operation": made["operation"]})
    else:
        _print_created(made, waited=not no_wait)


def list_(
    search: Annotated[str | None, typer.Argument(metavar="[TEXT]", help="Only those with this in their name.")] = None,
    as_json: Json = False,
) -> None:
    """Show all instances."""
    with connect() as client:
        instances = client.all("/instances", search=search)
    if as_json:
        output.print_json(instances)
        return
    columns = ["name", "state", "release", "range", "address"]
    rows = [[item["name"], item["state"], item["release"], item["range"], item["url"]] for item in instances]
    names = [(item.get("team") or {}).get("name", "–") for item in instances]
    if len(set(names)) > 1:
        columns.insert(1, "team")
        rows = [[row[0], name, *row[1:]] for row, name in zip(rows, names, strict=True)]
    output.print_table(columns, rows, empty="There is no instance yet; make one: `pocketfleet create shop`.")


def show(name: Name, as_json: Json = False) -> None:
    """Show everything about one instance."""
    with connect() as client:
        instance = client.get(path_of(name))
        usage = client.get(f"/instances/{instance['id']}/usage", period="month")
    totals = {name: usage[name] for name in ("last_day", "last_month", "snapshots_size", "backups_size")}
    if as_json:
        output.print_json({**instance, "usage": totals})
    else:
        print_instance(instance, totals)
        if instance["state"] == "failing":
            output.say(f"\nTo stop it being tried: `pocketfleet power {instance['name']} off`.")


def open_(
    name: AnyName = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="Its admin page, signed in, by way of the dashboard's page for that.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Open an instance in the browser; without a name the dashboard, signed in."""
    if admin and not name:
        raise WrongUsage("Whose admin page? For example: `pocketfleet open shop --admin`.")
    with connect() as client:
        instance = client.get(path_of(name)) if name else {}
        if admin:
            # a browser's session opens it: a token in a terminal is not enough
            address = f"{client.get('/server')['url']}/instances/{instance['id']}/admin"
        else:
            address = instance["url"] if name else client.post("/sign-in-links")["link"]
    if as_json:
        output.print_json({"url": address})
        return
    print(address)
    if sys.stdout.isatty():
        _browse(address)


def rename(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name; the old one is free at once.")],
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Give an instance another name. Its permanent address stays."""
    with connect() as client:
        instance = client.patch(path_of(name), {"name": new}, wait=0 if no_wait else INTENT_SECONDS)
    report_intent(instance, f"{name} is now {instance['name']}: {instance['url']}", as_json=as_json, waited=not no_wait)


def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Delete an instance that is powered off; its files stay in quarantine for some days."""
    from pocketfleet.cli.follow import follow, must_succeed

    with connect() as client:
        instance = client.get(path_of(name))
        if not yes:
            _ask_before_deleting(instance["name"])
        operation = client.delete(f"/instances/{instance['id']}")["operation"]
        if not no_wait:
            operation = follow(client, operation, quiet=as_json)
    must_succeed(operation, as_json=as_json)
    if as_json:
        output.print_json(operation)
    else:
        print(f"{instance['name']} is {'being deleted' if no_wait else 'deleted'}; its name is free again.")


VERBS: dict[str, Callable[..., None]] = {
    "create": create,
    "list": list_,
    "show": show,
    "open": open_,
    "rename": rename,
    "delete": delete,
}


def print_instance(instance: dict[str, Any], usage: dict[str, Any] | None = None) -> None:
    """All that a person may want to know of an instance, and what it was used for where that is given."""
    idle = f"{instance['idle_timeout']} s" + ("" if instance.get("idle_timeout_own") else " (the server's)")
    operation = instance.get("operation")
    output.print_facts(
        [
            ("Name", instance["name"]),
            ("State", instance["state"]),
            ("Reason", instance.get("reason")),
            ("Next try", instance.get("retry_at")),
            ("Address", instance["url"]),
            ("Admin page", f"{instance['url']}/_/"),
            ("Permanent address", instance.get("host_id")),
            ("Release", f"{instance['release']} (follows {instance['range']})"),
            ("By itself", _course(instance)),
            ("Power", instance.get("power")),
            ("Team", (instance.get("team") or {}).get("name")),
            ("Superuser", instance.get("superuser_email")),
            ("Sleeps after", "never" if instance.get("always_awake") else idle),
            ("Dev mode", "on" if instance.get("dev") else None),
            ("Secrets", ", ".join(instance.get("secrets") or [])),
            ("Awake since", instance.get("awake_since")),
            ("Last request", _last_request(instance)),
            ("Requests", usage and _requests(usage)),
            ("Size", _size(instance, usage)),
            ("Created", instance.get("created_at")),
            ("Id", instance["id"]),
            ("Busy with", operation and f"{operation['kind']} ({operation['state']})"),
        ]
    )


def report_intent(instance: dict[str, Any], done: str, *, as_json: bool, waited: bool) -> None:
    """Print an instance after a change of what is wanted, or `done`; exit code 1 where it is not in effect in time."""
    late = waited and instance["observed_generation"] < instance["generation"]
    if as_json:
        output.print_json(instance)
    elif done and not late:
        print(done)
    if late:
        if not as_json:
            output.say(f"✗ It is noted, but not in effect yet. See `pocketfleet show {instance['name']}`.")
        raise typer.Exit(output.FAILED)


def _print_created(made: dict[str, Any], *, waited: bool) -> None:
    instance, superuser = made["instance"], made["superuser"]
    print(f"{instance['name']} is {'there' if waited else 'being made'}, with PocketBase {instance['release']}.\n")
    output.print_facts(
        [
            ("Address", instance["url"]),
            ("Admin page", f"{instance['url']}/_/"),
            ("Email", superuser["email"]),
            ("Password", f"{superuser['password']}   (shown only now)" if superuser.get("password") else None),
        ]
    )


def _imported(client: Client, origin: Path, wanted: dict[str, str | None], *, quiet: bool) -> dict[str, Any]:
    """A new instance on its way, from a zip or a folder on this machine."""
    from pocketfleet.cli.packing import packed
    from pocketfleet.cli.transferring import send

    if origin.is_dir():
        with packed(origin) as archive:
            upload = send(client, archive, quiet=quiet, team=wanted.get("team") or "")
    elif origin.is_file():
        upload = send(client, origin, quiet=quiet, team=wanted.get("team") or "")
    else:
        raise WrongUsage(f"{origin} is neither a zip nor a folder.")
    body = {key: value for key, value in wanted.items() if value is not None}
    made: dict[str, Any] = client.post("/imports", body | {"upload": upload})
    return made | {"superuser": {"email": wanted["email"], "password": None}}


def _password_from_stdin(password: str | None) -> str:
    if password is not None:
        raise WrongUsage("Give --password or --password-stdin, not both.")
    return sys.stdin.readline().rstrip("\r\n")


def _course(instance: dict[str, Any]) -> str | None:
    """How it follows its range, and when it may."""
    window = show_window(instance.get("window") or {})
    return f"{instance['policy']}, {window}" if instance.get("policy") and window != ANY else instance.get("policy")


def _last_request(instance: dict[str, Any]) -> str | None:
    moment = instance.get("last_request_at")
    return f"{moment} ({output.ago(moment)})" if moment else None


def _requests(usage: dict[str, Any]) -> str:
    """`1,234 in 24 hours (2 server errors), 20,345 in 30 days`."""
    parts = []
    for span, name in (("24 hours", "last_day"), ("30 days", "last_month")):
        errors = usage[name]["server_errors"]
        note = f" ({errors:,} server error{'' if errors == 1 else 's'})" if errors else ""
        parts.append(f"{usage[name]['requests']:,} in {span}{note}")
    return ", ".join(parts)


def _size(instance: dict[str, Any], usage: dict[str, Any] | None) -> str | None:
    """`3.4 MB, snapshots 12 MB, backups 2.1 MB`."""
    if instance.get("size") is None:
        return None
    copies = [(name, (usage or {}).get(f"{name}_size")) for name in ("snapshots", "backups")]
    return ", ".join([output.size(instance["size"]), *(f"{name} {output.size(size)}" for name, size in copies if size)])


def _ask_before_deleting(name: str) -> None:
    if not sys.stdin.isatty():
        raise WrongUsage(f"Deleting {name} needs your word: add --yes.")
    if not typer.confirm(f"Delete {name} with all its data?", err=True):
        output.say("Nothing was deleted.")
        raise typer.Exit(output.FAILED)


def _browse(address: str) -> None:
    import webbrowser

    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    # the text browsers among them would take the terminal over
    if type(browser) is not webbrowser.GenericBrowser:
        browser.open(address)
