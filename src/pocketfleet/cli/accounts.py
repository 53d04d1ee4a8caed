"""Verbs of who you are: login, logout, whoami, tokens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer

from pocketfleet.cli import output
from pocketfleet.cli.common import Json, chosen, connect
from pocketfleet.domain.roles import Verb
from pocketfleet.errors import NotSignedIn, WrongUsage

#: Verbs that a token without a scope has (domain/roles.py).
_ALL_VERBS = len(Verb)


class TokenVerb(StrEnum):
    """What to do with tokens."""

    CREATE = "create"
    REVOKE = "revoke"


def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="The dashboard's address.")],
    token: Annotated[
        str | None, typer.Option(help="A token made by `pocketfleet tokens create`; asked for if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sign in to a pocketfleet elsewhere, with a token."""
    from pocketfleet.cli.client import Client
    from pocketfleet.cli.credentials import Server, clean_url, near_addresses, store
    from pocketfleet.config import load

    url = clean_url(url)
    token = token or _token_from_person()
    with Client(Server(url, token, near_addresses(url))) as client:
        me = client.get("/me")
    file = store(url, token)
    if as_json:
        output.print_json({"name": me["name"], "url": url})
        return
    print(f"Signed in to {url} as {me['name']}.")
    if load(client=True).operator_file.exists():
        output.say(f"A pocketfleet runs on this machine, too, and comes first: add `--server {url}` to mean this one.")
    output.say(f"The token is kept in {file}.")


def logout(as_json: Json = False) -> None:
    """Forget the token that `login` stored."""
    from pocketfleet.cli.credentials import forget

    url = forget(chosen.server)
    if url is None:
        raise NotSignedIn("You are not signed in anywhere by `login`; there is nothing to forget.")
    if as_json:
        output.print_json({"url": url})
    else:
        print(f"Signed out of {url}. The token still works; take it back there: `pocketfleet tokens revoke ID`.")


def whoami(as_json: Json = False) -> None:
    """Show as whom and where you are signed in."""
    with connect() as client:
        me = client.get("/me")
        url = client.server.url
    if as_json:
        output.print_json({**me, "url": url})
    else:
        print(f"{me['name']} at {url}" + (" (the operator)" if me.get("operator") else ""))
        if me.get("token"):
            print(_what_it_may(me["token"]))


def _what_it_may(token: Mapping[str, Any]) -> str:
    """`Token laptop: view, operate; team club; 2 instances; until 2026-12-01`."""
    said = [", ".join(token["verbs"])]
    if token["team"]:
        said.append(f"team {token['team']}")
    if token["instances"]:
        said.append(f"{len(token['instances'])} instance{'s' if len(token['instances']) > 1 else ''} only")
    if token["expires_at"]:
        said.append(f"until {token['expires_at'][:10]}")
    return f"Token {token['name']}: {'; '.join(said)}"


def tokens(
    verb: Annotated[
        TokenVerb | None, typer.Argument(metavar="[create|revoke]", help="Without it: all of them.")
    ] = None,
    subject: Annotated[str | None, typer.Argument(metavar="[NAME|ID]", help="`create NAME`, `revoke ID`.")] = None,
    expires_in_days: Annotated[
        int | None, typer.Option("--expires", metavar="DAYS", min=1, help="Days until it ends.")
    ] = None,
    team: Annotated[str | None, typer.Option(metavar="TEAM", help="The only team that it may touch.")] = None,
    instances: Annotated[
        list[str] | None, typer.Option("--instance", metavar="NAME", help="An instance that it may touch; repeatable.")
    ] = None,
    can: Annotated[
        list[str] | None, typer.Option(metavar="VERB", help="What it may do, such as view or operate; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show, make or revoke tokens, with which other machines sign in."""
    if verb is not None and subject is None:
        raise WrongUsage(f"Say which one: `pocketfleet tokens {verb} {'NAME' if verb == TokenVerb.CREATE else 'ID'}`.")
    if verb == TokenVerb.CREATE:
        scope = {"instances": instances, "verbs": [word for each in can for word in each.split(",")] if can else None}
        _create_token(str(subject), expires_in_days, team, scope, as_json=as_json)
    elif verb == TokenVerb.REVOKE:
        _revoke_token(str(subject), as_json=as_json)
    else:
        _list_tokens(as_json=as_json)


VERBS: dict[str, Callable[..., None]] = {"login": login, "logout": logout, "whoami": whoami, "tokens": tokens}


def _create_token(
    name: str, expires_in_days: int | None, team: str | None, scope: dict[str, Any], *, as_json: bool
) -> None:
    from pocketfleet.cli.teams import find_team

    body: dict[str, Any] = {"name": name, "expires_in_days": expires_in_days, **scope}
    with connect() as client:
        body["team"] = find_team(client, team)["id"] if team else None
        body = {key: value for key, value in body.items() if value is not None}
        made = client.post("/tokens", body)
        url = client.server.url
    if as_json:
        output.print_json(made)
        return
    print(made["token"])
    output.say(f"Shown only now. Use it elsewhere: `pocketfleet login {url}`.")


def _revoke_token(identifier: str, *, as_json: bool) -> None:
    if not identifier.isalnum():
        raise WrongUsage(f"“{identifier[:70]}” is not a token's id; `pocketfleet tokens` shows them.")
    with connect() as client:
        client.delete(f"/tokens/{identifier}")
    if as_json:
        output.print_json({"id": identifier})
    else:
        print("The token is revoked.")


def _list_tokens(*, as_json: bool) -> None:
    with connect() as client:
        found = client.get("/tokens")["items"]
    if as_json:
        output.print_json(found)
        return
    rows = [
        [
            item["id"],
            item["name"],
            f"{item['hint']}…",
            _may(item),
            output.ago(item.get("used_at")) or "never",
            (item.get("expires_at") or "never")[:10],
        ]
        for item in found
    ]
    empty = "There are no tokens; make one: `pocketfleet tokens create laptop`."
    output.print_table(("id", "name", "begins with", "may", "used", "expires"), rows, empty=empty)


def _may(token: dict[str, Any]) -> str:
    """What a token may do, in a few words."""
    verbs = token.get("verbs") or []
    words = [",".join(verbs) if 0 < len(verbs) < _ALL_VERBS else "all"]
    words += ["in one team"] if token.get("team") else []
    words += [f"with {len(token['instances'])} instance(s)"] if token.get("instances") else []
    return " ".join(words)


def _token_from_person() -> str:
    token = typer.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not token.strip():
        raise WrongUsage("A token is needed. Make one where pocketfleet runs: `pocketfleet tokens create laptop`.")
    return str(token).strip()
