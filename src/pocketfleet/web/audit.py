"""The audit as people read it: who did what to what, when and from where, in plain words; filtered and in pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from pocketfleet.models import Audit, Instance, Team, User
from pocketfleet.web.guest_limits import own_words
from pocketfleet.web.tags import size

Row = dict[str, Any]

#: What an action's name says; `{name}` is what it was done to, the others come from the row's details.
SENTENCES = {
    "open_admin": "opened the admin page of {instance} as {superuser}",
    "make_admin_ticket": "asked for the admin page of {instance}",
    "revoke_superusers": "took away superusers of {instance}: {emails}",
    "sign_up": "made an account with {email}",
    "delete_account": "deleted the account {name}",
    "forget_unverified": "forgot the account {name}, whose address was never verified",
    "leave_as_it_is": "left {instance} as it is",
    "verify_address": "showed that {email} is theirs",
    "add_address": "asked for the address {email}",
    "remove_address": "removed the address {email}",
    "change_address": "changed their address from {before} to {after}",
    "set_password": "set a password",
    "change_password": "changed their password",
    "reset_password": "set a new password by mail",
    "add_second_factor": "added a second factor ({kind})",
    "remove_second_factor": "removed a second factor ({kind})",
    "renew_second_factor": "renewed a second factor ({kind})",
    "end_session": "ended a session at {address}",
    "end_other_sessions": "ended {count} other sessions",
    "sign_out": "signed out",
    "drop_mail": "dropped a mail that waited",
    "create_team": "made the team “{name}”",
    "rename_team": "renamed the team from “{before}” to “{after}”",
    "delete_team": "ended the team “{name}”",
    "invite": "invited {email} as {role}",
    "withdraw_invitation": "withdrew the invitation of {email}",
    "invite_to_sign_up": "invited {email} to make an account",
    "withdraw_sign_up_invitation": "withdrew the invitation of {email} to make an account",
    "join_team": "joined the team as {role}",
    "change_role": "made {person} {after} instead of {before}",
    "remove_member": "removed {name} from the team",
    "leave_team": "left the team",
    "set_limits": "set the team's limits: {awake_words} awake at once, {storage_words} of storage",
    "set_guest_limits": "set what each of the team's instances may use: {resources_words}",
    "set_traffic_limits": "set the team's limits of traffic: {limits_words}",
    "set_trusted": "let the team trust {trusted_words}",
    "allow_address": "let {network} in without limits",
    "deny_address": "denied {network}",
    "drop_address": "took {network} off the list of those to {listing}",
    "move_instance": "moved {instance} to another team",
    "receive_instance": "moved {instance} to this team",
    "create_token": "made the token “{name}”",
    "delete_token": "took back the token “{name}”",
    "create_instance": "created {instance}",
    "rename_instance": "renamed {before} to {after}",
    "set_power": "powered {instance} {power}",
    "change_settings": "changed settings of {instance}",
    "change_secrets": "changed secrets of {instance}: {names}",
    "rotate_key": "sealed {sealed} secrets with a new key",
    "forget_keys": "removed the older keys that secrets were sealed with",
    "change_policy": "changed how {instance} follows its range",
    "set_range": "let {instance} follow {range}",
    "set_probes": "changed the probes of {instance}",
    "sleep_instance": "put {instance} to sleep",
    "delete_instance": "deleted {instance}",
    "snapshot_instance": "took a snapshot of {instance}",
    "backup_instance": "backed up {instance}",
    "restore_instance": "started a restore of {instance}",
    "clone_instance": "cloned {source} as {instance}",
    "import_instance": "imported {instance}",
    "upgrade_instance": "started an upgrade of {instance}",
    "rollback_instance": "took {instance} back to a snapshot",
    "suspend_instance": "suspended {instance}: {reason}",
    "lift_suspension": "lifted the suspension of {instance}",
    "verify": "checked a backup of {instance}",
    "delete_backup": "deleted a backup of {instance}",
    "delete_snapshot": "deleted a snapshot of {instance}",
    "download_backup": "downloaded the backup {name} of {instance}",
    "upload": "uploaded a file",
    "sign_in": "signed in",
    "use_sign_in_link": "signed in by a link",
    "fail_second_factor": "could not show the second factor of {person}",
    "make_sign_in_link": "made a sign-in link for {person}",
    "make_operator": "made {person} an operator",
    "take_operator_back": "took the operator's rights from {person}",
    "switch_account_off": "switched off the account {person}",
    "switch_account_on": "switched on the account {person}",
    "refresh_releases": "looked for new releases",
    "fetch_release": "fetched PocketBase {subject}",
}
#: How somebody was known, as people say it.
VIA = {"session": "in a browser", "token": "with a token", "operator file": "on the server's command line"}
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows: of this verb, by this person, about this instance (ids); "" for all."""

    verb: str = ""
    actor: str = ""
    subject: str = ""

    def condition(self) -> Q:
        """As a condition of a query; what no row can have matches none."""
        given = {name: getattr(self, name) for name in ("verb", "actor", "subject") if getattr(self, name)}
        if any("\0" in value for value in given.values()):
            return Q(pk__in=[])
        return Q(**given)


