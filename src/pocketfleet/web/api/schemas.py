"""The shapes of what the API takes and gives; OpenAPI is made from them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ninja import Schema
from pydantic import ConfigDict, Field

#: What may wait for an answer in seconds.
MAX_WAIT = 60


class In(Schema):
    """A body: what it does not know is refused, so that a misspelt field is not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ProblemOut(Schema):
    """RFC 9457: what went wrong, and the next step. Some problems carry more facts than these."""

    type: str
    title: str
    status: int
    code: str
    detail: str


class ServerOut(Schema):
    """This server."""

    name: str
    version: str
    domain: str
    url: str
    port: int


class MyTokenOut(Schema):
    """The token that the caller sent, and what it may do: no team, or no instances, means all that its owner may."""

    name: str
    verbs: list[str]
    team: str | None
    instances: list[str]
    expires_at: datetime | None


class MeOut(Schema):
    """Who the caller is; `token` is null for a browser and for the operator of this machine."""

    name: str
    operator: bool
    token: MyTokenOut | None


class OperationBriefOut(Schema):
    """The operation that is open on an instance."""

    id: str
    kind: str
    state: str


class TeamBriefOut(Schema):
    """Whose something is."""

    id: str
    name: str


class TrafficLimitsOut(Schema):
    """What clients may ask of an instance; 0 for no limit."""

    address_hourly: int = Field(description="Requests of one address in an hour; one of a file counts as a tenth.")
    address_at_once: int = Field(description="Requests of one address that are open at once.")
    instance_hourly: int
    instance_at_once: int
    trusted_address_hourly: int = Field(description="For an address that the team trusts.")
    trusted_instance_hourly: int


class InstanceOut(Schema):
    """One instance: what its owner wants, and what is."""

    id: str
    name: str | None
    url: str
    host_id: str = Field(description="Its permanent address, which survives renaming.")
    state: Literal["asleep", "waking", "awake", "held", "failing", "off", "suspended"]
    reason: str = Field(description="Why it is failing or suspended; empty otherwise.")
    retry_at: datetime | None
    range: str
    release: str
    power: Literal["on", "off"]
    dev: bool
    always_awake: bool
    admin_sync: bool = Field(description="Every member's address exists as a superuser of its PocketBase.")
    policy: Literal["auto", "schema-safe", "ask", "off"] = Field(description="How it follows its range by itself.")
    backup_plan: dict[str, Any] = Field(
        description="When it is backed up: `cron`, `zone`, `keep`, `full`; {} for never."
    )
    retention: dict[str, int] = Field(
        description="Snapshots kept: `last`, `daily`, `weekly`; {} for the server's rule."
    )
    traffic_limits: dict[str, int] = Field(description="Its own, stricter than its team's, by name; {} for none.")
    limits: TrafficLimitsOut = Field(description="What counts for it.")
    window: dict[str, Any] = Field(description="When it may: `days` (0 is Monday), `from`, `to`, `zone`; {} for ever.")
    idle_timeout: int = Field(description="Seconds that count: its own, or the server's.")
    idle_timeout_own: int | None
    superuser_email: str
    team: TeamBriefOut | None = Field(description="Whose it is; null where only the operators see it.")
    secrets: list[str] = Field(description="Names only; values never leave.")
    ready: bool
    awake_since: datetime | None
    last_request_at: datetime | None = Field(description="A few minutes late while it is awake; null for never.")
    size: int | None = Field(description="Bytes of its files when they were last measured; null until then.")
    created_at: datetime
    generation: int
    observed_generation: int = Field(description="What is wanted is so when this has reached `generation`.")
    operation: OperationBriefOut | None


class InstancesOut(Schema):
    """A page of instances, and how many there are in all."""

    items: list[InstanceOut]
    total: int


class UsageTotalsOut(Schema):
    """Requests that reached the edge, and their bytes."""

    requests: int
    client_errors: int = Field(description="Of the requests, those answered with 4xx.")
    server_errors: int = Field(description="Of the requests, those PocketBase answered with 5xx, or not at all.")
    bytes_in: int
    bytes_out: int


