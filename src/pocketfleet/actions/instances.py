"""What people want of instances: create, rename, power, settings, secrets, range, sleep, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bcrypt
from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.utils import timezone

from pocketfleet.actions.limits import check_storage
from pocketfleet.actions.operations import check_idle, open_operation
from pocketfleet.actions.records import audited, changed
from pocketfleet.actions.sealed import keyring, opened
from pocketfleet.actions.superusers import want_members
from pocketfleet.actions.teams import team_for_new
from pocketfleet.actions.upgrades import change_policy
from pocketfleet.domain import addresses, hostnames, limits, ranges
from pocketfleet.domain.releases import Version
from pocketfleet.domain.retention import Retention
from pocketfleet.domain.schedules import BackupPlan
from pocketfleet.domain.secrets import check_secrets
from pocketfleet.domain.states import Power
from pocketfleet.domain.traffic import parse_limits
from pocketfleet.errors import (
    InstanceNotFound,
    MustBePoweredOff,
    NameTaken,
    RangeNeedsUpgrade,
    WrongSetting,
    WrongUsage,
)
from pocketfleet.models import Instance, Operation, Release, User

#: PocketBase's own cost for passwords (tools/security in its sources).
BCRYPT_COST = 10


def find_instance(reference: str) -> Instance:
    """The instance with this name or id, unless it is deleted. Raises InstanceNotFound."""
    field = "id" if hostnames.is_id(reference) else "name"
    # PostgreSQL refuses a NUL, and no name has one
    found = (
        Instance.objects.filter(deleted_at=None, **{field: reference}).first()
        if reference.isascii() and reference.isprintable()
        else None
    )
    if found is None:
        raise InstanceNotFound(reference[:70])
    return found


def create_instance(
    name: str,
    *,
    email: str,
    password: str,
    version_range: str | None = None,
    settings: Mapping[str, Any] | None = None,
    team: str | None = None,
    acting_user: User | None,
) -> tuple[Instance, Operation]:
    """A new instance of this team (left out: of who makes it), and the operation that builds it.

    The password of the first superuser is kept as its bcrypt hash only. Raises WrongName, NameTaken, WrongRange,
    NoReleaseMatches, WrongUsage, WrongSetting, TeamNotFound, StorageFull.
    """
    hostnames.check_name(name)
    check_superuser(email, password)
    intents = check_settings(settings or {})
    known = [Version(text) for text in Release.objects.values_list("id", flat=True)]
    if version_range is None:
        version_range = ranges.default_range(known)
    version_range = ranges.check_range(version_range)
    release = ranges.resolve(version_range, known)
    hashed = hash_password(password)
    with transaction.atomic():
        whose = team_for_new(team, acting_user)
        check_storage(whose)
        instance = add_instance(
            name,
            team=whose,
            range=version_range,
            release=release.text,
            superuser_email=email,
            **intents,
        )
        operation = open_operation(
            "create",
            instance=instance,
            params={"email": email, "password_hash": hashed, "release": release.text},
            acting_user=acting_user,
        )
        want_members(instance)
        audited(acting_user, "create_instance", instance.id, name=name, range=version_range, release=release.text)
    return instance, operation


def check_free(name: str) -> None:
    """Whether a new instance could have this name now. Raises WrongName, NameTaken."""
    hostnames.check_name(name)
    if Instance.objects.filter(name=name).exists():
        raise NameTaken(name)


def add_instance(name: str, **fields: Any) -> Instance:
    """A row with an id and an address that nobody ever had; to be called inside a transaction, with the operation
    that builds it. Raises WrongName, NameTaken."""
    check_free(name)
    fields |= _next_backup(fields)
    instance = Instance(id=hostnames.new_id(), name=name, number=_next_number(), **fields)
    try:
        with transaction.atomic():
            instance.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(name) from None
    changed("instance", instance.id)
    return instance


def hash_password(password: str) -> str:
    """Its bcrypt hash, as PocketBase stores it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_COST)).decode()