def rows(team_id: str | None, wanted: Filter | None = None, *, before: int | None = None, limit: int = 50) -> list[Row]:
    """The newest first, of this team (None: of everything), those before one of them; four queries at most."""
    found = Audit.objects.filter((wanted or Filter()).condition()).order_by("-id")
    if team_id is not None:
        found = found.filter(team=team_id)
    if before is not None:
        found = found.filter(id__lt=min(before, 2**63 - 1))
    page = list(found[:limit])
    names = _names(page)
    return [_row(row, names) for row in page]


def actors(team_id: str) -> list[str]:
    """Who did anything in this team, for a choice."""
    found = Audit.objects.filter(team=team_id).order_by("actor").values_list("actor", flat=True).distinct()
    return list(found[:200])


def verbs(team_id: str | None) -> list[str]:
    """What was done, for a choice."""
    if team_id is None:
        return sorted(SENTENCES)
    found = Audit.objects.filter(team=team_id).order_by("verb").values_list("verb", flat=True).distinct()
    return list(found[:200])


def words(verb: str) -> str:
    """An action's name as a choice says it."""
    return verb.replace("_", " ")


@dataclass(frozen=True, slots=True)
class _Names:
    instances: dict[str, str]
    people: dict[str, str]
    teams: dict[str, str]


def _names(page: Iterable[Audit]) -> _Names:
    subjects = {row.subject for row in page} | {str(row.detail.get("source")) for row in page}
    numbers = {int(subject) for subject in subjects if subject.isascii() and subject.isdigit() and len(subject) < 19}
    known = Instance.objects.filter(id__in=[each for each in subjects if len(each) == 15])
    instances = known.values_list("id", "name")
    people = User.objects.filter(pk__in=numbers).values_list("pk", "username") if numbers else ()
    teams = Team.objects.filter(id__in={row.team for row in page if row.team}).values_list("id", "name")
    return _Names(
        {instance_id: name for instance_id, name in instances if name},
        {str(pk): name for pk, name in people},
        dict(teams),
    )


def _row(row: Audit, names: _Names) -> Row:
    return {
        "id": row.id,
        "at": row.at,
        "actor": row.actor,
        "verb": row.verb,
        "text": _sentence(row, names),
        "subject": row.subject,
        "subject_name": names.instances.get(row.subject, ""),
        "team": row.team,
        "team_name": names.teams.get(row.team, ""),
        "address": row.address,
        "via": row.via,
        "from_where": ", ".join(part for part in (VIA.get(row.via, row.via), row.address) if part),
        "detail": row.detail,
    }


class _Words(dict[str, Any]):
    """Details for a sentence; what is missing is left open."""

    def __missing__(self, key: str) -> str:
        return "…"


def _limit(name: str, value: Any) -> str:
    if value is None:
        return "the server's number" if name == "awake" else "the server's share"
    if not value:
        return "any number" if name == "awake" else "any amount"
    return size(value) if name == "storage" and isinstance(value, int) else str(value)


def _sentence(row: Audit, names: _Names) -> str:
    """What was done, in plain words. Details are text from people: never more than text."""
    known = {key: ", ".join(map(str, value)) if isinstance(value, list) else value for key, value in row.detail.items()}
    instance = names.instances.get(row.subject) or known.get("name") or row.subject
    person = names.people.get(row.subject) or known.get("name") or row.subject
    source = names.instances.get(str(known.get("source")), "another instance")
    given = _Words({**known, "subject": row.subject, "instance": instance, "person": person, "source": source})
    if row.verb == "set_limits":
        given |= {f"{name}_words": _limit(name, known.get(name)) for name in ("awake", "storage")}
    if row.verb == "set_traffic_limits":
        own = known.get("limits")
        named = [f"{name.replace('_', ' ')} {number}" for name, number in own.items()] if isinstance(own, dict) else []
        given["limits_words"] = ", ".join(named) or "the server's"
    if row.verb == "set_guest_limits":
        own = known.get("limits")
        given["resources_words"] = ", ".join(own_words(own) if isinstance(own, dict) else []) or "the server's"
    if row.verb == "set_trusted":
        given["trusted_words"] = known.get("trusted") or "nobody"
    text = SENTENCES.get(row.verb, row.verb.replace("_", " ") + " {instance}")
    return text.format_map(given)[:_LONGEST]
