"""Verbs of teams: who is in them, who is invited, what was done in them; and moving instances between them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import Json, Name, connect, path_of
from pocketfleet.cli.limits import parse_limits, show_counting
from pocketfleet.cli.resources import parse_resources, show_resources
from pocketfleet.errors import AddressNotFound, MemberNotFound, TeamNotFound, WrongUsage

if TYPE_CHECKING:
    from pocketfleet.cli.client import Client


class TeamVerb(StrEnum):
    """What to do with a team."""

    CREATE = "create"
    SHOW = "show"
    RENAME = "rename"
    DELETE = "delete"
    INVITE = "invite"
    WITHDRAW = "withdraw"
    ROLE = "role"
    REMOVE = "remove"
    AUDIT = "audit"
    LIMITS = "limits"
    RESOURCES = "resources"
    TRUST = "trust"
    DISTRUST = "distrust"


#: What comes after the verb, besides the team; "..." for one or more of the last.
_NEEDS = {
    TeamVerb.RENAME: ("NEW",),
    TeamVerb.INVITE: ("ADDRESS",),
    TeamVerb.WITHDRAW: ("ADDRESS",),
    TeamVerb.ROLE: ("PERSON", "ROLE"),
    TeamVerb.REMOVE: ("PERSON",),
    TeamVerb.LIMITS: ("LIMIT=NUMBER", "..."),
    TeamVerb.RESOURCES: ("LIMIT=NUMBER", "..."),
    TeamVerb.TRUST: ("ADDRESS", "..."),
    TeamVerb.DISTRUST: ("ADDRESS", "..."),
}


def teams(
    verb: Annotated[
        TeamVerb | None,
        typer.Argument(metavar=f"[{'|'.join(TeamVerb)}]", help="Without it: all of them."),
    ] = None,
    team: Annotated[str | None, typer.Argument(metavar="[TEAM]", help="Its name, or its id.")] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[...]",
            help="`rename TEAM NEW`, `trust TEAM ADDRESS`, `limits TEAM address_hourly=1000`, "
            "`resources TEAM memory=256MiB`, ...",
        ),
    ] = None,
    role: Annotated[str, typer.Option(help="What the invited one is: viewer, maintainer or owner.")] = "viewer",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Show, make and change teams: their people, invitations, and who did what."""
    given = words or []
    if verb is None:
        _list(as_json=as_json)
        return
    needs = ("TEAM", *_NEEDS.get(verb, ()))
    any_number = needs[-1] == "..." and bool(given)
    if team is None or (len(given) != len(needs) - 1 and not any_number):
        raise WrongUsage(f"Say `pocketfleet teams {verb} {' '.join(needs)}`.")
    if verb is TeamVerb.DELETE:
        _ask_before_ending(team, yes)
    with connect() as client:
        answer, said = _ACTS[verb](client, team, given, role)
    if as_json:
        output.print_json(answer)
    elif said:
        print(said)
    else:
        _PRINTS[verb](answer)


def move(
    name: Name,
    team: Annotated[str, typer.Argument(metavar="TEAM", help="The team that gets it: its name, or its id.")],
    as_json: Json = False,
) -> None:
    """Give an instance to another team."""
    with connect() as client:
        target = find_team(client, team)
        instance = client.post(path_of(name, "move"), {"team": target["id"]})
    if as_json:
        output.print_json(instance)
    else:
        print(f"{instance['name']} belongs to {target['name']} now.")


VERBS: dict[str, Callable[..., None]] = {"teams": teams, "move": move}


def find_team(client: Client, reference: str) -> dict[str, Any]:
    """The team with this id, or the only one of this name. Raises TeamNotFound, WrongUsage."""
    found = client.all("/teams", search=reference[:100])
    exact = [item for item in found if item["id"] == reference] or [item for item in found if item["name"] == reference]
    if not exact:
        raise TeamNotFound(f"There is no team “{reference[:70]}”; `pocketfleet teams` shows yours.")
    if len(exact) > 1:
        ids = ", ".join(item["id"] for item in exact)
        raise WrongUsage(f"There are {len(exact)} teams “{reference[:70]}”; give the id of one: {ids}.")
    return exact[0]


Answer = tuple[Any, str]


def _limits(client: Client, team: str, words: list[str], role: str) -> Answer:
    limits = parse_limits(" ".join(words))
    changed = client.patch(f"/teams/{find_team(client, team)['id']}", {"traffic_limits": limits})
    return changed, f"Each instance of {changed['name']}: {show_counting(changed['limits'])}."


def _resources(client: Client, team: str, words: list[str], role: str) -> Answer:
    own = parse_resources(" ".join(words))
    changed = client.patch(f"/teams/{find_team(client, team)['id']}", {"guest_limits": own})
    return changed, (
        f"Each instance of {changed['name']}: {show_resources(changed['resources'])}.\n"
        "Processor time and storage count at once, the rest from an instance's next start."
    )


def _trust(client: Client, team: str, words: list[str], role: str) -> Answer:
    found = client.get(f"/teams/{find_team(client, team)['id']}")
    return _trusting(client, found["id"], [*found["trusted"], *words])


def _distrust(client: Client, team: str, words: list[str], role: str) -> Answer:
    found = client.get(f"/teams/{find_team(client, team)['id']}")
    if strangers := set(words) - set(found["trusted"]):
        raise AddressNotFound(f"{found['name']} does not trust {sorted(strangers)[0][:70]}.")
    return _trusting(client, found["id"], [each for each in found["trusted"] if each not in words])


def _trusting(client: Client, team_id: str, addresses: list[str]) -> Answer:
    changed = client.patch(f"/teams/{team_id}", {"trusted": addresses})
    return changed, f"{changed['name']} trusts {', '.join(changed['trusted']) or 'nobody'}."


