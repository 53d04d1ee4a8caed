"""Secrets as they lie in the database, sealed with a key outside it: sealed, opened for a start, sealed anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from django.conf import settings
from django.db import transaction

from pocketfleet.actions.records import audited, changed
from pocketfleet.models import AccountMail, Instance
from pocketfleet.sealing import Keyring

#: Rows that are looked at at a time.
_ROWS = 500


@dataclass(slots=True)
class Renewed:
    """What sealing anew did: values, and those that no key opened, as `instance NAME`."""

    sealed: int = 0
    lost: list[str] = field(default_factory=list)


def keyring() -> Keyring:
    """The keys of this server."""
    return _keyring(settings.CONFIG.sealing_key_path)


def opened(secrets: Mapping[str, str]) -> dict[str, str]:
    """In clear, for a start. Raises SecretsSealed."""
    return keyring().open_all(secrets) if secrets else {}


def any_sealed() -> bool:
    """Whether there is anything that needs a key: mail is gone in a day."""
    return Instance.objects.exclude(secrets={}).exists()


def check_key(most: int = 1000) -> None:
    """Whether the keys open what is there, as far as that is looked at. Raises SecretsSealed."""
    keys = keyring()
    for secrets in Instance.objects.exclude(secrets={}).values_list("secrets", flat=True)[:most]:
        keys.open_all(secrets)


def seal_anew(keys: Keyring, *, forget_lost: bool = False, verb: str = "rotate_key") -> Renewed:
    """Everything sealed with the first key, all or nothing; `forget_lost`: what no key opens is deleted.

    Raises SecretsSealed at the first of those otherwise. Node hears of every instance that it concerns.
    """
    done = Renewed()
    with transaction.atomic():
        for instance in Instance.objects.select_for_update().exclude(secrets={}).order_by("id").iterator(_ROWS):
            kept = {}
            for name, value in instance.secrets.items():
                if forget_lost and not keys.opens(value):
                    done.lost.append(f"{instance.name or instance.id} {name}")
                else:
                    kept[name] = keys.seal(keys.open(value))
            done.sealed += len(kept)
            Instance.objects.filter(id=instance.id).update(secrets=kept)
            changed("instance", instance.id)
        for mail in AccountMail.objects.select_for_update().order_by("id"):
            if keys.opens(mail.body):
                AccountMail.objects.filter(id=mail.id).update(body=keys.seal(keys.open(mail.body)))
        audited(None, verb, "", sealed=done.sealed, lost=done.lost)
    return done


@cache
def _keyring(path: Path) -> Keyring:
    return Keyring(path)
