"""Compares PocketBase's settings and the ways to sign in, and says whether what people hold still works."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pocketfleet.rehearsal.inspected import Inspected
from pocketfleet.rehearsal.report import Finding, Section, Severity, Source
from pocketfleet.rehearsal.schema import has_old_form

#: Never shown, only whether they are the same.
_SECRET_WORDS = ("secret", "password", "accesskey", "clientsecret")
_RENAMED = {
    "meta.appUrl": "meta.appURL",
    "logs.logIp": "logs.logIP",
}
_GENERAL = ("meta.", "logs.", "smtp.", "s3.", "backups.", "rateLimits.", "trustedProxy.", "batch.", "superuserIPs")
#: 0.22's names of tokens and mails in its settings, and those of a collection's options from 0.23 on.
_TOKENS = {
    "recordAuthToken": "authToken",
    "recordPasswordResetToken": "passwordResetToken",
    "recordEmailChangeToken": "emailChangeToken",
    "recordVerificationToken": "verificationToken",
    "recordFileToken": "fileToken",
}
_MAILS = ("verificationTemplate", "resetPasswordTemplate", "confirmEmailChangeTemplate")
_PROVIDER_FIELDS = {"authUrl": "authURL", "tokenUrl": "tokenURL", "userApiUrl": "userInfoURL"}
_KIND = "Auth"
#: PocketBase replaces its own old text of it, and leaves an owner's.
_ALERT_MAIL = "authAlert.emailTemplate."
#: Options of a collection that say how its people sign in, apart from rules (see rules.py).
_SIGN_IN = ("passwordAuth", "oauth2", "mfa", "otp", "authAlert", "authToken", *list(_TOKENS.values())[1:], *_MAILS)


def compare_settings(before: Inspected, after: Inspected) -> list[Finding]:
    """Settings and ways to sign in that differ, once the step from 0.22 to 0.23 is out of the way.

    Values that are secret are never shown. Whatever a rehearsal switches off must be off in both.
    """
    if before.settings is None or after.settings is None:
        if before.settings is None and after.settings is None:
            return []
        text = "The settings can be read with one release only: they are encrypted, or were lost."
        return [Finding(Severity.VALUE, Section.SETTINGS, text, "settings")]
    found = [
        _setting("settings", key, old, new)
        for key, old, new in _differences(general_settings(before.settings), general_settings(after.settings))
    ]
    old_ways, new_ways = ways_to_sign_in(before), ways_to_sign_in(after)
    for name in sorted(old_ways.keys() & new_ways.keys()):
        found += [_setting(name, key, old, new) for key, old, new in _differences(old_ways[name], new_ways[name])]
    return found


def general_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"meta.appName": ...}: what is about the whole instance, in one form for all ages."""
    flat = {_RENAMED.get(key, key): value for key, value in _flat(settings)}
    mails = tuple(f"meta.{name}." for name in _MAILS)
    return {key: value for key, value in flat.items() if key.startswith(_GENERAL) and not key.startswith(mails)}


def ways_to_sign_in(inspected: Inspected) -> dict[str, dict[str, Any]]:
    """{collection: {"passwordAuth.enabled": ...}} for every auth collection, in one form for all ages."""
    old = has_old_form(inspected.collections)
    settings = inspected.settings or {}
    return {
        collection["name"]: dict(_flat(_from_old(collection, settings) if old else _from_new(collection)))
        for collection in inspected.collections
        if collection["type"] == "auth"
    }


