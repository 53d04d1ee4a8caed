"""The configuration: one frozen dataclass, and the only place that reads the environment."""

from __future__ import annotations

import difflib
import ipaddress
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from pocketfleet.domain.destinations import read_destination
from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.errors import WrongConfiguration

PREFIX = "POCKETFLEET_"
#: What may stand in the environment besides the settings: the file of them, and what only our own tests read.
_NAMES_BESIDE = ("CONFIG",)
_PREFIXES_BESIDE = ("TEST_", "SOAK_")
#: The limits of traffic, which teams and instances may have of their own.
_TRAFFIC = (
    "address_hourly",
    "address_at_once",
    "instance_hourly",
    "instance_at_once",
    "trusted_address_hourly",
    "trusted_instance_hourly",
)
#: As domain/traffic.py has it.
MOST_REQUESTS = 100_000_000
#: A unix socket's path holds 107 bytes; HAProxy appends a suffix of its own while it binds.
_LONGEST_HOME = 70
#: Below it PocketBase does not start, or only just.
_LEAST_MEMORY = 64 * 1024**2


def setting(default: Any, text: str) -> Any:
    """A field with its default and the sentence that the table of settings shows."""
    if callable(default):
        return field(default_factory=default, metadata={"text": text})
    return field(default=default, metadata={"text": text})


