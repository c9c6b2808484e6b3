"""The sandbox around a Lean process: independent layers that protect the machine from Lean code.

A child applies them between fork and exec, so that they cost no process and no time. `layers` lists those that this system
has. The embedded Lean adds its own (seal.js, patch.py, Node's flags in runtime.py).
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from prover.lean.sandbox import bubblewrap, landlock, seccomp

FILES, CALLS, PRIVILEGES, LIMITS, PLACE = "files", "system calls", "privileges", "limits", "place"
ALL = frozenset((FILES, CALLS, PRIVILEGES, LIMITS, PLACE))

SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/stat",
    "/sys/devices/system/cpu",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
)
"""Files that every program reads: shared libraries and descriptions of the machine."""

_STACK = 64 * 2**20  # Node's --stack-size, and deep recursion of native Lean
_CPU_S = 24 * 3600
_OPEN_FILES = 4096
_BESIDE_LEAN_MB = 4096  # V8's own data and code


class Layer(NamedTuple):
    """A layer as `doctor` shows it."""

    name: str
    holds: bool
    says: str


@dataclass(frozen=True)
class Seal:
    """Permissions of a process. All layers that this system has are on."""

    reads: tuple[str, ...] = ("/",)
    """Files and folders that it may read and execute, besides the system's."""
    writes: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()
    """Layers that are off. Only tests of single layers set this."""

    def reading(self, *paths: str) -> Seal:
        """A copy in which these paths may be read."""
        return replace(self, reads=(*self.reads, *paths))

    def writing(self, *paths: str) -> Seal:
        """A copy in which these paths may be written."""
        return replace(self, writes=(*self.writes, *paths))

    def without_layers(self, *names: str) -> Seal:
        """A copy with these layers off, for tests."""
        return replace(self, without=self.without | frozenset(names))


def _by_landlock() -> bool:
    """Whether Landlock, not bubblewrap, protects the files.

    Landlock is preferred, because it needs no extra process, and no rights that containers or distributions remove. Versions that do not
    restrict truncating files protect less than bubblewrap.
    """
    if landlock.version() >= landlock.TRUNCATE_SINCE and seccomp.supported():
        return True
    return landlock.version() > 0 and not bubblewrap.working()


class Sealing:
    """The seal of one process, prepared before its start. Call `close` when the process has ended."""

    def __init__(self, seal: Seal, command: Sequence[str], memory_mb: int | None = None) -> None:
        """`memory_mb`: limit on the process's data, without Node's own. Raises OSError."""
        self.command = tuple(command)
        self.fds: tuple[int, ...] = ()
        """File descriptors that the child inherits."""
        self._seal = seal
        self._memory_mb = memory_mb
        self._rules = self._filter = None
        self._folder = None
        if PLACE not in seal.without:
            self._folder = tempfile.TemporaryDirectory(prefix="turnstile-", ignore_cleanup_errors=True)
        bwrap = ""
        if FILES not in seal.without:
            if _by_landlock():
                self._rules = landlock.ruleset((*SYSTEM, *seal.reads), seal.writes)
            elif bwrap := bubblewrap.working():
                self.command = tuple(bubblewrap.wrapped(bwrap, command, seal.reads, seal.writes))
        if CALLS not in seal.without and seccomp.supported():
            self._filter = seccomp.Filter()
            if bwrap:  # bubblewrap starts processes itself, then applies the filter
                self._hand_over(bwrap, self._filter.code(bubblewrap.PID))
                self._filter = None

    def _hand_over(self, bwrap: str, code: bytes) -> None:
        read, write = os.pipe()
        os.write(write, code)  # fits into the pipe's buffer
        os.close(write)
        self.fds = (read,)
        self.command = (bwrap, "--seccomp", str(read), *self.command[1:])

    @property
    def cwd(self) -> str | None:
        """The process's own empty, read-only working folder. None: that of its parent."""
        return self._folder.name if self._folder else None

    def apply(self) -> None:
        """Apply the seal in the child (`preexec_fn`). Raises OSError, so that the command does not start."""
        if LIMITS not in self._seal.without:
            _limit(self._memory_mb, writes=bool(self._seal.writes))
        needed = self._rules is not None or self._filter is not None
        if sys.platform == "linux" and (needed or PRIVILEGES not in self._seal.without):
            seccomp.give_up_new_privileges()
        if self._rules is not None:
            landlock.restrict(self._rules)
        if self._filter is not None:
            self._filter.apply()

    def started(self) -> None:
        """Close the parent's copies of the descriptors, when the child runs."""
        for fd in (*self.fds, *([] if self._rules is None else [self._rules])):
            os.close(fd)
        self.fds, self._rules = (), None

    def close(self) -> None:
        self.started()
        if self._folder is not None:
            self._folder.cleanup()


def _limit(memory_mb: int | None, writes: bool) -> None:
    wanted: dict[int, tuple[int, int | None]] = {
        resource.RLIMIT_STACK: (_STACK, None),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_CPU: (_CPU_S, _CPU_S),
        resource.RLIMIT_NOFILE: (_OPEN_FILES, _OPEN_FILES),
    }
    if not writes:
        wanted[resource.RLIMIT_FSIZE] = (0, 0)
    if memory_mb is not None:
        data = (memory_mb + _BESIDE_LEAN_MB) * 2**20
        wanted[resource.RLIMIT_DATA] = (data, data)
    if sys.platform == "darwin":  # elsewhere the limit counts all threads of the user, and seccomp denies processes
        wanted[resource.RLIMIT_NPROC] = (1, 1)
    for limit, (soft, hard) in wanted.items():
        ceiling = resource.getrlimit(limit)[1]
        most = soft if ceiling == resource.RLIM_INFINITY else min(soft, ceiling)
        with contextlib.suppress(ValueError, OSError):  # a system may allow less than it reports
            resource.setrlimit(limit, (most, ceiling if hard is None else most))


def layers() -> tuple[Layer, ...]:
    """The layers around a Lean process of either kind, and whether they work on this system."""
    return (
        *_files_and_calls(),
        Layer("resource limits", True, f"writes no file; data, stack, open files and {_CPU_S // 3600} h of CPU"),
    )


def _files_and_calls() -> list[Layer]:
    version, calls = landlock.version(), seccomp.supported()
    found: list[Layer] = []
    if _by_landlock():
        gaps = [
            what
            for since, what in (
                (landlock.TRUNCATE_SINCE, "files can be emptied"),
                (landlock.TCP_SINCE, "TCP"),
                (landlock.SCOPES_SINCE, "signals"),
            )
            if version < since
        ]
        covers = "reads Lean and the system's libraries, writes nothing, no TCP, no signals to other processes"
        found.append(
            Layer("Landlock", True, covers + (f"; version {version} leaves open: {', '.join(gaps)}" if gaps else ""))
        )
    elif bubblewrap.working():
        found.append(
            Layer("bubblewrap", True, "read-only file system without anybody's home, no network, own processes")
        )
    else:
        todo = "Lean code reads what you may read: use Linux 6.2 or later, or install bubblewrap"
        found.append(Layer("Landlock", False, f"not on this system, and no working bubblewrap; {todo}"))
    if calls:
        found.append(
            Layer("seccomp", True, "no processes, no sockets, no signals to others, no change of modes or owners")
        )
    else:
        found.append(Layer("seccomp", False, "not on this system: Lean code may start processes and open sockets"))
    linux = sys.platform == "linux"
    found.append(Layer("no new privileges", linux, "set-user-id programs give none" if linux else "not on this system"))
    return found
