"""Which server is meant and with which token: the operator's file of this machine, or what `login` stored."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pocketfleet.config import Config, credentials_file
from pocketfleet.errors import NotAllowed, NotAnswering, NotSignedIn, PocketfleetError

VERSION = 1


@dataclass(frozen=True, slots=True)
class Server:
    """A server and the token for it."""

    url: str
    token: str
    #: it runs on this machine, at these addresses; empty for one that DNS knows
    near: tuple[str, ...] = ()
    #: the token is the operator's own, of this home
    own: bool = False


def find_server(config: Config, wanted: str | None = None) -> Server:
    """`--server URL`; else the one that runs on this home; else the one signed in to last.

    Raises NotAnswering where there is none, NotSignedIn for an unknown `--server`.
    """
    stored = _read_stored()
    if wanted is not None:
        url = clean_url(wanted)
        if url not in stored["servers"]:
            raise NotSignedIn(f"You are not signed in to {url}. Sign in: `pocketfleet login {url}`.", url=url)
        return _stored_server(url, stored)
    operator = _read_operator(config)
    if operator is not None:
        return operator
    if stored["current"] in stored["servers"]:
        return _stored_server(stored["current"], stored)
    raise NotAnswering(
        f"No pocketfleet runs on {config.home}. Start it with `make serve` or `pocketfleet serve`, "
        "or sign in to one elsewhere: `pocketfleet login URL`."
    )


def store(url: str, token: str) -> Path:
    """Remember a token for a server (mode 0600) and make it the current one; answers the file."""
    stored = _read_stored()
    stored["servers"][url] = {"token": token}
    stored["current"] = url
    return _write_stored(stored)


def forget(wanted: str | None) -> str | None:
    """Forget one server, the current one by default; answers its address, None where there was none."""
    stored = _read_stored()
    url = clean_url(wanted) if wanted else stored["current"]
    if stored["servers"].pop(url, None) is None:
        return None
    stored["current"] = next(iter(stored["servers"]), "")
    _write_stored(stored)
    return str(url)


def clean_url(text: str) -> str:
    """An address as it is stored: with scheme, without path. Raises NotSignedIn for what is none."""
    from urllib.parse import urlsplit

    near = text.split(":")[0].split("/")[0]
    text = (
        text if "://" in text else f"{'http' if near == 'localhost' or near.startswith('127.') else 'https'}://{text}"
    )
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in parts.netloc:
        raise NotSignedIn(f"“{text[:100]}” is not the address of a server, such as https://fleet.example.org.")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def near_addresses(url: str) -> tuple[str, ...]:
    """Where to connect for a host that is this machine by definition; `localhost` may resolve to what nobody hears."""
    host = url.partition("://")[2].split(":")[0]
    is_near = url.startswith("http://") and (host == "localhost" or host.endswith(".localhost"))
    return ("127.0.0.1", "::1") if is_near else ()


def _read_operator(config: Config) -> Server | None:
    try:
        content = json.loads(config.operator_file.read_text())
        url, token = str(content["url"]), str(content["token"])
    except FileNotFoundError:
        return None
    except PermissionError:
        raise NotAllowed(
            f"{config.operator_file} belongs to another user. Run this as the user that runs `pocketfleet serve`, "
            "or sign in with a token: `pocketfleet login URL`."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotAnswering(
            f"{config.operator_file} cannot be read ({error}). Start `pocketfleet serve` anew."
        ) from None
    near = near_addresses(url)
    if url.startswith("http://") and not near:
        # its domain may be in no DNS yet; it listens here all the same
        named = tuple(address for address in config.bind if address not in ("*", "0.0.0.0", "::"))  # noqa: S104
        near = tuple(dict.fromkeys([*named, "127.0.0.1", "::1"]))
    return Server(url=url.rstrip("/"), token=token, near=near, own=True)


def _stored_server(url: str, stored: dict[str, Any]) -> Server:
    return Server(url=url, token=str(stored["servers"][url]["token"]), near=near_addresses(url))


def _read_stored() -> dict[str, Any]:
    path = credentials_file()
    try:
        content = json.loads(path.read_text())
        if content["version"] == VERSION and isinstance(content["servers"], dict):
            return {"version": VERSION, "current": str(content.get("current", "")), "servers": content["servers"]}
    except FileNotFoundError:
        return {"version": VERSION, "current": "", "servers": {}}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise PocketfleetError(f"{path} cannot be read. Remove it and sign in again: `pocketfleet login URL`.")


def _write_stored(stored: dict[str, Any]) -> Path:
    path = credentials_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(stored, file, indent=2)
        fresh.rename(path)
    except OSError as error:
        raise PocketfleetError(f"{path} cannot be written: {error.strerror}.") from error
    return path