def _default_home() -> Path:
    return Path.home() / ".pocketfleet"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting. `POCKETFLEET_<NAME>` in the environment outweighs `<name>` in the TOML file."""

    home: Path = setting(_default_home, "Folder of everything that pocketfleet keeps.")  # noqa: RUF009
    port: int = setting(8080, "Port that the edge listens on.")
    bind: tuple[str, ...] = setting(("127.0.0.1",), "Addresses that the edge listens on; `*` for all.")
    domain: str = setting("localhost", "Base domain: the dashboard's host; instances are one level below it.")
    url: str = setting("", "The dashboard's address as people type it, where it differs (behind a TLS proxy).")
    trusted_proxies: tuple[str, ...] = setting(
        (), "Addresses and networks of the proxies in front whose `X-Forwarded-...` headers are believed."
    )
    database_url: str = setting("", "`postgres://user:password@host/name`; empty for SQLite in the home.")
    sealing_key_file: str = setting(
        "", "File with the keys that secrets in the database are sealed with; empty for `sealing.key` in the home."
    )
    haproxy: str = setting("", "HAProxy executable, 2.8 or later; empty for the one that pip installed.")
    edge_threads: int = setting(0, "Threads of HAProxy; 0 for one per processor, at most 4.")
    edge_connections: int = setting(4000, "Connections that HAProxy carries at once.")
    release_sources: tuple[str, ...] = setting(
        ("pypi", "github"), "Where releases come from, in order: `pypi`, `github`, `folder`."
    )
    release_folder: str = setting("", "The folder that the source `folder` looks in.")
    github_api: str = setting("https://api.github.com", "Address of GitHub's API, for the source `github`.")
    release_refresh: float = setting(6 * 3600.0, "Seconds between two looks for new releases.")
    guest_port: int = setting(8090, "Port that every PocketBase listens on, each at an address of its own.")
    idle_timeout: int = setting(60, "Seconds without a request after which an instance goes to sleep.")
    wake_timeout: float = setting(30.0, "Seconds that a request waits for an instance to wake.")
    start_timeout: float = setting(20.0, "Seconds that a PocketBase may take to accept connections.")
    stop_timeout: float = setting(10.0, "Seconds that a PocketBase may take to end before it is killed.")
    starts_at_once: int = setting(0, "Instances that start at the same time; 0 for twice the processors.")
    log_bytes: int = setting(1_000_000, "Size at which an instance's log is rotated.")
    log_generations: int = setting(5, "Rotated logs that are kept.")
    quarantine: float = setting(7 * 86400.0, "Seconds that a deleted instance's files are kept.")
    upload_bytes: int = setting(5_000_000_000, "Bytes that an uploaded backup may have.")
    team_awake: int = setting(0, "Instances that a team may have awake at once; 0 for any number.")
    team_storage: int = setting(0, "Bytes of a team's instances, snapshots and backups together; 0 for any.")
    address_hourly: int = setting(0, "Requests that one address may make to one instance in an hour; 0 for any number.")
    address_at_once: int = setting(0, "Requests that one address may have open at one instance; 0 for any number.")
    instance_hourly: int = setting(0, "Requests that an instance gets in an hour; 0 for any number.")
    instance_at_once: int = setting(0, "Requests that an instance has open at once; 0 for any number.")
    trusted_address_hourly: int = setting(
        0, "As `address_hourly`, for addresses that a team trusts; 0 for what counts for all."
    )
    trusted_instance_hourly: int = setting(
        0, "As `instance_hourly`, for addresses that a team trusts; 0 for what counts for all."
    )
    address_connections: int = setting(
        0, "Connections that one address may have open at the edge; 0 for three quarters of `edge_connections`."
    )
    body_bytes: int = setting(0, "Bytes that the body of a request to an instance may have; 0 for any number.")
    wakes_queued: int = setting(1000, "Instances that may wait for their turn to start; 0 for any number.")
    wakes_per_minute: int = setting(0, "Times that requests may wake one instance in a minute; 0 for any number.")
    snapshots_last: int = setting(5, "Newest snapshots that are kept, of each instance.")
    snapshots_daily: int = setting(7, "Days of which the newest snapshot is kept.")
    snapshots_weekly: int = setting(4, "Weeks of which the newest snapshot is kept.")
    watch_seconds: float = setting(600.0, "Seconds that a new release is watched after a switch; 0 for not at all.")
    sign_up: str = setting(
        "invitation", "Who may make an account: everybody (`open`), by `invitation`, or nobody (`closed`)."
    )
    smtp_url: str = setting("", "Mail server, `smtp://user:password@host:587` or `smtps://host`; empty for no mail.")
    mail_from: str = setting("", "Sender of mail, where there is a mail server.")
    mail_to: tuple[str, ...] = setting((), "Who gets mail about instances; empty for each one's first superuser.")
    first_instance: str = setting("hello", "Name of the instance that the first run makes; empty for none.")
    sandbox: str = setting(
        "auto", "Whether instances are locked in: `on` (else nothing starts), `off`, or `auto`: where this machine can."
    )
    sandbox_ipv6: str = setting(
        "off", "Whether instances have a way out over IPv6 as well as over IPv4: `on` (else nothing starts) or `off`."
    )
    sandbox_bwrap: str = setting("", "bubblewrap executable, 0.8 or later; empty for the one that pip installed.")
    sandbox_allowed: tuple[str, ...] = setting(
        (),
        "Destinations inside that instances may reach: `10.0.0.5`, `10.0.0.0/24`, `10.0.0.5:5432`, `[fd00::5]:5432`.",
    )
    sandbox_refused_ports: tuple[str, ...] = setting(
        ("25",), "TCP ports that no instance reaches anywhere; 25 is how spam leaves."
    )
    sandbox_resolvers: tuple[str, ...] = setting(
        ("1.1.1.1", "9.9.9.9"), "Name servers that instances ask; they must be on the internet or allowed."
    )
    instance_memory: int = setting(512 * 1024**2, "Bytes of memory that an instance may use; 0 for any.")
    instance_cpus: float = setting(2.0, "Processors' worth of time that an instance may use; 0 for any.")
    instance_processes: int = setting(512, "Processes and threads that an instance may have; 0 for any.")
    instance_open_files: int = setting(8192, "Files and connections that each of its processes may have open.")
    instance_file_bytes: int = setting(0, "Bytes that a file of an instance may have; 0 for any.")
    instance_storage: int = setting(
        0, "Bytes of an instance's files; over them it sleeps until there is room; 0 for any."
    )
    log_level: str = setting("INFO", "How much pocketfleet's own logs say: DEBUG, INFO, WARNING or ERROR.")

    @property
    def edge(self) -> Path:
        """HAProxy's files and all sockets."""
        return self.home / "edge"

    @property
    def instances(self) -> Path:
        """One folder per instance, the tenant's own."""
        return self.home / "instances"

    @property
    def releases(self) -> Path:
        """One folder per release with its executable."""
        return self.home / "releases"

    @property
    def logs(self) -> Path:
        """One folder per instance, out of the tenant's reach, and the logs of our own processes."""
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """Locks and what is known of running guests, for adoption after a crash."""
        return self.home / "run"

    @property
    def quarantine_folder(self) -> Path:
        """Deleted instances until they are gone for good."""
        return self.home / "quarantine"

    @property
    def backups(self) -> Path:
        """One folder per instance with its finished backups."""
        return self.home / "backups"

    @property
    def incoming(self) -> Path:
        """Uploads, and what is unpacked of them, on their way to a restore."""
        return self.home / "incoming"

    @property
    def snapshots(self) -> Path:
        """One folder per instance: consistent copies to go back to. On the same disk as `instances`."""
        return self.home / "snapshots"

    def upload(self, upload_id: str) -> Path:
        """Where a finished upload lies."""
        return self.incoming / f"{upload_id}.zip"

    @property
    def operator_file(self) -> Path:
        """The operator's token of this start, mode 0600."""
        return self.home / "operator.json"

    @property
    def sqlite_file(self) -> Path:
        """The database, where no other is set."""
        return self.home / "control.sqlite3"

    @property
    def secret_key_file(self) -> Path:
        """What Django signs with, mode 0600, made once."""
        return self.home / "secret.key"

    @property
    def sealing_key_path(self) -> Path:
        """The keys that secrets in the database are sealed with, mode 0600, made once."""
        return Path(self.sealing_key_file).expanduser() if self.sealing_key_file else self.home / "sealing.key"

    @property
    def database_copies(self) -> Path:
        """Copies of the SQLite database, made before its tables are changed."""
        return self.home / "copies"

    @property
    def control_socket(self) -> Path:
        """Where control listens; the edge is its only client."""
        return self.edge / "control.sock"

    @property
    def gate_socket(self) -> Path:
        """Where the gate listens; HAProxy's Lua is its only client."""
        return self.edge / "gate.sock"

    @property
    def entrance_socket(self) -> Path:
        """Where node lets people into admin pages; the edge is its only client."""
        return self.edge / "entrance.sock"

    @property
    def runtime_socket(self) -> Path:
        """HAProxy's Runtime API."""
        return self.edge / "runtime.sock"

    @property
    def master_socket(self) -> Path:
        """HAProxy's master: its workers, and reloads."""
        return self.edge / "master.sock"

    @property
    def public_url(self) -> str:
        """The dashboard's address as people type it, without a slash at the end."""
        if self.url:
            return self.url.rstrip("/")
        return f"http://{self.domain}" + ("" if self.port == 80 else f":{self.port}")

    def instance_url(self, label: str) -> str:
        """The address of the instance with this name or id, with the scheme and port of the dashboard's."""
        scheme, _, host = self.public_url.partition("://")
        port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
        return f"{scheme}://{label}.{self.domain}" + (f":{port}" if port else "")

    @property
    def guest_limits(self) -> GuestLimits:
        """What one instance may use at once."""
        return GuestLimits(
            memory=self.instance_memory,
            cpus=self.instance_cpus,
            processes=self.instance_processes,
            open_files=self.instance_open_files,
            file_bytes=self.instance_file_bytes,
            storage=self.instance_storage,
        )

    @property
    def starts_limit(self) -> int:
        """Instances that start at the same time."""
        return self.starts_at_once or 2 * (os.cpu_count() or 1)

    def environment(self) -> dict[str, str]:
        """This configuration as environment variables, for our own child processes."""
        result = {}
        for item in fields(self):
            value = getattr(self, item.name)
            result[PREFIX + item.name.upper()] = ",".join(value) if isinstance(value, tuple) else str(value)
        return result


