"""The shapes of teams, invitations and the audit; OpenAPI is made from them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Schema
from pydantic import Field

from pocketfleet.web.api.schemas import In, TrafficLimitsOut


class TeamIn(In):
    """A new team."""

    name: str = Field(max_length=500)


class TeamChangesIn(In):
    """What to change; what is left out stays."""

    name: str | None = Field(None, max_length=500)
    awake_limit: int | None = Field(None, description="For operators. Null: the server's; 0: none.")
    storage_limit: int | None = Field(None, description="For operators, bytes. Null: the server's; 0: none.")
    traffic_limits: dict[str, int | None] | None = Field(
        None, description="For operators: all that are its own, by name. Null or left out: the server's; 0: none."
    )
    guest_limits: dict[str, int | float | None] | None = Field(
        None,
        description="For operators: what each of its instances may use, all that is its own, by the names of "
        "`resources`. Null or left out: the server's; 0: no limit.",
    )
    trusted: list[str] | None = Field(None, max_length=100, description="Addresses and networks that it trusts.")


class TeamRowOut(Schema):
    """One team, in short."""

    id: str
    name: str
    own: bool = Field(description="The caller's own, from the start.")
    role: Literal["owner", "maintainer", "viewer"] | None = Field(description="Null for operators who are not in it.")
    members: int
    instances: int
    created_at: datetime


class MemberOut(Schema):
    """Somebody in a team."""

    user: int
    name: str
    email: str
    role: Literal["owner", "maintainer", "viewer"]
    since: datetime


class ResourcesOut(Schema):
    """What an instance may use at once; 0 for no limit."""

    memory: int = Field(description="Bytes, what it keeps in `/tmp` included.")
    cpus: float = Field(description="Processors' worth of time.")
    cpu_weight: int = Field(description="Its share where processors are short; 100 is everybody's.")
    processes: int = Field(description="Processes and threads.")
    open_files: int = Field(description="Of each process.")
    file_bytes: int = Field(description="Bytes of one file.")
    storage: int = Field(description="Bytes of all its files; over them it sleeps until there is room.")


class TeamOut(TeamRowOut):
    """One team with its people, what it uses and what it may use."""

    awake: int = Field(description="Instances awake now.")
    awake_limit: int = Field(description="What counts; 0 for no limit.")
    awake_limit_own: int | None = Field(description="Its own; null for the server's.")
    storage: int = Field(description="Bytes.")
    storage_limit: int
    storage_limit_own: int | None
    traffic_limits: dict[str, int] = Field(description="Its own, by name.")
    limits: TrafficLimitsOut = Field(description="What counts for its instances.")
    guest_limits: dict[str, int | float] = Field(description="What each of its instances may use, its own, by name.")
    resources: ResourcesOut | None = Field(
        description="What counts: `cpus`, `cpu_weight`, `storage` at once, others from an instance's next start. Null "
        "where this server has no sandbox to hold them to it."
    )
    trusted: list[str] = Field(description="Addresses and networks with higher limits, that may say for whom they ask.")
    people: list[MemberOut]


class TeamsOut(Schema):
    """A page of teams, and how many there are in all."""

    items: list[TeamRowOut]
    total: int


class RoleIn(In):
    """A role."""

    role: str = Field(max_length=20)


class InvitationIn(In):
    """Whom to invite."""

    email: str = Field(max_length=500)
    role: str = Field("viewer", max_length=20)


class InvitationOut(Schema):
    """An open invitation."""

    id: str
    email: str
    role: str
    invited_by: str
    created_at: datetime
    expires_at: datetime


class InvitationsOut(Schema):
    """Open invitations, the newest first."""

    items: list[InvitationOut]


class InvitedOut(Schema):
    """A new invitation; its link is shown this once."""

    id: str
    email: str
    role: str
    expires_at: datetime
    link: str
    mailed: bool = Field(description="Whether the mail server took it; false where none is set.")


class AcceptIn(In):
    """The last part of an invitation's link."""

    secret: str = Field(max_length=500)


class MoveIn(In):
    """The id of the team that gets it."""

    team: str = Field(max_length=100)


class AuditRowOut(Schema):
    """Who did what, when and from where."""

    id: int
    at: datetime
    actor: str
    verb: str
    text: str = Field(description="What was done, in plain words.")
    subject: str = Field(description="Id of what it was done to.")
    team: str
    address: str
    via: str
    detail: dict[str, Any]


class AuditOut(Schema):
    """Rows of the audit, the newest first."""

    items: list[AuditRowOut]