class UsageItemOut(UsageTotalsOut):
    """An hour or a day, UTC."""

    from_: datetime = Field(alias="from")
    to: datetime
    size: int | None = Field(description="Bytes of its files at the end of it; null where that is not known.")


class UsageOut(Schema):
    """What an instance was used for."""

    period: Literal["day", "month"]
    items: list[UsageItemOut] = Field(description="24 hours or 30 days, the oldest first; the last one goes on.")
    last_day: UsageTotalsOut
    last_month: UsageTotalsOut
    last_request_at: datetime | None
    size: int | None
    snapshots_size: int = Field(description="Bytes, files that several snapshots share counted in each.")
    backups_size: int


class StepOut(Schema):
    """One step of an operation."""

    name: str
    state: Literal["running", "done", "failed", "compensating", "compensated"]
    progress: float | None = Field(description="0 to 1; null where it cannot be known.")
    message: str
    started_at: datetime
    finished_at: datetime | None


class OperationOut(Schema):
    """One durable piece of work."""

    id: str
    kind: str
    instance: str | None
    instance_id: str | None
    release: str | None = Field(description="The release that it is about, where it is about one.")
    state: Literal["pending", "running", "asking", "succeeded", "failed", "rolled_back", "cancelled"]
    steps: list[StepOut]
    from_: str | None = Field(None, alias="from", description="The release before, where it changes one.")
    to: str | None = Field(None, description="The release after.")
    verdict: Literal["safe", "changed", "broken"] | None = Field(None, description="What its rehearsal says.")
    reasons: list[str] = Field([], description="Why not safe, in order of weight.")
    held_ms: int | None = Field(None, description="How long requests waited for a change of release.")
    error: dict[str, Any] = Field(description="A problem, where it failed; empty otherwise.")
    result: dict[str, Any]
    actor: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class OperationsOut(Schema):
    """Operations, the newest first."""

    items: list[OperationOut]


class StartedOut(Schema):
    """An operation that was opened, or was open already."""

    operation: OperationOut


class SuperuserOut(Schema):
    """The first superuser of a new instance; `password` only where it was generated here, and only this once."""

    email: str
    password: str | None


class CreatedOut(Schema):
    """A new instance on its way."""

    instance: InstanceOut
    operation: OperationOut
    superuser: SuperuserOut


class InstanceIn(In):
    """A new instance. Without a password one is generated and shown once."""

    name: str = Field(max_length=200)
    range: str | None = Field(None, max_length=500)
    email: str | None = Field(None, max_length=500)
    password: str | None = Field(None, max_length=500)
    settings: dict[str, Any] | None = None
    team: str | None = Field(None, max_length=100, description="The id of the team whose it is; else your own.")


class InstanceChangesIn(In):
    """What to change; what is left out stays. `idle_timeout: null` is the server's."""

    name: str | None = Field(None, max_length=200)
    power: Literal["on", "off"] | None = None
    range: str | None = Field(None, max_length=500)
    idle_timeout: int | None = None
    dev: bool | None = None
    always_awake: bool | None = None
    admin_sync: bool | None = None
    policy: str | None = Field(None, max_length=20)
    window: dict[str, Any] | None = None
    backup_plan: dict[str, Any] | None = None
    retention: dict[str, Any] | None = None
    traffic_limits: dict[str, int | None] | None = Field(
        None, description="All of its own by name; only those that are stricter than its team's count."
    )


class UpgradeIn(In):
    """An upgrade: rehearsed first; what is left out is as it was."""

    range: str | None = Field(None, max_length=500, description="What it follows from then on.")
    rehearse_only: bool = Field(False, description="Stop after the rehearsal.")
    accept_changes: bool = Field(
        False,
        description="Go on where the verdict is `changed`, if the newest rehearsal of this change told all of it.",
    )
    rehearsal: str | None = Field(
        None, max_length=100, description="The rehearsal whose findings are accepted, instead of the newest."
    )


