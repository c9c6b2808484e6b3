"""A seccomp filter that denies the system calls that Lean does not need, such as those that start processes, open sockets or
affect other processes.

The filter is Berkeley Packet Filter code, assembled here without a library. Denied calls fail with EPERM.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_libc = ctypes.CDLL(None, use_errno=True)  # at import: a child should load nothing between fork and exec

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # operations on 32-bit words
_NUMBER, _ARCHITECTURE, _FIRST = 0, 4, 16  # offsets in struct seccomp_data; the first argument's low half
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_CLONE_THREAD = 0x10000
_X32 = 0x40000000
_AF_UNIX = 1

# Numbers on (x86_64, aarch64); None: the architecture has no such call.
_CALLS: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None),
    "vfork": (58, None),
    "clone": (56, 220),
    "clone3": (435, 435),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "prlimit64": (302, 261),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "setpriority": (141, 140),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "truncate": (76, 45),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
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
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "syslog": (103, 116),
    "iopl": (172, None),
    "ioperm": (173, None),
    "vhangup": (153, 58),
    "personality": (135, 92),
    "memfd_secret": (447, 447),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_OWN = ("kill", "tgkill", "prlimit64")
"""Allowed if the first argument is the process itself (0 too for `prlimit64`)."""


def supported() -> bool:
    """Whether the kernel has seccomp filters and the table above covers this architecture."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES or struct.calcsize("P") != 8:
        return False
    # Without a filter: EFAULT where filters are known, EINVAL elsewhere.
    _libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, None, 0, 0)
    return ctypes.get_errno() == errno.EFAULT


class Filter:
    """A filter for a child to apply. It is built before the fork, because a child should do little before its exec."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []
        self._own: list[int] = []  # instructions that compare with the process id, unknown before the fork
        column, architecture = _MACHINES[platform.machine()]
        refuse = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
        unknown = (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
        allow = (_RETURN, 0, 0, _ALLOW)
        # Other instruction sets of the machine number the calls differently: all their calls fail.
        self._code += [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), unknown, (_LOAD, 0, 0, _NUMBER)]
        if column == 0:
            self._code += [(_AT_LEAST, 0, 1, _X32), unknown]
        for name, numbers in _CALLS.items():
            if (number := numbers[column]) is None:
                continue
            if name in ("clone3", "io_uring_setup"):  # libc and libuv then use older calls
                then = [unknown]
            elif name == "clone":
                then = [(_LOAD, 0, 0, _FIRST), (_ANY_BIT, 0, 1, _CLONE_THREAD), allow, refuse]
            elif name == "socketpair":
                then = [(_LOAD, 0, 0, _FIRST), (_EQUAL, 0, 1, _AF_UNIX), allow, refuse]
            elif name in _OWN:
                then = [(_LOAD, 0, 0, _FIRST), (_EQUAL, 0, 1, 0), allow, refuse]
                self._own.append(len(self._code) + 2)
                if name == "prlimit64":
                    then[2:2] = [allow, (_EQUAL, 0, 1, 0)]
            else:
                then = [refuse]
            self._code += [(_EQUAL, 0, len(then), number), *then]
        self._code.append(allow)
        packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in self._code)
        self._packed = ctypes.create_string_buffer(packed, len(packed))
        self._program = struct.pack("HxxxxxxP", len(self._code), ctypes.addressof(self._packed))

    def code(self, own: int) -> bytes:
        """The instructions, for the process id `own`."""
        for at in self._own:
            struct.pack_into("=I", self._packed, at * 8 + 4, own)
        return self._packed.raw

    def apply(self) -> None:
        """Apply the filter to this process. Raises OSError."""
        self.code(os.getpid())
        if _libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, self._program, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")


def give_up_new_privileges() -> None:
    """Set `no_new_privs`: programs gain no rights from set-user-id bits. Raises OSError."""
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
