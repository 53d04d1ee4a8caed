"""Verbs of a running instance: power, sleep."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import INTENT_SECONDS, Json, Name, NoWait, connect, path_of
from pocketfleet.cli.instances import report_intent


class Switch(StrEnum):
    """The two positions of power."""

    ON = "on"
    OFF = "off"


def power(
    name: Name,
    to: Annotated[Switch, typer.Argument(metavar="on|off", help="off: not reachable, on purpose.")],
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Power an instance on or off (maintenance mode)."""
    with connect() as client:
        failing = to is Switch.OFF and client.get(path_of(name))["state"] == "failing"
        instance = client.patch(path_of(name), {"power": to.value}, wait=0 if no_wait else INTENT_SECONDS)
    if failing and not as_json:
        output.say(
            f"It is not tried any more. What it said: `pocketfleet logs {instance['name']}`. "
            f"To mend its data by hand, take it: `pocketfleet backup {instance['name']} --full`."
        )
    done = f"{instance['name']} is powered {to.value}" + (f": {instance['url']}" if to == Switch.ON else ".")
    report_intent(instance, done, as_json=as_json, waited=not no_wait)


def sleep(name: Name, no_wait: NoWait = False, as_json: Json = False) -> None:
    """Put an instance to sleep now; the next request wakes it."""
    from pocketfleet.cli.follow import follow, must_succeed

    with connect() as client:
        operation = client.post(path_of(name, "sleep"))["operation"]
        if not no_wait:
            operation = follow(client, operation, quiet=as_json)
    must_succeed(operation, as_json=as_json)
    if as_json:
        output.print_json(operation)
    else:
        print(f"{operation.get('instance') or name} {'is being put to sleep' if no_wait else 'sleeps'}.")


VERBS: dict[str, Callable[..., None]] = {"power": power, "sleep": sleep}
