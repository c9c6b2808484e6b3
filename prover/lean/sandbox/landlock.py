"""Landlock (Linux 5.13): a process gives up files, TCP and signals, for itself and for whatever it starts.

A few system calls by ctypes: the one package on PyPI (`landlock` 1.0.0.dev5) knows neither network nor scopes. Not covered by
Landlock: `stat` and `readlink` of any path, and changes of a file's mode, owner, times and attributes. seccomp.py denies the
latter.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
from collections.abc import Iterable

_libc = ctypes.CDLL(None, use_errno=True)  # here, since a child should load nothing between fork and exec

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every architecture
_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights on files each version of the interface knows."""
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals
TRUNCATE_SINCE, TCP_SINCE, SCOPES_SINCE = 3, 4, 6
"""Versions before them let a process empty files that its user may write, use TCP, signal others."""


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    """The call's result. Raises OSError."""
    words = [a if a is None or isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    result = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@functools.cache
def version() -> int:
    """The version of the kernel's Landlock interface; 0: it has none, or it is switched off."""
    if sys.platform != "linux":
        return 0
    try:
        return _syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def ruleset(reads: Iterable[str], writes: Iterable[str] = ()) -> int:
    """A descriptor of rules: files under `reads` may be read and run, those under `writes` also be written, and nothing else.

    No TCP from version 4, no signals to and no abstract sockets of other processes from version 6. Paths that do not exist are
    passed over. Raises OSError.
    """
    all_rights = (1 << _FILE_RIGHTS[min(version(), max(_FILE_RIGHTS))]) - 1
    fields = [all_rights, _TCP if version() >= TCP_SINCE else 0, _SCOPES if version() >= SCOPES_SINCE else 0]
    known = 1 if version() < TCP_SINCE else 2 if version() < SCOPES_SINCE else 3
    attributes = struct.pack(f"={known}Q", *fields[:known])
    rules = _syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for paths, rights in ((reads, _READ), (writes, all_rights), (("/dev/null",), _READ | _WRITE_FILE)):
            for path in paths:
                _allow(rules, path, rights & all_rights)
    except OSError:
        os.close(rules)
        raise
    return rules


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        at = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not os.path.isdir(path):
            rights &= _OF_FILES
        _syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, at), 0)
    finally:
        os.close(at)


def restrict(rules: int) -> None:
    """From now on this process obeys the rules, and reads of /proc its own part. It must have given up new privileges first.
    Raises OSError."""
    _allow(rules, "/proc/self", _READ)  # exists only now: who asked for the rules was another process
    _syscall(_RESTRICT_SELF, rules, 0)