def load(environ: Mapping[str, str] | None = None, *, client: bool = False, **overrides: Any) -> Config:
    """The configuration from the environment and, below it, `POCKETFLEET_CONFIG` or `<home>/pocketfleet.toml`.

    `client`: for somebody who only talks to a server, so the home may have a path too long for one.
    Raises WrongConfiguration with the name of the setting and what it takes.
    """
    environ = os.environ if environ is None else environ
    known = {item.name for item in fields(Config)}
    _check_names(environ, known)
    home = Path(overrides.get("home") or environ.get(PREFIX + "HOME") or _default_home())
    values: dict[str, Any] = _read_file(environ.get(PREFIX + "CONFIG"), home, known)
    values |= {name: environ[PREFIX + name.upper()] for name in known if PREFIX + name.upper() in environ}
    values |= {name: value for name, value in overrides.items() if value is not None}
    hints = get_type_hints(Config)
    converted = {name: _convert(name, value, hints[name]) for name, value in values.items()}
    config = _check(Config(**converted))
    if not client and len(os.fsencode(config.home)) > _LONGEST_HOME:
        raise WrongConfiguration(
            f"{PREFIX}HOME: the path may have at most {_LONGEST_HOME} characters, since unix sockets lie in it."
        )
    return config


def credentials_file(environ: Mapping[str, str] | None = None) -> Path:
    """Where the command line keeps what `login` stored: under `XDG_CONFIG_HOME`, by default `~/.config`."""
    environ = os.environ if environ is None else environ
    base = environ.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if base.startswith("/") else Path.home() / ".config"
    return folder / "pocketfleet" / "credentials.json"