def change_instance(instance_id: str, changes: Mapping[str, Any], *, acting_user: User | None) -> Instance:
    """Several changes at once, all or none: `name`, `range`, `power`, `policy`, `window`, and settings.

    Raises what the single verbs below, and `change_policy`, raise.
    """
    apart = ("name", "range", "power", "policy", "window")
    settings = {name: value for name, value in changes.items() if name not in apart}
    course: dict[str, Any] = {"policy": changes["policy"] or ""} if "policy" in changes else {}
    course |= {"window": changes["window"] or {}} if "window" in changes else {}
    with transaction.atomic():
        instance = _locked(instance_id)
        if "name" in changes:
            instance = rename_instance(instance_id, changes["name"], acting_user=acting_user)
        if "range" in changes:
            instance = set_range(instance_id, changes["range"], acting_user=acting_user)
        if settings:
            instance = change_settings(instance_id, settings, acting_user=acting_user)
        if course:
            instance = change_policy(instance_id, **course, acting_user=acting_user)
        if "power" in changes:
            instance = set_power(instance_id, changes["power"], acting_user=acting_user)
    return instance


def rename_instance(instance_id: str, name: str, *, acting_user: User | None) -> Instance:
    """Give it another name; the old one is free at once. Raises WrongName, NameTaken."""
    hostnames.check_name(name)
    with transaction.atomic():
        instance = _locked(instance_id)
        if instance.name == name:
            return instance
        if Instance.objects.filter(name=name).exists():
            raise NameTaken(name)
        before = instance.name
        try:
            with transaction.atomic():
                _intend(instance, name=name)
        except IntegrityError:
            raise NameTaken(name) from None
        audited(acting_user, "rename_instance", instance.id, before=before, after=name)
    return instance


def set_power(instance_id: str, power: str, *, acting_user: User | None) -> Instance:
    """Switch an instance on or off (maintenance mode). Raises WrongUsage."""
    if power not in (Power.ON, Power.OFF):
        raise WrongUsage("Power is `on` or `off`.")
    with transaction.atomic():
        instance = _locked(instance_id)
        # said again, "on" still counts as a change: it gives a failing instance a fresh try
        _intend(instance, power=Power(power).value)
        audited(acting_user, "set_power", instance.id, power=power)
    return instance


def change_settings(instance_id: str, settings: Mapping[str, Any], *, acting_user: User | None) -> Instance:
    """Change `idle_timeout` (seconds, None for the server's), `dev`, `always_awake`, `admin_sync`, `backup_plan`
    (domain/schedules.py), `retention` of snapshots (domain/retention.py) and `traffic_limits` (domain/traffic.py, all
    of its own at once). Raises WrongSetting."""
    intents = check_settings(settings)
    with transaction.atomic():
        instance = _locked(instance_id)
        _intend(instance, **intents, **_next_backup(intents))
        want_members(instance)
        audited(acting_user, "change_settings", instance.id, **intents)
    return instance


def change_secrets(instance_id: str, changes: Mapping[str, str | None], *, acting_user: User | None) -> Instance:
    """Set secrets, or remove those given as None; they count from the next start.

    What is stored is sealed. Raises WrongSecret, SecretsSealed.
    """
    with transaction.atomic():
        instance = _locked(instance_id)
        merged = {**opened(instance.secrets), **changes}
        kept = check_secrets({name: value for name, value in merged.items() if value is not None})
        keys = keyring()
        new = {name: keys.seal(value) for name, value in kept.items() if name in changes}
        _intend(instance, secrets={name: new.get(name) or instance.secrets[name] for name in kept})
        audited(acting_user, "change_secrets", instance.id, names=sorted(changes))
    return instance


def set_range(instance_id: str, version_range: str, *, acting_user: User | None) -> Instance:
    """Set the range of an instance that has never run. Raises WrongRange, NoReleaseMatches,
    RangeNeedsUpgrade, OperationOpen."""
    version_range = ranges.check_range(version_range)
    with transaction.atomic():
        instance = _locked(instance_id)
        if instance.range == version_range:
            return instance
        if instance.has_run or instance.ready:
            raise RangeNeedsUpgrade(
                f"“{instance.name}” already holds data of {instance.release}. To change what it follows, rehearsed "
                f"first: `pocketfleet upgrade {instance.name} '{version_range}'`.",
                release=instance.release,
            )
        check_idle(instance)
        known = [Version(text) for text in Release.objects.values_list("id", flat=True)]
        release = ranges.resolve(version_range, known)
        _intend(instance, range=version_range, release=release.text)
        audited(acting_user, "set_range", instance.id, range=version_range, release=release.text)
    return instance


