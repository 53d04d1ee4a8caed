"""What the edge lets through: a team's limits and whom it trusts, and the operator's lists of addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from pocketfleet.actions.limits import locked_team
from pocketfleet.actions.records import audited, changed
from pocketfleet.domain.networks import holds, parse_network, parse_trusted, shown
from pocketfleet.domain.traffic import parse_limits
from pocketfleet.errors import AddressNotFound, WrongUsage
from pocketfleet.models import ListedAddress, Team, User

LISTINGS = ("allow", "deny")
LONGEST_NOTE = 200
#: Of both lists together: the edge keeps them in memory, and a page shows them.
MOST_LISTED = 10_000


@dataclass(frozen=True, slots=True)
class TeamTraffic:
    """What a team has of its own: limits by name, and whom it trusts."""

    limits: dict[str, int]
    trusted: tuple[str, ...] = ()


def set_traffic_limits(team_id: str, limits: Mapping[str, Any], *, acting_user: User) -> Team:
    """Limits of a team's own by name, in place of all that it had; those left out or None are the server's.

    Raises WrongSetting, TeamNotFound.
    """
    checked = parse_limits(limits)
    with transaction.atomic():
        team = locked_team(team_id)
        team.traffic_limits = checked
        team.save(update_fields=["traffic_limits"])
        audited(acting_user, "set_traffic_limits", team.id, team=team.id, limits=checked)
        changed("team", team.id)
    return team


def set_trusted(team_id: str, networks: Iterable[object], *, acting_user: User) -> Team:
    """Whom a team trusts, in place of whom it trusted before. Raises WrongUsage, TeamNotFound."""
    checked = parse_trusted(networks)
    with transaction.atomic():
        team = locked_team(team_id)
        if team.trusted != checked:
            team.trusted = checked
            team.save(update_fields=["trusted"])
            audited(acting_user, "set_trusted", team.id, team=team.id, trusted=checked)
            changed("team", team.id)
    return team


def team_traffic() -> dict[str, TeamTraffic]:
    """Of every team that has anything of its own."""
    found = Team.objects.exclude(traffic_limits={}, trusted=[]).values_list("id", "traffic_limits", "trusted")
    return {team_id: TeamTraffic(limits, tuple(trusted)) for team_id, limits, trusted in found}


def list_address(
    text: str, listing: str, note: str = "", *, caller_address: str = "", acting_user: User
) -> ListedAddress:
    """Put an address or network on a list, in place of what it was on. Raises WrongUsage: also for a denial of
    `caller_address`, the one that asks for it."""
    network = parse_network(text)
    note = " ".join(note.split())
    if listing not in LISTINGS:
        raise WrongUsage("An address is listed as `allow` or `deny`.", field="listing")
    if len(note) > LONGEST_NOTE or not note.isprintable():
        raise WrongUsage(f"A note has at most {LONGEST_NOTE} characters.", field="note")
    if listing == "deny" and holds(network, caller_address):
        raise WrongUsage(f"{shown(network)} holds {caller_address}, your own address: you would lock yourself out.")
    with transaction.atomic():
        if ListedAddress.objects.count() >= MOST_LISTED:
            raise WrongUsage(f"The lists hold {MOST_LISTED:,} addresses, and that is all they can.")
        row, _ = ListedAddress.objects.update_or_create(
            network=shown(network), defaults={"listing": listing, "note": note, "listed_by": acting_user}
        )
        audited(acting_user, f"{listing}_address", str(row.pk), team="", network=row.network, note=note)
        changed("addresses", row.network)
    return row


def drop_address(text: str, *, acting_user: User) -> None:
    """Take an address or network off its list. Raises WrongUsage, AddressNotFound."""
    network = shown(parse_network(text))
    with transaction.atomic():
        row = ListedAddress.objects.select_for_update().filter(network=network).first()
        if row is None:
            raise AddressNotFound(f"{network} is on neither list.")
        audited(acting_user, "drop_address", str(row.pk), team="", network=network, listing=row.listing)
        row.delete()
        changed("addresses", network)


def listed_addresses() -> dict[str, str]:
    """Every network on a list, and on which."""
    return dict(ListedAddress.objects.values_list("network", "listing"))
