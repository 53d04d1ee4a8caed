"""What allauth's second factors are told: whose passkeys they are, and how their secrets are kept."""

from __future__ import annotations

import base64
import logging
import secrets
from functools import cache
from urllib.parse import urlsplit

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser

log = logging.getLogger("pocketfleet.web")


class SecondFactorAdapter(DefaultMFAAdapter):
    """Secrets are sealed with the key in `secret.key`, so a copy of the database alone gives none away."""

    error_messages = {  # noqa: RUF012  allauth's own name
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "This code is not right, or no longer. Type the one that is shown now.",
    }

    def encrypt(self, text: str) -> str:
        """What is stored."""
        return _seal(settings.SECRET_KEY).encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """What was meant. Where another key sealed it, something that no code fits: the way in is a link then."""
        try:
            return _seal(settings.SECRET_KEY).decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            log.warning("a second factor was sealed with another secret.key, so it does not work any more")
            return base64.b32encode(secrets.token_bytes(20)).decode()

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """The dashboard's public host, whatever host this request came by."""
        host = urlsplit(settings.CONFIG.public_url).hostname or settings.CONFIG.domain
        return {"id": host, "name": f"pocketfleet {host}"}

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Authenticator.Type) -> str:
        """What a passkey is called until its owner says so."""
        count = Authenticator.objects.filter(user_id=user.pk, type=type).count()
        return "Passkey" if count == 0 else f"Passkey {count + 1}"


@cache
def _seal(secret_key: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"pocketfleet second factors").derive(
        secret_key.encode()
    )
    return Fernet(base64.urlsafe_b64encode(derived))
