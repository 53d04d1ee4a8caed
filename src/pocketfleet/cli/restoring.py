"""What a restore says at its end: the report where it was rehearsed, how to go on, what is there now."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from pocketfleet.cli import output
from pocketfleet.cli.upgrades import rehearsal_of

if TYPE_CHECKING:
    from pocketfleet.cli.client import Client


def print_restore(client: Client, operation: dict[str, Any], name: str, what: str, *, only: bool) -> None:
    """Everything that a person needs to know of how it went, and what comes next. `only`: it was to be rehearsed."""
    from pocketfleet.cli.reports import print_report

    state, result = operation["state"], operation["result"]
    restored = state == "succeeded" and not only
    if not restored and (found := rehearsal_of(client, operation)) is not None:
        print_report(found)
        print()
    if restored:
        _print_restored(name, result)
    elif state == "succeeded":
        print("This was a rehearsal; nothing was changed.")
        if operation["verdict"] != "broken":
            print(f"To do it: {_again(name, what, accept=operation['verdict'] == 'changed')}")
    elif state == "asking":
        for text in result.get("new_reasons") or []:
            print(f"New since the report that you accepted: {output.plain(text)}")
        print(f"Nothing was changed. To go on: {_again(name, what, accept=True)}")
    elif state in ("pending", "running"):
        print(f"{name} is being restored; see `pocketfleet operations {name}`.")
    elif operation["error"].get("code") == "restore_refused":
        print(f"Mend that, and try again: {_again(name, what, accept=False)}")


def _again(name: str, what: str, *, accept: bool) -> str:
    return shlex.join(["pocketfleet", "restore", name, what, *(["--accept-changes"] if accept else [])])


def _print_restored(name: str, result: dict[str, Any]) -> None:
    print(f"{name} is restored, on PocketBase {result['release']}.")
    if result["release"] != result["from"]:
        output.say(f"! It ran {result['from']} before; this data fits {result['range']}, which it follows now.")
    if result["snapshot"]:
        output.say(f"What was there before: `pocketfleet restore {name} {result['snapshot']}` brings it back.")
    say_left_out(result)
    if result.get("off"):
        output.say(f"It is switched off. Let people in again: `pocketfleet power {name} on`.")


def say_left_out(result: dict[str, Any]) -> None:
    """What of the files was not taken."""
    for word in result.get("left_out") or []:
        output.say(f"! left out: {output.plain(word)}")
