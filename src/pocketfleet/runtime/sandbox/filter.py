"""The system calls that nothing in the sandbox may make, as a program for seccomp(2); PocketBase needs none of them.

Written by hand since libseccomp is no part of any wheel, and checked against the kernel by a test of every rule. What
is not forbidden is allowed, and answers by number alone, so the kernel keeps the answers in its own table and asks the
program no more. Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass

#: By machine: what seccomp calls it, and the column of the table below.
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

#: Name: number on x86-64 and on aarch64; None where there is no such call.
FORBIDDEN: dict[str, tuple[int | None, int | None]] = {
    # mounts and roots
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # namespaces
    "unshare": (272, 97),
    "setns": (308, 268),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # keys
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # what most holes in the kernel were found in
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "vmsplice": (278, 75),
    # the kernel and the machine
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    # files by handle, past the folders that lead to them
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_SOCKET = (41, 198)
_SOCKETPAIR = (53, 199)
_IOCTL = (16, 29)
_PERSONALITY = (135, 92)

#: CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_NEW_SPACES = 0x80 | 0x20000 | 0x2000000 | 0x4000000 | 0x8000000 | 0x10000000 | 0x20000000 | 0x40000000
_UNIX, _IP4, _IP6, _KERNEL = 1, 2, 10, 16
#: Typing into a terminal in its owner's name.
_INJECTIONS = (0x5412, 0x541C)
#: On x86-64: a call by the numbers of another form of the machine.
_OTHER_NUMBERS = 0x40000000

_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16


@dataclass(frozen=True, slots=True)
class _Step:
    code: int
    value: int
    #: how many steps to pass over if it is so, and if it is not
    yes: int = 0
    no: int = 0

    def packed(self) -> bytes:
        return struct.pack("=HBBI", self.code, self.yes, self.no, self.value)


def program(machine: str = "") -> bytes:
    """The filter for this machine, or the named one. Raises KeyError for one that is neither x86-64 nor aarch64."""
    known_as, column = _MACHINES[machine or platform.machine()]
    steps = [_Step(_LOAD, _MACHINE), _Step(_EQUAL, known_as, yes=1), _Step(_RETURN, _KILL), _Step(_LOAD, _NUMBER)]
    if column == 0:
        steps += [_Step(_AT_LEAST, _OTHER_NUMBERS, no=1), _refuse(_EPERM)]
    for numbers in FORBIDDEN.values():
        if (number := numbers[column]) is not None:
            steps += [_Step(_EQUAL, number, no=1), _refuse(_EPERM)]
    # whoever is told that there is no clone3 takes clone, whose flags can be read
    steps += [_Step(_EQUAL, _CLONE3[column], no=1), _refuse(_ENOSYS)]
    steps += _when(_CLONE[column], [*_argument(0), _Step(_ANY_BIT, _NEW_SPACES, no=1), _refuse(_EPERM)])
    steps += _when(_PERSONALITY[column], _personalities())
    steps += _when(_IOCTL[column], [*_argument(1), *(step for one in _INJECTIONS for step in _refused(one))])
    steps += _when(_SOCKET[column], _families())
    steps += _when(_SOCKETPAIR[column], [*_argument(0), _Step(_EQUAL, _UNIX, yes=1), _refuse(_EAFNOSUPPORT)])
    return b"".join(step.packed() for step in [*steps, _Step(_RETURN, _ALLOW)])


def _families() -> list[_Step]:
    """IP and unix; and of the kernel's own the one that lists interfaces and routes, which Go's library asks."""
    return [
        *_argument(0),
        _Step(_EQUAL, _UNIX, yes=7),
        _Step(_EQUAL, _IP4, yes=6),
        _Step(_EQUAL, _IP6, yes=5),
        _Step(_EQUAL, _KERNEL, yes=1),
        _refuse(_EAFNOSUPPORT),
        *_argument(2),
        _Step(_EQUAL, 0, yes=1),
        _refuse(_EAFNOSUPPORT),
    ]


def _personalities() -> list[_Step]:
    """Linux as it is, and the question which one it is."""
    return [*_argument(0), _Step(_EQUAL, 0, yes=2), _Step(_EQUAL, 0xFFFFFFFF, yes=1), _refuse(_EPERM)]


def _when(number: int, steps: list[_Step]) -> list[_Step]:
    """These steps for that call alone; it is allowed if none of them refuses."""
    body = [*steps, _Step(_RETURN, _ALLOW)]
    return [_Step(_EQUAL, number, no=len(body)), *body]


def _argument(which: int) -> list[_Step]:
    """Its lower half, which is all that the kernel looks at of flags, families and commands."""
    return [_Step(_LOAD, _ARGUMENTS + 8 * which)]


def _refused(value: int) -> list[_Step]:
    return [_Step(_EQUAL, value, no=1), _refuse(_EPERM)]


def _refuse(error: int) -> _Step:
    return _Step(_RETURN, 0x00050000 | error)