def _read_file(named: str | None, home: Path, known: set[str]) -> dict[str, Any]:
    path = Path(named) if named else home / "pocketfleet.toml"
    if not named and not path.is_file():
        return {}
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise WrongConfiguration(f"The configuration file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise WrongConfiguration(f"The configuration file {path} is not TOML: {error}.") from error
    unknown = sorted(set(values) - known)
    if unknown:
        nearest = _nearest(unknown[0], known)
        raise WrongConfiguration(f"{path}: there is no setting “{unknown[0]}”{nearest}; docs/settings.md lists them.")
    return values


def _check_names(environ: Mapping[str, str], known: set[str]) -> None:
    """A misspelt variable would be a setting that somebody believes in and nobody follows."""
    allowed = {PREFIX + name.upper() for name in known} | {PREFIX + name for name in _NAMES_BESIDE}
    for name in sorted(environ):
        beside = name.startswith(tuple(PREFIX + prefix for prefix in _PREFIXES_BESIDE))
        if name.startswith(PREFIX) and name not in allowed and not beside:
            nearest = _nearest(name, allowed)
            raise WrongConfiguration(
                f"{_shown(name)} in the environment: there is no such setting{nearest}; docs/settings.md lists them."
            )


def _nearest(name: str, known: set[str]) -> str:
    """`, perhaps “that one”`, where one looks much like it."""
    # without what all have in common, which would make them look alike; a word in small letters is no other word
    ends = {each.removeprefix(PREFIX).lower(): each for each in sorted(known)}
    found = difflib.get_close_matches(name.removeprefix(PREFIX).lower(), ends, n=1)
    return f", perhaps “{ends[found[0]]}”" if found else ""


def _shown(text: str) -> str:
    """In one line of bounded length, whatever somebody put into it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:60])


def _convert(name: str, value: Any, kind: Any) -> Any:
    try:
        if kind is Path:
            return Path(value).expanduser().absolute()
        if kind is int and isinstance(value, int | str) and not isinstance(value, bool):
            return int(value)
        if kind is float and not isinstance(value, bool) and math.isfinite(float(value)):
            return float(value)
        if kind is str and not isinstance(value, bool | list | dict):
            return str(value)
        if kind == tuple[str, ...]:
            parts = value.split(",") if isinstance(value, str) else list(value)
            return tuple(str(part).strip() for part in parts if str(part).strip())
    except (TypeError, ValueError):
        pass
    words = {int: "a whole number", float: "a number of seconds", tuple[str, ...]: "words with commas between them"}
    raise WrongConfiguration(f"{PREFIX}{name.upper()} takes {words.get(kind, 'text')}, not “{value}”.")


def _check(config: Config) -> Config:
    def refuse(name: str, why: str) -> None:
        raise WrongConfiguration(f"{PREFIX}{name.upper()}: {why}")

    for name in ("port", "guest_port"):
        if not 1 <= getattr(config, name) <= 65535:
            refuse(name, "a port is a number from 1 to 65535.")
    for name in ("start_timeout", "stop_timeout", "wake_timeout", "release_refresh"):
        if getattr(config, name) <= 0:
            refuse(name, "it must be more than 0 seconds.")
    for name in ("idle_timeout", "edge_connections", "log_bytes", "log_generations", "upload_bytes", "snapshots_last"):
        if getattr(config, name) < 1:
            refuse(name, "it must be at least 1.")
    counted = ("edge_threads", "starts_at_once", "quarantine", "snapshots_daily", "snapshots_weekly", "watch_seconds")
    limited = ("address_connections", "body_bytes", "wakes_queued", "wakes_per_minute", *_TRAFFIC)
    ours = ("team_awake", "team_storage", "instance_memory", "instance_cpus", "instance_processes")
    for name in (*counted, *ours, *limited, "instance_open_files", "instance_file_bytes", "instance_storage"):
        if getattr(config, name) < 0:
            refuse(name, "it must be at least 0.")
    for name in _TRAFFIC:
        if getattr(config, name) > MOST_REQUESTS:
            refuse(name, f"it must be at most {MOST_REQUESTS}; 0 is for no limit.")
    if not config.bind:
        refuse("bind", "at least one address is needed, for example 127.0.0.1, or * for all.")
    if config.url and not config.url.startswith(("http://", "https://")):
        refuse("url", "it begins with http:// or https://.")
    for proxy in config.trusted_proxies:
        if trouble := _proxy_trouble(proxy):
            refuse("trusted_proxies", trouble)
    if config.sealing_key_file and not Path(config.sealing_key_file).expanduser().is_absolute():
        refuse("sealing_key_file", "it is an absolute path.")
    if config.database_url and not config.database_url.startswith(("postgres://", "postgresql://")):
        refuse("database_url", "it begins with postgres:// or postgresql://; leave it empty for SQLite.")
    if config.smtp_url and not re.match(r"smtps?://[^/@]*(@[^/@]+)?", config.smtp_url):
        refuse("smtp_url", "it begins with smtp:// or smtps://.")
    if config.smtp_url and "@" not in config.mail_from:
        refuse("mail_from", "a mail server needs the address that mail comes from.")
    wrong = [source for source in config.release_sources if source not in ("pypi", "github", "folder")]
    if wrong:
        refuse("release_sources", f"“{wrong[0]}” is none of pypi, github, folder.")
    if "folder" in config.release_sources and not config.release_folder:
        refuse("release_sources", "the source `folder` needs POCKETFLEET_RELEASE_FOLDER.")
    labels = config.domain.split(".")
    if not all(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label) for label in labels):
        refuse("domain", "it is a host name such as example.org.")
    if config.domain != config.domain.lower():
        refuse("domain", "write it in small letters.")
    if config.sign_up not in ("open", "invitation", "closed"):
        refuse("sign_up", "it is open, invitation or closed.")
    if config.sandbox not in ("auto", "on", "off"):
        refuse("sandbox", "it is auto, on or off.")
    if config.sandbox_ipv6 not in ("on", "off"):
        refuse("sandbox_ipv6", "it is on or off.")
    for name, trouble in _sandbox_troubles(config):
        refuse(name, trouble)
    if config.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        refuse("log_level", "it is DEBUG, INFO, WARNING or ERROR.")
    return config


def _sandbox_troubles(config: Config) -> Iterator[tuple[str, str]]:
    """Names of settings and what is wrong with them."""
    for text in config.sandbox_allowed:
        if trouble := _destination_trouble(text, ipv6=config.sandbox_ipv6 == "on"):
            yield "sandbox_allowed", trouble
    for text in config.sandbox_refused_ports:
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
            yield "sandbox_refused_ports", f"“{_shown(text)}” is no port, a number from 1 to 65535."
    for text in config.sandbox_resolvers:
        if trouble := _resolver_trouble(text, ipv6=config.sandbox_ipv6 == "on"):
            yield "sandbox_resolvers", trouble
    if config.instance_memory and config.instance_memory < _LEAST_MEMORY:
        yield "instance_memory", f"PocketBase needs {_LEAST_MEMORY} bytes at least; 0 is for any."


def _destination_trouble(text: str, *, ipv6: bool) -> str:
    """Why this is no destination to allow, an address or a network, with a port or without; "" where it is one."""
    try:
        destination = read_destination(text)
    except ValueError:
        examples = "10.0.0.5, 10.0.0.0/24, 10.0.0.5:5432, fd00::5, fd00::/64 or [fd00::5]:5432"
        return f"“{_shown(text)}” is no destination such as {examples}."
    return _no_way_to(text) if destination.is_ipv6 and not ipv6 else ""


def _resolver_trouble(text: str, *, ipv6: bool) -> str:
    """Why this is no name server to ask; "" where it is one."""
    try:
        destination = read_destination(text)
        ipaddress.ip_address(text)
    except ValueError:
        return f"“{_shown(text)}” is no address such as 9.9.9.9 or 2620:fe::fe."
    return _no_way_to(text) if destination.is_ipv6 and not ipv6 else ""


def _no_way_to(text: str) -> str:
    return f"instances have no way to “{_shown(text)}”, which is IPv6, unless {PREFIX}SANDBOX_IPV6 is on."


def _proxy_trouble(text: str) -> str:
    """Why this is no proxy to believe; "" where it is one."""
    shown = _shown(text)
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return f"“{shown}” is no address or network such as 10.0.0.5, 10.0.0.0/8 or fd00::/8."
    if "%" in text or not text.isascii():
        return f"“{shown}” is no address or network such as 10.0.0.5, 10.0.0.0/8 or fd00::/8."
    if network.prefixlen == 0:
        return f"{network} is everybody, so anybody could claim to be anybody; name the proxies alone."
    if "/" in text and ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        return f"“{shown}” is an address within a network; write {network} for the network."
    return ""
