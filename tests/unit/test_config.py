"""The configuration: every field from the environment and from TOML; errors name the setting."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketfleet.config import PREFIX, Config, load
from pocketfleet.errors import WrongConfiguration

FIELDS = {item.name: item for item in dataclasses.fields(Config)}

#: for every field: text as it stands in the environment, the same in TOML, and what becomes of it
VALUES: dict[str, tuple[str, str, Any]] = {
    "home": ("/srv/fleet", '"/srv/fleet"', Path("/srv/fleet")),
    "port": ("8081", "8081", 8081),
    "bind": ("127.0.0.1, ::1", '["127.0.0.1", "::1"]', ("127.0.0.1", "::1")),
    "domain": ("example.org", '"example.org"', "example.org"),
    "url": ("https://example.org", '"https://example.org"', "https://example.org"),
    "trusted_proxies": ("10.0.0.0/8, ::1", '["10.0.0.0/8", "::1"]', ("10.0.0.0/8", "::1")),
    "database_url": ("postgres://a:b@h/n", '"postgres://a:b@h/n"', "postgres://a:b@h/n"),
    "sealing_key_file": ("/run/secrets/key", '"/run/secrets/key"', "/run/secrets/key"),
    "haproxy": ("/usr/sbin/haproxy", '"/usr/sbin/haproxy"', "/usr/sbin/haproxy"),
    "edge_threads": ("2", "2", 2),
    "edge_connections": ("100", "100", 100),
    "release_sources": ("folder,pypi", '["folder", "pypi"]', ("folder", "pypi")),
    "release_folder": ("/opt/builds", '"/opt/builds"', "/opt/builds"),
    "github_api": (
        "https://ghe.example.org/api/v3",
        '"https://ghe.example.org/api/v3"',
        "https://ghe.example.org/api/v3",
    ),
    "release_refresh": ("60.5", "60.5", 60.5),
    "guest_port": ("9000", "9000", 9000),
    "idle_timeout": ("5", "5", 5),
    "wake_timeout": ("7", "7", 7.0),
    "start_timeout": ("8", "8", 8.0),
    "stop_timeout": ("9", "9", 9.0),
    "starts_at_once": ("3", "3", 3),
    "log_bytes": ("5000", "5000", 5000),
    "log_generations": ("2", "2", 2),
    "quarantine": ("0", "0", 0.0),
    "upload_bytes": ("1000", "1000", 1000),
    "address_hourly": ("10", "10", 10),
    "address_at_once": ("11", "11", 11),
    "instance_hourly": ("12", "12", 12),
    "instance_at_once": ("13", "13", 13),
    "trusted_address_hourly": ("14", "14", 14),
    "trusted_instance_hourly": ("15", "15", 15),
    "address_connections": ("16", "16", 16),
    "body_bytes": ("17", "17", 17),
    "wakes_queued": ("18", "18", 18),
    "wakes_per_minute": ("19", "19", 19),
    "snapshots_last": ("2", "2", 2),
    "snapshots_daily": ("0", "0", 0),
    "snapshots_weekly": ("1", "1", 1),
    "watch_seconds": ("0", "0", 0.0),
    "sign_up": ("open", '"open"', "open"),
    "smtp_url": (
        "smtp://a:b@mail.example.org:587",
        '"smtp://a:b@mail.example.org:587"',
        "smtp://a:b@mail.example.org:587",
    ),
    "mail_from": ("fleet@example.org", '"fleet@example.org"', "fleet@example.org"),
    "mail_to": (
        "a@example.org,b@example.org",
        '["a@example.org", "b@example.org"]',
        ("a@example.org", "b@example.org"),
    ),
    "first_instance": ("shop", '"shop"', "shop"),
    "team_awake": ("3", "3", 3),
    "team_storage": ("5000000000", "5000000000", 5_000_000_000),
    "sandbox": ("off", '"off"', "off"),
    "sandbox_ipv6": ("on", '"on"', "on"),
    "sandbox_bwrap": ("/usr/bin/bwrap", '"/usr/bin/bwrap"', "/usr/bin/bwrap"),
    "sandbox_allowed": (
        "10.0.0.5:5432,10.1.0.0/16",
        '["10.0.0.5:5432", "10.1.0.0/16"]',
        ("10.0.0.5:5432", "10.1.0.0/16"),
    ),
    "sandbox_refused_ports": ("25,465", '["25", "465"]', ("25", "465")),
    "sandbox_resolvers": ("8.8.8.8", '["8.8.8.8"]', ("8.8.8.8",)),
    "instance_memory": ("100000000", "100000000", 100_000_000),
    "instance_cpus": ("0.5", "0.5", 0.5),
    "instance_processes": ("50", "50", 50),
    "instance_open_files": ("1000", "1000", 1000),
    "instance_file_bytes": ("5000000", "5000000", 5_000_000),
    "instance_storage": ("9000000", "9000000", 9_000_000),
    "log_level": ("DEBUG", '"DEBUG"', "DEBUG"),
}
#: a field that may only stand beside another one
BESIDE = {"release_sources": {"release_folder": "/opt/builds"}, "smtp_url": {"mail_from": "fleet@example.org"}}


def environment(**settings: str) -> dict[str, str]:
    return {PREFIX + name.upper(): value for name, value in settings.items()}


def test_no_field_is_forgotten_here() -> None:
    assert set(VALUES) == set(FIELDS)


@pytest.mark.parametrize("name", VALUES)
def test_every_field_comes_from_the_environment(name: str, home: Path) -> None:
    text, _, value = VALUES[name]
    settings = {"home": str(home), **BESIDE.get(name, {}), name: text}
    assert getattr(load(environment(**settings)), name) == value


@pytest.mark.parametrize("name", VALUES)
def test_every_field_comes_from_toml(name: str, home: Path) -> None:
    _, toml, value = VALUES[name]
    beside = "".join(f'{key} = "{item}"\n' for key, item in BESIDE.get(name, {}).items())
    (home / "x.toml").write_text(f"{beside}{name} = {toml}\n")
    assert getattr(load({"POCKETFLEET_CONFIG": str(home / "x.toml")}), name) == value


def test_overrides_outweigh_the_environment_which_outweighs_the_file(home: Path) -> None:
    (home / "elsewhere.toml").write_text("port = 1\nidle_timeout = 2\nlog_bytes = 3\n")
    environ = environment(home=str(home), port="10", idle_timeout="20") | {
        "POCKETFLEET_CONFIG": str(home / "elsewhere.toml")
    }
    found = load(environ, port=100)
    assert (found.port, found.idle_timeout, found.log_bytes) == (100, 20, 3)


def test_without_anything_the_defaults_fit(home: Path) -> None:
    found = load({}, home=home)
    assert found == Config(home=home)
    assert found.public_url == "http://localhost:8080"
    assert found.starts_limit >= 2
    assert Config().home == Path.home() / ".pocketfleet"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "http"), ("port", ""), ("port", "0"), ("port", "70000"), ("port", "80.5"), ("guest_port", "-1"),
        ("idle_timeout", "0"), ("wake_timeout", "soon"), ("wake_timeout", "0"), ("wake_timeout", "nan"),
        ("start_timeout", "inf"), ("stop_timeout", "-1"), ("release_refresh", "0"), ("edge_threads", "-1"),
        ("edge_connections", "0"), ("starts_at_once", "-1"), ("log_bytes", "0"), ("log_generations", "0"),
        ("quarantine", "-1"), ("bind", " , "), ("domain", ""), ("domain", "exa mple.org"), ("domain", "-a.org"),
        ("domain", "a..b"), ("domain", "Example.org"), ("domain", "bücher.de"), ("url", "example.org"),
        ("upload_bytes", "0"), ("snapshots_last", "0"), ("snapshots_daily", "-1"), ("snapshots_weekly", "-1"),
        ("smtp_url", "mail.example.org"), ("release_sources", "npm"), ("release_sources", "folder"),
        ("log_level", "LOUD"), ("database_url", "sqlite:///x.db"), ("sealing_key_file", "keys/here"),
        ("home", "/" + "a" * 100), ("trusted_proxies", "proxy.example.org"), ("trusted_proxies", "0.0.0.0/0"),
        ("trusted_proxies", "::/0"), ("trusted_proxies", "10.0.0.1/8"), ("trusted_proxies", "10.0.0.1/33"),
        ("trusted_proxies", "10.0.0.1 or TRUE"), ("trusted_proxies", "10.0.0.1\n    http-request deny"),
        ("trusted_proxies", "fe80::1%eth0"), ("trusted_proxies", "fe80::1%\nx"), ("trusted_proxies", "127.0.0.1,*"),
        ("sandbox_ipv6", "auto"), ("sandbox_ipv6", ""), ("sandbox_allowed", "fd00::5"),
        ("sandbox_allowed", "10.0.0.5:0"), ("sandbox_allowed", "[fd00::5]:5432"), ("sandbox_allowed", "db.example.org"),
        ("sandbox_resolvers", "dns.example"), ("sandbox_resolvers", "2620:fe::fe"), ("sandbox_resolvers", "10.0.0.0/8"),
        ("sandbox_refused_ports", "0"), ("trusted_proxies", "010.0.0.1"), ("trusted_proxies", "10.1"),
        ("trusted_proxies", "\x00"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_its_setting(name: str, value: str, home: Path) -> None:
    settings = {"home": str(home), name: value}
    with pytest.raises(WrongConfiguration, match=f"POCKETFLEET_{name.upper()}") as caught:
        load(environment(**settings))
    assert "\n" not in caught.value.detail


def test_ipv6_may_be_named_where_instances_have_it(home: Path) -> None:
    named = {"sandbox_allowed": "10.0.0.5,[fd00::5]:5432,fd00::/64", "sandbox_resolvers": "9.9.9.9,2620:fe::fe"}
    found = load(environment(home=str(home), sandbox_ipv6="on", **named))
    assert found.sandbox_allowed == ("10.0.0.5", "[fd00::5]:5432", "fd00::/64")
    assert found.sandbox_resolvers == ("9.9.9.9", "2620:fe::fe")
    for name, value in named.items():
        with pytest.raises(WrongConfiguration, match="which is IPv6, unless POCKETFLEET_SANDBOX_IPV6 is on"):
            load(environment(home=str(home), **{name: value}))
    for wrong in ("[2620:fe::fe]", "2620:fe::/64", "fe80::1%eth0"):
        with pytest.raises(WrongConfiguration, match="is no address such as"):
            load(environment(home=str(home), sandbox_ipv6="on", sandbox_resolvers=wrong))


@pytest.mark.parametrize(
    "toml",
    [
        "port = true", "port = 80.5", "port = []", "domain = ['a']", "release_sources = 5", "wake_timeout = '1 s'",
        "wake_timeout = false", "domain = true", "wake_timeout = nan", "home = 5",
    ],
)  # fmt: skip
def test_a_wrong_kind_in_toml_names_its_setting(toml: str, home: Path) -> None:
    (home / "x.toml").write_text(toml)
    name = toml.split(" ")[0].upper()
    with pytest.raises(WrongConfiguration, match=f"POCKETFLEET_{name}"):
        load({"POCKETFLEET_CONFIG": str(home / "x.toml")})


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"port = ", "not TOML"), (b"prot = 8080", "prot"), (b"[edge]\nthreads = 1", "edge"), (b"\xff\xfe", "not TOML")],
)
def test_a_wrong_file_is_named(content: bytes, says: str, home: Path) -> None:
    path = home / "pocketfleet.toml"
    path.write_bytes(content)
    with pytest.raises(WrongConfiguration, match=says) as caught:
        load(environment(home=str(home)))
    assert str(path) in caught.value.detail


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("POCKETFLEET_PROT", "POCKETFLEET_PORT"),
        ("POCKETFLEET_IDLE_TIMEOUTS", "POCKETFLEET_IDLE_TIMEOUT"),
        ("POCKETFLEET_DATABASE", "POCKETFLEET_DATABASE_URL"),
        ("POCKETFLEET_port", "POCKETFLEET_PORT"),
        ("POCKETFLEET_CONFIGS", "POCKETFLEET_CONFIG"),
        ("POCKETFLEET_TRUSTED_PROXY", "POCKETFLEET_TRUSTED_PROXIES"),
        ("POCKETFLEET_", ""),
        ("POCKETFLEET_XYZZY", ""),
        ("POCKETFLEET_X\nY" + "x" * 5000, ""),
    ],
)
@pytest.mark.parametrize("client", [True, False])
def test_a_misspelt_variable_is_refused_with_the_nearest_name(
    name: str, nearest: str, client: bool, home: Path
) -> None:
    with pytest.raises(WrongConfiguration, match="there is no such setting") as caught:
        load(environment(home=str(home)) | {name: "1"}, client=client)
    said = caught.value.detail
    assert name[:13] in said
    assert (f"perhaps “{nearest}”" in said) if nearest else ("perhaps" not in said)
    assert "\n" not in said
    assert len(said) < 300


def test_a_misspelt_setting_in_the_file_is_refused_with_the_nearest_name(home: Path) -> None:
    (home / "pocketfleet.toml").write_text("idle_timout = 5\n")
    with pytest.raises(WrongConfiguration, match="perhaps “idle_timeout”"):
        load(environment(home=str(home)))


def test_what_our_tests_read_and_what_is_not_ours_may_stand_in_the_environment(home: Path) -> None:
    beside = {"POCKETFLEET_TEST_CHROMIUM": "x", "POCKETFLEET_SOAK_SECONDS": "5", "_POCKETFLEET_COMPLETE": "x"}
    assert load(environment(home=str(home)) | beside | {"POCKETFLEETS": "x", "PATH": "/bin"}) == Config(home=home)


def test_a_named_file_must_be_there(home: Path) -> None:
    with pytest.raises(WrongConfiguration, match=r"none\.toml"):
        load({"POCKETFLEET_CONFIG": str(home / "none.toml")})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "port": st.integers(1, 65535),
            "bind": st.lists(st.sampled_from(["127.0.0.1", "::1", "*"]), min_size=1).map(tuple),
            "wake_timeout": st.floats(0.001, 1e6),
            "domain": st.sampled_from(["localhost", "a.b.example.org"]),
            "idle_timeout": st.integers(1, 10**9),
            "url": st.sampled_from(["", "https://example.org"]),
        },
    )
)
def test_the_environment_for_our_children_says_the_same(overrides: dict[str, Any]) -> None:
    config = load({}, home="/srv/fleet", **overrides)
    assert load(config.environment()) == config


@pytest.mark.parametrize(
    ("settings", "dashboard", "instance"),
    [
        ({}, "http://localhost:8080", "http://shop.localhost:8080"),
        ({"port": 80, "domain": "example.org"}, "http://example.org", "http://shop.example.org"),
        ({"url": "https://example.org/", "domain": "example.org"}, "https://example.org", "https://shop.example.org"),
        (
            {"url": "https://example.org:8443", "domain": "example.org"},
            "https://example.org:8443",
            "https://shop.example.org:8443",
        ),
    ],
)
def test_addresses_as_people_type_them(settings: dict[str, Any], dashboard: str, instance: str, home: Path) -> None:
    config = load({}, home=home, **settings)
    assert config.public_url == dashboard
    assert config.instance_url("shop") == instance


def test_sockets_fit_into_their_address_for_the_longest_home() -> None:
    config = load({}, home="/" + "h" * 69)
    sockets = [config.control_socket, config.gate_socket, config.runtime_socket, config.master_socket]
    # HAProxy binds under a temporary name first: the path, a dot, its pid and `.tmp`
    assert all(len(bytes(path)) + len(".4194304.tmp") < 107 for path in sockets)


def test_nothing_but_config_reads_the_environment() -> None:
    source = Path(__file__).resolve().parents[2] / "src" / "pocketfleet"
    readers = [
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if path.name != "config.py"
        # `$os.getenv` is PocketBase's, in a hook of ours
        and any(
            word in path.read_text().replace("$os.getenv", "") for word in ("os.environ[", "os.environ.get", "getenv")
        )
    ]
    assert readers == []


def test_the_configuration_is_read_without_django_or_the_network() -> None:
    code = "import sys, pocketfleet.config; print(sorted({'django', 'httpx', 'nodesemver'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
