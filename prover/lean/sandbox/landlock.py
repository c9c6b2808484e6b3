"""Landlock (Linux 5.13): a process and its children give up access to files, TCP and signals.

Uses ctypes, because the package on PyPI (`landlock` 1.0.0.dev5) supports neither network nor scopes. Landlock does not cover
`stat` and `readlink` of any path, nor changes of a file's mode, owner, times and attributes. seccomp.py denies the latter.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
from collections.abc import Iterable

_libc = ctypes.CDLL(None, use_errno=True)  # at import: a child should load nothing between fork and exec

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # on every architecture
_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""Number of file rights in each version of the interface."""
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals
TRUNCATE_SINCE, TCP_SINCE, SCOPES_SINCE = 3, 4, 6
"""Earlier versions do not restrict truncating files, TCP, or signals to other processes."""


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    """Result of the system call. Raises OSError."""
    words = [a if a is None or isinstance(a, bytes) else ctypes.c_long(a) for a in arguments]
    result = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@functools.cache
def version() -> int:
    """Version of the kernel's Landlock interface; 0 if it is missing or off."""
    if sys.platform != "linux":
        return 0
    try:
        return _syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def ruleset(reads: Iterable[str], writes: Iterable[str] = ()) -> int:
    """File descriptor of a rule set: files under `reads` may be read and executed, those under `writes` also written.

    From version 4 it denies TCP; from version 6, signals to other processes and their abstract sockets. Paths that do not exist
    are ignored. Raises OSError.
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
    """Apply the rules to this process, and let it read its own folder in /proc. The process must have given up new privileges before.

    Raises OSError.
    """
    _allow(rules, "/proc/self", _READ)  # not in `ruleset`, which runs in the parent process
    _syscall(_RESTRICT_SELF, rules, 0)