def _create(client: Client, team: str, words: list[str], role: str) -> Answer:
    made = client.post("/teams", {"name": team})
    return made, f"{made['name']} is made; its id is {made['id']}."


def _show(client: Client, team: str, words: list[str], role: str) -> Answer:
    return client.get(f"/teams/{find_team(client, team)['id']}"), ""


def _rename(client: Client, team: str, words: list[str], role: str) -> Answer:
    changed = client.patch(f"/teams/{find_team(client, team)['id']}", {"name": words[0]})
    return changed, f"The team is called {changed['name']} now."


def _delete(client: Client, team: str, words: list[str], role: str) -> Answer:
    found = find_team(client, team)
    client.delete(f"/teams/{found['id']}")
    return found, f"The team {found['name']} is ended."


def _invite(client: Client, team: str, words: list[str], role: str) -> Answer:
    found = find_team(client, team)
    made = client.post(f"/teams/{found['id']}/invitations", {"email": words[0], "role": role})
    how = "It was mailed, too." if made["mailed"] else "No mail was sent: give them the link."
    return made, f"{made['link']}\n{made['email']} becomes {made['role']} by this link, shown only now. {how}"


def _withdraw(client: Client, team: str, words: list[str], role: str) -> Answer:
    path = f"/teams/{find_team(client, team)['id']}/invitations"
    found = [item for item in client.get(path)["items"] if words[0] in (item["email"], item["id"])]
    if not found:
        raise MemberNotFound(f"{words[0][:70]} has no open invitation to this team.")
    client.delete(f"{path}/{found[0]['id']}")
    return found[0], f"The invitation of {found[0]['email']} is withdrawn."


def _role(client: Client, team: str, words: list[str], role: str) -> Answer:
    found = client.get(f"/teams/{find_team(client, team)['id']}")
    person = _person(found, words[0])
    changed = client.patch(f"/teams/{found['id']}/members/{person['user']}", {"role": words[1]})
    return changed, f"{person['name']} is {words[1]} now."


def _remove(client: Client, team: str, words: list[str], role: str) -> Answer:
    found = client.get(f"/teams/{find_team(client, team)['id']}")
    person = _person(found, words[0])
    client.delete(f"/teams/{found['id']}/members/{person['user']}")
    return person, f"{person['name']} is in {found['name']} no longer."


def _audit(client: Client, team: str, words: list[str], role: str) -> Answer:
    return client.get(f"/teams/{find_team(client, team)['id']}/audit")["items"], ""


_ACTS: dict[TeamVerb, Callable[[Any, str, list[str], str], Answer]] = {
    TeamVerb.CREATE: _create,
    TeamVerb.SHOW: _show,
    TeamVerb.RENAME: _rename,
    TeamVerb.DELETE: _delete,
    TeamVerb.INVITE: _invite,
    TeamVerb.WITHDRAW: _withdraw,
    TeamVerb.ROLE: _role,
    TeamVerb.REMOVE: _remove,
    TeamVerb.AUDIT: _audit,
    TeamVerb.LIMITS: _limits,
    TeamVerb.RESOURCES: _resources,
    TeamVerb.TRUST: _trust,
    TeamVerb.DISTRUST: _distrust,
}


def _list(*, as_json: bool) -> None:
    with connect() as client:
        found = client.all("/teams")
    if as_json:
        output.print_json(found)
        return
    rows = [[item["name"], item["role"] or "–", item["members"], item["instances"], item["id"]] for item in found]
    empty = "There is no team; make one: `pocketfleet teams create Bakery`."
    output.print_table(("name", "your role", "people", "instances", "id"), rows, empty=empty)


def _print_team(team: dict[str, Any]) -> None:
    awake = f"{team['awake']}" + (f" of {team['awake_limit']}" if team["awake_limit"] else "")
    storage = f"{team['storage']} bytes" + (f" of {team['storage_limit']}" if team["storage_limit"] else "")
    output.print_facts(
        [
            ("Name", team["name"]),
            ("Id", team["id"]),
            ("Your role", team["role"]),
            ("Instances", str(team["instances"])),
            ("Awake", awake),
            ("Storage", storage),
            ("Limits", show_counting(team["limits"])),
            ("Resources", show_resources(team["resources"])),
            ("Trusts", ", ".join(team["trusted"]) or "nobody"),
            *(
                (person["role"].capitalize(), f"{person['name']} {person['email']}".strip())
                for person in team["people"]
            ),
        ]
    )


def _print_audit(items: list[dict[str, Any]]) -> None:
    rows = [
        [item["at"][:16].replace("T", " "), item["actor"], item["text"], item["address"] or item["via"]]
        for item in items
    ]
    output.print_table(("when (UTC)", "who", "what", "from"), rows, empty="Nothing was done in this team yet.")


_PRINTS: dict[TeamVerb, Callable[[Any], None]] = {TeamVerb.SHOW: _print_team, TeamVerb.AUDIT: _print_audit}


def _person(team: dict[str, Any], reference: str) -> dict[str, Any]:
    """Somebody in a team by name or address. Raises MemberNotFound."""
    for person in team["people"]:
        if reference in (person["name"], person["email"]):
            return dict(person)
    raise MemberNotFound(f"There is no “{reference[:70]}” in {team['name']}; `pocketfleet teams show` names who is.")


def _ask_before_ending(team: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUsage(f"Ending {team} needs your word: add --yes.")
    if not typer.confirm(f"End the team {team}?", err=True):
        output.say("Nothing was changed.")
        raise typer.Exit(output.FAILED)
