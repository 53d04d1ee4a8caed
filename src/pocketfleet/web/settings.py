"""Django's settings, out of pocketfleet's own configuration. Node uses them for its tables, too."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pocketfleet.config import Config, load

CONFIG: Config = load()


def _database(config: Config) -> dict[str, Any]:
    if not config.database_url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(config.sqlite_file),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
            },
        }
    parts = urlsplit(config.database_url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        # sslmode, connect_timeout, a socket's folder as host ...: what libpq knows, and the bell is told, too
        "OPTIONS": dict(parse_qsl(parts.query)),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
    }


def _secret_key(config: Config) -> str:
    """What `control prepare` wrote; a random one where there is none yet (tests, tools, node)."""
    try:
        return config.secret_key_file.read_text().strip() or secrets.token_urlsafe(48)
    except OSError:
        return secrets.token_urlsafe(48)


_PUBLIC = urlsplit(CONFIG.public_url)
_HTTPS = _PUBLIC.scheme == "https"

DEBUG = False
SECRET_KEY = _secret_key(CONFIG)
# never `.domain`: the subdomains belong to tenants
ALLOWED_HOSTS = sorted({CONFIG.domain, _PUBLIC.hostname or CONFIG.domain})
INTERNAL_IPS: list[str] = []

DATABASES = {"default": _database(CONFIG)}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.usersessions",
    "pocketfleet",
]
AUTH_USER_MODEL = "pocketfleet.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

ROOT_URLCONF = "pocketfleet.web.urls"
APPEND_SLASH = False
MIDDLEWARE = [
    "pocketfleet.web.middleware.guarded",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "pocketfleet.web.middleware.known_caller",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
# `check --deploy` asks for two middlewares of Django's. Ours sends the very headers that they would, and more, on every
# answer: HSTS, nosniff, Referrer-Policy, Cross-Origin-Opener-Policy, X-Frame-Options (middleware.py). Whoever ends TLS
# sends http on to https, not we.
SILENCED_SYSTEM_CHECKS = ["security.W001", "security.W002"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).with_name("templates")],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
                "pocketfleet.web.accounts.context.about_accounts",
            ],
            "builtins": ["pocketfleet.web.tags"],
        },
    }
]

# Cookies. Instances live one level below the dashboard's host, so their pages are of the same site: SameSite does not
# keep them out, and a host-only cookie of ours is not sent to them but they may *set* one of that name for the whole
# domain. Hence: the CSRF secret lies in the session and not in a cookie that could be planted, `Origin` is compared by
# Django, and over https the name has the `__Host-` prefix, which browsers accept from this very host alone, and which
# cookies.py compares as strictly. Over plain http nothing keeps an instance from planting a session cookie (beside the
# true one neither counts; alone it signs its visitor in as somebody else); browsers refuse that for `localhost` by
# themselves.
SESSION_COOKIE_NAME = "__Host-pocketfleet" if _HTTPS else "pocketfleet_session"
SESSION_COOKIE_SECURE = _HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 86400
CSRF_USE_SESSIONS = True
CSRF_COOKIE_SECURE = _HTTPS
CSRF_TRUSTED_ORIGINS = [f"{_PUBLIC.scheme}://{_PUBLIC.netloc}"]
# The edge says it, and takes away what clients say: an `Origin` of http://, where anybody on the way can write a page,
# is then none of ours, and a form without any must have our Referer.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None
CSRF_FAILURE_VIEW = "pocketfleet.web.problems.not_from_here"

# nothing of ours in a cookie but the session's key
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# Accounts, by django-allauth: its views and rules, our pages, words and records (web/accounts/).
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
# needs memory, so that guessing is dear for whoever stole the table; what was made otherwise is renewed at sign-in
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
PASSWORD_RESET_TIMEOUT = 3600
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "instances"
# Limits on guessing are counted here: control is one process, and its threads share this memory.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        # too few, and who knocks at many doors would push out what is remembered of the others
        "OPTIONS": {"MAX_ENTRIES": 50_000, "CULL_FREQUENCY": 10},
    }
}
# set by the edge, which takes away what a client says of itself (routing/templates/haproxy.cfg)
ALLAUTH_TRUSTED_CLIENT_IP_HEADER = "X-Real-IP"
ACCOUNT_ADAPTER = "pocketfleet.web.accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "pocketfleet.web.accounts.forms.SignInForm",
    "signup": "pocketfleet.web.accounts.forms.SignUpForm",
}
ACCOUNT_LOGIN_METHODS = ["email", "username"]
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_CONFIRMATION_EXPIRE_DAYS = 1
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_USERNAME_BLACKLIST = ["admin", "operator", "pocketfleet", "root", "system"]
# otherwise as allauth has them: docs.allauth.org/en/latest/account/rate_limits.html
ACCOUNT_RATE_LIMITS = {"reset_password": "20/m/ip,5/h/key"}
MFA_ADAPTER = "pocketfleet.web.accounts.second_factor.SecondFactorAdapter"
MFA_FORMS = {
    "add_webauthn": "pocketfleet.web.accounts.passkeys.AddForm",
    "authenticate_webauthn": "pocketfleet.web.accounts.passkeys.AuthenticateForm",
    "login_webauthn": "pocketfleet.web.accounts.passkeys.SignInForm",
    "reauthenticate_webauthn": "pocketfleet.web.accounts.passkeys.ConfirmForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = f"pocketfleet {_PUBLIC.hostname}"
# a clock may be half a minute wrong
MFA_TOTP_TOLERANCE = 1
# Nobody gets in without a verified address, so a second factor locks no rightful owner out; and who has one may still
# change their address.
MFA_ALLOW_UNVERIFIED_EMAIL = True

DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 200

# our own processes set logging up: see diagnostics.py
LOGGING_CONFIG = None
