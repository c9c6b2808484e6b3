"""Attack attempts from inside a seal, to test that its layers work. `doctor` and the tests use them.

A child of this process applies the seal and makes each attempt; it starts nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import socket
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

from prover.lean.sandbox import landlock
from prover.lean.sandbox.seal import ALL, CALLS, FILES, LIMITS, PRIVILEGES, Layer, Seal, Sealing

Attempt = Callable[[], object]
"""Raises OSError if it fails."""

_TRIED_ALL = "all were tried"


def succeeded(seal: Seal, attempts: dict[str, Attempt]) -> set[str]:
    """The attempts that succeed in a child with this seal. Raises OSError if the seal cannot be applied."""
    with contextlib.closing(Sealing(seal, ())) as sealing:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                sealing.apply()
                done = [name for name, attempt in attempts.items() if _succeeds(attempt)]
                os.write(write, "\n".join([*done, _TRIED_ALL]).encode())
            os._exit(0)
        os.close(write)
        with open(read, encoding="utf-8") as pipe:
            names = set(pipe.read().split("\n"))
        os.waitpid(child, 0)
    if _TRIED_ALL not in names:
        raise OSError("the seal could not be applied, or the child died of an attempt")
    return names - {_TRIED_ALL}


def _succeeds(attempt: Attempt) -> bool:
    try:
        attempt()
    except (OSError, AttributeError):  # a C library may lack the function
        return False
    return True


def on_files(folder: Path, port: int) -> dict[str, Attempt]:
    """Attempts on `folder`, which has a file `secret`, and on a local port that accepts connections."""
    secret = folder / "secret"
    return {
        "reads a file": secret.read_bytes,
        "lists a folder": lambda: os.listdir(folder),
        "writes a file": lambda: os.close(os.open(folder / "new", os.O_CREAT | os.O_WRONLY)),
        "changes a file": lambda: os.close(os.open(secret, os.O_WRONLY)),
        "empties a file": lambda: os.truncate(secret, 0),
        "removes a file": lambda: os.unlink(folder / "spare"),
        "reads another process's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "connects": lambda: _connect(port),
        "signals another process": lambda: os.kill(os.getppid(), 0),
    }


def _connect(port: int) -> None:
    with socket.socket() as s:  # `create_connection` would import modules, which a seal prevents
        s.settimeout(5)
        s.connect(("127.0.0.1", port))


def on_calls(folder: Path) -> dict[str, Attempt]:
    """Attempts at system calls that seccomp denies."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call(function: str, *arguments: int) -> None:
        if getattr(libc, function)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), function)

    return {
        "forks": _fork,
        "opens a socket": lambda: socket.socket().close(),
        "opens a local socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "signals another process": lambda: os.kill(os.getppid(), 0),
        "signals a thread of another process": lambda: call("tgkill", os.getppid(), os.getppid(), 0),
        "changes a mode": lambda: os.chmod(folder / "secret", 0o600),
        "changes times": lambda: os.utime(folder / "secret"),
        "lets itself be traced": lambda: call("ptrace", 0, 0, 0, 0),
        "leaves its namespaces": lambda: call("unshare", 0x10000000),
        "limits another process": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)),
    }


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


@contextlib.contextmanager
def target() -> Generator[tuple[Path, int]]:
    """A folder with a file `secret`, and a local port that accepts connections."""
    with (
        tempfile.TemporaryDirectory(prefix="turnstile-target-") as name,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        for file in ("secret", "spare"):
            (Path(name) / file).write_text(file)
        yield Path(name), listener.getsockname()[1]


def tried(protection: tuple[Layer, ...]) -> list[Layer]:
    """The layers, after each one around Lean was tested by itself. A layer that lets an attempt succeed does not hold."""
    return [_tried(layer) if layer.holds and layer.name in _TESTED else layer for layer in protection]


def _tried(layer: Layer) -> Layer:
    of_seal, attempts_on = _TESTED[layer.name]
    seal = Seal(reads=()).without_layers(*(ALL - {of_seal}))
    with target() as (folder, port):
        attempts = attempts_on(folder, port)
        try:
            through = succeeded(seal, attempts)
        except OSError as error:
            return Layer(layer.name, False, str(error))
    if through:
        return Layer(layer.name, False, f"Lean code {', '.join(sorted(through))}")
    return Layer(layer.name, True, f"{layer.says} (attempts made just now: {len(attempts)}, succeeded: 0)")


def _on_landlock(folder: Path, port: int) -> dict[str, Attempt]:
    """The attempts on files that this version of Landlock denies."""
    since = {
        "empties a file": landlock.TRUNCATE_SINCE,
        "connects": landlock.TCP_SINCE,
        "signals another process": landlock.SCOPES_SINCE,
    }
    return {k: v for k, v in on_files(folder, port).items() if landlock.version() >= since.get(k, 1)}


def _on_privileges(_: Path, __: int) -> dict[str, Attempt]:
    return {"may gain privileges": may_gain_privileges}


def _on_limits(folder: Path, _: int) -> dict[str, Attempt]:
    return {"writes a file": lambda: (folder / "new").write_text("x"), "dumps its memory": _core}


def may_gain_privileges() -> None:
    """Succeeds unless `no_new_privs` is set."""
    if "NoNewPrivs:\t1" in Path("/proc/self/status").read_text():
        raise OSError


def _core() -> None:
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        raise OSError


_TESTED: dict[str, tuple[str, Callable[[Path, int], dict[str, Attempt]]]] = {
    "Landlock": (FILES, _on_landlock),
    "seccomp": (CALLS, lambda folder, _: on_calls(folder)),
    "no new privileges": (PRIVILEGES, _on_privileges),
    "resource limits": (LIMITS, _on_limits),
}
"""Layer of a process's protection -> (layer of its seal, the attempts on it). `bubblewrap.working` has already tested that one."""