def _from_old(collection: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    options = collection.get("options") or {}
    names = [name for name, allowed in (("email", "allowEmailAuth"), ("username", "allowUsernameAuth"))
             if options.get(allowed)]  # fmt: skip
    providers = {} if not options.get("allowOAuth2Auth") else _old_providers(settings)
    ways: dict[str, Any] = {
        "passwordAuth": {"enabled": bool(names), "identityFields": names},
        # allowed with nobody to sign in by is what 0.23 calls not enabled
        "oauth2": {"enabled": bool(providers), "providers": providers},
        "email": {
            "required": bool(options.get("requireEmail")),
            "onlyDomains": options.get("onlyEmailDomains") or [],
            "exceptDomains": options.get("exceptEmailDomains") or [],
        },
        "password": {"min": options.get("minPasswordLength") or 0},
    }
    mails = settings.get("meta") or {}
    ways |= {new: settings.get(old) for old, new in _TOKENS.items()}
    return ways | {name: _old_mail(mails.get(name) or {}) for name in _MAILS}


def _old_providers(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key.removesuffix(_KIND): {
            _PROVIDER_FIELDS.get(name, name): item for name, item in value.items() if name != "enabled"
        }
        for key, value in settings.items()
        if key.endswith(_KIND) and key != "emailAuth" and isinstance(value, dict) and value.get("enabled")
    }


def _old_mail(mail: Mapping[str, Any]) -> dict[str, str]:
    """0.22 kept the link of a mail beside its body."""
    body = str(mail.get("body") or "").replace("{ACTION_URL}", str(mail.get("actionUrl") or ""))
    return {"subject": str(mail.get("subject") or ""), "body": body}


def _from_new(collection: Mapping[str, Any]) -> dict[str, Any]:
    options = {**collection, **(collection.get("options") or {})}
    fields = {field["name"]: field for field in collection.get("fields") or []}
    email, password = fields.get("email") or {}, fields.get("password") or {}
    ways: dict[str, Any] = {name: options.get(name) for name in _SIGN_IN}
    oauth2 = dict(options.get("oauth2") or {})
    oauth2["providers"] = {one["name"]: one for one in oauth2.get("providers") or []}
    if not oauth2.get("enabled"):
        oauth2["providers"] = {}
    return ways | {
        "oauth2": oauth2,
        "email": {name: email.get(name) for name in ("required", "onlyDomains", "exceptDomains")},
        "password": {"min": password.get("min")},
    }


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key in value:
            yield from _flat(value[key], f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """What the old release has and the new one has otherwise; a key that only the new one knows is its default."""
    keys = sorted(old)
    return [(key, old[key], new.get(key)) for key in keys if not _is_same(old[key], new.get(key))]


def _is_same(old: Any, new: Any) -> bool:
    if isinstance(old, list) and isinstance(new, list):
        return sorted(map(str, old)) == sorted(map(str, new))
    return (old or None) == (new or None)


def _setting(where: str, key: str, old: Any, new: Any) -> Finding:
    detail: dict[str, Any] = {"key": key}
    if key.startswith(_ALERT_MAIL):
        text = f"{where}: the mail about a login from a new place has PocketBase's new text."
    elif _is_secret(key):
        text = f"{where}: {key} is not what it was (its value is secret and not shown)."
    else:
        detail |= {"before": old, "after": new}
        text = f"{where}: {key} was {_said(old)} and is {_said(new)}."
    return Finding(_severity(key, old, new), Section.SETTINGS, text, f"{where}.{key}", detail=detail)


def _severity(key: str, old: Any, new: Any) -> Severity:
    if key.startswith(_ALERT_MAIL):
        return Severity.KNOWN
    if key.endswith("Token.secret"):
        return Severity.BREAKS
    if key in ("passwordAuth.identityFields", "passwordAuth.enabled", "oauth2.enabled", "otp.enabled"):
        fewer = set(old) - set(new or []) if isinstance(old, list) else old and not new
        return Severity.BREAKS if fewer else Severity.VALUE
    if key.startswith("oauth2.providers.") and new is None:
        return Severity.BREAKS
    return Severity.VALUE


def _is_secret(key: str) -> bool:
    last = key.rpartition(".")[2].lower()
    return last in _SECRET_WORDS


def _said(value: Any) -> str:
    text = "empty" if value in (None, "", []) else " ".join(str(value).split())
    return f"{text[:80]}..." if len(text) > 80 else text


@dataclass(frozen=True, slots=True)
class TokenTrial:
    """A token minted for the old release, shown to both: `who` in words, and the status each gave."""

    who: str
    old_status: int
    new_status: int


def compare_tokens(trials: Iterable[TokenTrial]) -> list[Finding]:
    """Whose tokens stop working. One finding for everybody where none works any more."""
    worked = [trial for trial in trials if 200 <= trial.old_status < 300]
    lost = [trial for trial in worked if not 200 <= trial.new_status < 300]
    if lost and len(lost) == len(worked):
        detail = {"who": [trial.who for trial in lost], "status": lost[0].new_status}
        text = "Everybody who is signed in must sign in again: no token that was given out before works any more."
        return [Finding(Severity.BREAKS, Section.TOKENS, text, "tokens", Source.SYNTHETIC, detail)]
    return [
        Finding(
            Severity.BREAKS,
            Section.TOKENS,
            f"Tokens of {trial.who} that were given out before no longer work: {trial.new_status}.",
            trial.who,
            Source.SYNTHETIC,
            {"status": trial.new_status},
        )
        for trial in lost
    ]
