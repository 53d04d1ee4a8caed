"""Verbs of an instance's configuration: secrets, settings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import INTENT_SECONDS, Json, Name, NoWait, connect, path_of
from pocketfleet.cli.instances import report_intent
from pocketfleet.cli.limits import parse_limits, show_limits
from pocketfleet.cli.plans import parse_backup, parse_retention, show_backup, show_retention
from pocketfleet.cli.windows import parse_window, show_window
from pocketfleet.errors import WrongSecret, WrongSetting, WrongUsage

_YES_NO = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
SETTINGS = (
    "idle_timeout",
    "dev",
    "always_awake",
    "admin_sync",
    "range",
    "policy",
    "window",
    "backup",
    "snapshots",
    "limits",
)
#: Settings that have another name in the API.
_NAMES = {"backup": "backup_plan", "snapshots": "retention", "limits": "traffic_limits"}


class SecretVerb(StrEnum):
    """What to do with secrets."""

    SET = "set"
    UNSET = "unset"


def secrets(
    name: Name,
    verb: Annotated[SecretVerb | None, typer.Argument(metavar="[set|unset]", help="Without it: their names.")] = None,
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="[K=V ...]", help="`set K=V`, or `set K=-` to read the value from stdin; `unset K`."),
    ] = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Show the names of an instance's secrets, set or unset some. They count from its next start."""
    changes = _secret_changes(verb, items or [])
    with connect() as client:
        if changes:
            found = client.patch(path_of(name, "secrets"), changes, wait=0 if no_wait else INTENT_SECONDS)
        else:
            found = client.get(path_of(name, "secrets"))
    if as_json:
        output.print_json(found["items"])
    elif changes:
        print("Noted: they count from its next start.")
    else:
        output.print_table(["name"], [[item["name"]] for item in found["items"]], empty=f"{name} has no secrets.")


def settings(
    name: Name,
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[K=V ...]",
            help="idle_timeout=SECONDS|default, dev=on|off, always_awake=on|off, admin_sync=on|off, "
            "range=RANGE, policy=auto|schema-safe|ask|off, window='mon-fri 02:00-05:00 Europe/Vienna'|any, "
            "backup='0 3 * * * Europe/Vienna keep=7 full'|off, snapshots='last=5 daily=7 weekly=4'|default, "
            "limits='address_hourly=500 instance_at_once=100'|default.",
        ),
    ] = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Show an instance's settings, or change some."""
    changes = dict(_setting(item) for item in items or [])
    with connect() as client:
        if not changes:
            _print_settings(client.get(path_of(name)), as_json=as_json)
            return
        instance = client.patch(path_of(name), changes, wait=0 if no_wait else INTENT_SECONDS)
    if not as_json:
        _print_settings(instance, as_json=False)
    report_intent(instance, "", as_json=as_json, waited=not no_wait)


VERBS: dict[str, Callable[..., None]] = {"secrets": secrets, "settings": settings}


def _secret_changes(verb: SecretVerb | None, items: list[str]) -> dict[str, str | None]:
    if verb is None:
        return {}
    if not items:
        raise WrongUsage(
            f"Which ones? For example: `pocketfleet secrets NAME {verb} SMTP_PASSWORD{'=...' * (verb == 'set')}`."
        )
    if verb == SecretVerb.UNSET:
        return dict.fromkeys(items)
    changes: dict[str, str | None] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise WrongSecret(
                f"“{key[:70]}” has no value: write {key[:70]}=VALUE, or {key[:70]}=- to read it from stdin."
            )
        changes[key] = value
    _read_from_stdin(changes)
    return changes


def _read_from_stdin(changes: dict[str, str | None]) -> None:
    wanted = [key for key, value in changes.items() if value == "-"]
    if len(wanted) > 1:
        raise WrongSecret("Only one secret at a time can be read from stdin.")
    for key in wanted:
        value = typer.prompt(key, hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
        changes[key] = value.removesuffix("\n")


def _setting(item: str) -> tuple[str, Any]:
    key, equals, value = item.partition("=")
    if key not in SETTINGS:
        raise WrongSetting(f"There is no setting “{key[:70]}”; there are {', '.join(SETTINGS)}.", setting=key[:70])
    if not equals:
        raise WrongSetting(f"{key} needs a value: {key}=...", setting=key)
    if key in ("range", "policy"):
        return key, value
    if key == "window":
        return key, parse_window(value)
    if key in _NAMES:
        parse = {"backup": parse_backup, "snapshots": parse_retention, "limits": parse_limits}[key]
        return _NAMES[key], parse(value)
    if key == "idle_timeout":
        if value == "default":
            return key, None
        if not (value.isascii() and value.isdecimal()):
            raise WrongSetting("idle_timeout takes whole seconds, or `default`.", setting=key)
        return key, int(value)
    if value.lower() not in _YES_NO:
        raise WrongSetting(f"{key} takes on or off.", setting=key)
    return key, _YES_NO[value.lower()]


def _print_settings(instance: dict[str, Any], *, as_json: bool) -> None:
    values = {key: instance.get(_NAMES.get(key, key)) for key in SETTINGS}
    if as_json:
        output.print_json(values)
        return
    own = instance.get("idle_timeout_own") is not None
    output.print_facts(
        [
            ("idle_timeout", f"{values['idle_timeout']}{'' if own else '   (default)'}"),
            ("dev", "on" if values["dev"] else "off"),
            ("always_awake", "on" if values["always_awake"] else "off"),
            ("admin_sync", "on" if values["admin_sync"] else "off"),
            ("range", values["range"]),
            ("policy", values["policy"]),
            ("window", show_window(values["window"] or {})),
            ("backup", show_backup(values["backup"] or {})),
            ("snapshots", show_retention(values["snapshots"] or {})),
            ("limits", show_limits(values["limits"] or {})),
        ]
    )