class RollbackIn(In):
    """Going back."""

    snapshot: str | None = Field(None, max_length=100, description="Else the checkpoint of the last change of release.")
    accept_loss: bool = Field(False, description="Go on where records or files would be lost.")
    export: bool = Field(False, description="Write those as a zip among the backups; its name is `result.export`.")


class RehearsalBriefOut(Schema):
    """What a rehearsal says, in short."""

    id: str
    kind: Literal["upgrade", "restore"] = Field(description="Another release on the data, or other data in its place.")
    instance: str | None
    instance_id: str
    operation: str
    from_: str = Field(alias="from")
    to: str
    verdict: Literal["safe", "changed", "broken"]
    reasons: list[str] = Field(description="In order of weight.")
    created_at: datetime


class RehearsalOut(RehearsalBriefOut):
    """A rehearsal with its whole report, whose form has a version of its own."""

    report: dict[str, Any]


class RehearsalsOut(Schema):
    """Rehearsals, the newest first."""

    items: list[RehearsalBriefOut]


class ProbeIn(In):
    """A request that every rehearsal makes, of the old release and the new one."""

    method: str = Field("GET", max_length=20)
    path: str = Field(max_length=5000)
    identity: str = Field("anonymous", max_length=20)
    body: Any = None
    expect_status: int | None = None
    expect_json: Any = Field(None, description="What the answer must hold; objects may have more keys.")
    safe: bool = Field(False, description="It changes nothing, so it is made of live data too, after a switch.")


class ProbesIn(In):
    """All of an instance's probes."""

    items: list[ProbeIn] = Field(max_length=1000)


class ProbesOut(Schema):
    """An instance's probes."""

    items: list[dict[str, Any]]


class NameOut(Schema):
    """The name of a secret."""

    name: str


class SecretsOut(Schema):
    """The names of an instance's secrets."""

    items: list[NameOut]


class LineOut(Schema):
    """One line of an instance's log."""

    at: datetime
    stream: str
    text: str


class LinesOut(Schema):
    """Lines of an instance's log, the oldest first."""

    items: list[LineOut]


class ReleaseOut(Schema):
    """One published PocketBase version."""

    version: str
    line: str
    sources: list[str]
    fetched: bool
    schema_boundary: bool = Field(description="Carries a system migration.")
    published_at: datetime | None


class SourceOut(Schema):
    """Where releases come from."""

    name: str
    refreshed_at: datetime | None
    warning: str


class ReleasesOut(Schema):
    """The catalogue, the newest release first, and how the last look at each source went."""

    items: list[ReleaseOut]
    sources: list[SourceOut]


class ResolvedOut(Schema):
    """A range, and the release it stands for now."""

    range: str
    release: str


class TokenIn(In):
    """A new token."""

    name: str = Field(max_length=500)
    expires_in_days: int | None = None
    team: str | None = Field(None, max_length=100, description="The id of the only team it may touch.")
    instances: list[str] = Field([], max_length=100, description="Names or ids of the only instances it may touch.")
    verbs: list[str] | None = Field(None, max_length=20, description="What it may do; left out: all that you may.")


class TokenOut(Schema):
    """A token, without its secret."""

    id: int
    name: str
    hint: str
    created_at: datetime
    used_at: datetime | None
    expires_at: datetime | None
    team: str | None = Field(description="Id of the only team that it may touch.")
    instances: list[str] = Field(description="Ids of the only instances that it may touch; empty for all.")
    verbs: list[str] = Field(description="What it may do.")


class TokensOut(Schema):
    """The caller's tokens."""

    items: list[TokenOut]


class NewTokenOut(Schema):
    """A new token; its text is shown this once."""

    id: int
    name: str
    hint: str
    token: str


class LinkOut(Schema):
    """A link that signs somebody in once."""

    link: str
    expires_in: int = Field(description="Seconds.")
