"""Who is asking: a token's owner, the operator of this machine, or somebody signed in with a browser."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, cast

from django.contrib.auth import get_user
from django.http import HttpRequest

from pocketfleet.actions.sign_in import find_operator
from pocketfleet.actions.tokens import known_token
from pocketfleet.config import Config
from pocketfleet.domain import roles
from pocketfleet.domain.roles import ALL_VERBS, Role, Verb
from pocketfleet.errors import NotSignedIn
from pocketfleet.models import Membership, Token, User

if TYPE_CHECKING:
    from django_htmx.middleware import HtmxDetails

    from pocketfleet.web.hub import Hub

#: What the operator's token of this start begins with; `serve` writes it to a file of mode 0600.
OPERATOR_PREFIX = "pfo_"


class Via(StrEnum):
    """How the caller is known."""

    TOKEN = "token"  # noqa: S105
    OPERATOR_FILE = "operator file"
    SESSION = "session"


@dataclass(frozen=True)
class Caller:
    """Who is asking, and how we know; `token` where they sent one."""

    user: User
    via: Via
    token: Token | None = None

    @cached_property
    def roles(self) -> dict[str, Role]:
        """What they are in which team: one query, the first time."""
        found = Membership.objects.filter(user=self.user).values_list("team_id", "role")
        return {team: Role(role) for team, role in found}

    @property
    def token_is_whole(self) -> bool:
        """Whether no token narrows what they may do."""
        token = self.token
        if token is None:
            return True
        return token.team_id is None and not token.instances and set(token.verbs) >= set(ALL_VERBS)

    def may(self, verb: Verb, team_id: str | None = None, instance_id: str | None = None) -> bool:
        """Whether they may do this to this team's instance; without an instance to the team, without both at all."""
        if not self._token_allows(verb, team_id, instance_id):
            return False
        if self.user.is_superuser:
            return True
        return verb is not Verb.SERVE and team_id is not None and roles.may(self.roles.get(team_id), verb)

    def _token_allows(self, verb: Verb, team_id: str | None, instance_id: str | None) -> bool:
        token = self.token
        if token is None:
            return True
        fits = verb in token.verbs and token.team_id in (None, team_id)
        return fits and (not token.instances or instance_id in token.instances)


class FleetRequest(HttpRequest):
    """What our middleware adds to Django's request. For type checkers: never made."""

    #: None for a stranger
    caller: Caller | None
    #: why a token was refused, where one was given
    refusal: NotSignedIn | None
    htmx: HtmxDetails
    hub: Hub


def caller_of(request: HttpRequest) -> Caller:
    """Who is asking. Raises NotSignedIn with what to do about it."""
    known = cast(FleetRequest, request)
    if known.caller is None:
        raise known.refusal or NotSignedIn(
            "You are not signed in. Send `Authorization: Bearer <token>`; `pocketfleet tokens create` makes one."
        )
    return known.caller


def identify(request: HttpRequest, config: Config) -> Caller | None:
    """The caller, or None for a stranger; at most two queries. Raises NotSignedIn for a token that is not known."""
    header = request.headers.get("Authorization")
    if header is None:
        user = get_user(request)
        return Caller(user, Via.SESSION) if isinstance(user, User) else None
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise NotSignedIn("The Authorization header must be `Bearer <token>`.")
    if token.startswith(OPERATOR_PREFIX):
        return _operator(token, config)
    found = known_token(token)
    if found is None:
        raise NotSignedIn("This token is not known, or no longer. Make another: `pocketfleet tokens create`.")
    return Caller(found.user, Via.TOKEN, found)


def _operator(token: str, config: Config) -> Caller:
    try:
        expected = json.loads(config.operator_file.read_text())["token"]
    except (OSError, ValueError, KeyError, TypeError):
        expected = ""
    user = None
    if isinstance(expected, str) and expected.startswith(OPERATOR_PREFIX):
        same = hmac.compare_digest(expected.encode(), token.encode(errors="replace"))
        user = find_operator() if same else None
    if user is None:
        raise NotSignedIn("This operator's token is of another start; the command line reads the new one by itself.")
    return Caller(user, Via.OPERATOR_FILE)