def sleep_instance(instance_id: str, *, acting_user: User | None) -> Operation:
    """Put an awake instance to sleep now; the next request wakes it."""
    with transaction.atomic():
        instance = _locked(instance_id)
        operation = open_operation("sleep", instance=instance, acting_user=acting_user)
        audited(acting_user, "sleep_instance", instance.id)
    return operation


def delete_instance(instance_id: str, *, acting_user: User | None) -> Operation:
    """Move a powered-off instance to quarantine; its name is free once that is done. Raises MustBePoweredOff."""
    with transaction.atomic():
        instance = _locked(instance_id)
        if instance.power != Power.OFF:
            raise MustBePoweredOff(instance.name or instance.id)
        operation = open_operation("delete", instance=instance, acting_user=acting_user)
        audited(acting_user, "delete_instance", instance.id, name=instance.name)
    return operation


def check_superuser(email: str, password: str) -> None:
    """Whether PocketBase would take them: an address, and 10 to 72 bytes (bcrypt reads no more). Raises WrongUsage."""
    local, at, host = email.partition("@") if isinstance(email, str) else ("", "", "")
    fits = at and local and "." in host and len(email) <= 255 and email.isascii() and email.isprintable()
    if not fits or " " in email or "@" in host or host.startswith(".") or host.endswith("."):
        raise WrongUsage(f"“{str(email)[:70]}” is not a mail address.", field="email")
    if not 10 <= len(password.encode(errors="replace")) <= 72 or "\0" in password:
        raise WrongUsage("The password must have 10 to 72 characters (bytes, as bcrypt counts).", field="password")


def check_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they are stored. Raises WrongSetting with what the setting takes."""
    checked: dict[str, Any] = {}
    for name, value in settings.items():
        if name == "idle_timeout":
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and not (whole and limits.IDLE_TIMEOUT_MIN <= value <= limits.IDLE_TIMEOUT_MAX):
                raise WrongSetting(
                    f"idle_timeout takes whole seconds from {limits.IDLE_TIMEOUT_MIN} to {limits.IDLE_TIMEOUT_MAX}, "
                    "or `default`.",
                    setting=name,
                )
        elif name in ("dev", "always_awake", "admin_sync"):
            if not isinstance(value, bool):
                raise WrongSetting(f"{name} takes true or false.", setting=name)
        elif name == "backup_plan":
            plan = BackupPlan.parse(_object(name, value or {}))
            value = plan.as_json() if plan else {}
        elif name == "traffic_limits":
            value = parse_limits(_object(name, value or {}), name)
        elif name == "retention":
            value = Retention.parse(_object(name, value)).as_json() if value else {}
        else:
            raise WrongSetting(
                f"There is no setting “{name[:70]}”; there are idle_timeout, dev, always_awake, admin_sync, "
                "backup_plan, retention and traffic_limits.",
                setting=name[:70],
            )
        checked[name] = value
    return checked


def _next_backup(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What goes with a new plan; what it would have asked for in the past is not caught up."""
    if "backup_plan" not in fields:
        return {}
    plan = BackupPlan.parse(fields["backup_plan"])
    return {"next_backup_at": plan.next_due(timezone.now()) if plan else None}


def _object(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise WrongSetting(f"{name} takes an object.", setting=name)
    return value


def _next_number() -> int:
    last = Instance.objects.aggregate(last=Max("number"))["last"]
    number = addresses.first_number() if last is None else addresses.next_number(last)
    while Instance.objects.filter(number=number).exists():
        number = addresses.next_number(number)
    return number


def _locked(instance_id: str) -> Instance:
    found = Instance.objects.select_for_update().filter(id=instance_id, deleted_at=None).first()
    if found is None:
        raise InstanceNotFound(instance_id)
    return found


def _intend(instance: Instance, **intents: Any) -> None:
    for name, value in intents.items():
        setattr(instance, name, value)
    instance.generation = F("generation") + 1
    instance.save(update_fields=[*intents, "generation"])
    instance.refresh_from_db()
    changed("instance", instance.id)
