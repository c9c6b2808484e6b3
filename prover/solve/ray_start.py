"""Starts Ray or connects to a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray._private import worker
from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError, WorkerCrashedError

from prover.console import one_line
from prover.errors import UserError
from prover.files import existing

_log = logging.getLogger(__name__)

LOST = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError, ObjectLostError)
"""Exceptions that Ray raises when an actor or its machine dies or runs out of memory, or when an object is lost with it
(OwnerDiedError is an ObjectLostError)."""

ANSWERS_WITHIN_S = 10.0
"""Connection timeout for a cluster's address."""
JOINS_WITHIN_S = 15.0
"""Time limit for the cluster's status, because `ray.init` itself waits for many minutes and writes twenty lines on standard error."""

STARTS = 3
"""Ray gives its own processes 30 seconds to start, which a busy machine can exceed."""


def check_cluster(address: str, setting: str) -> None:
    """Raise UserError within 30 seconds if no Ray cluster answers at `HOST:PORT`, `ray://HOST:PORT` or `auto`, or if it refuses
    this machine's token. Skips `local` and the empty address. `setting`: the option that named it."""
    if address in ("", "local"):
        return
    where = f"{setting} {address}"
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise UserError(f"{where}: not an address; use auto, local, or HOST:PORT as printed by `ray start --head`")
        try:
            socket.create_connection((host.strip("[]"), int(port)), ANSWERS_WITHIN_S).close()
        except OSError as error:
            why = error.strerror or str(error)
            raise UserError(f"{where}: no cluster answers ({why}); start one with `ray start --head`") from None
    if address.startswith("ray://"):
        return
    command = [sys.executable, "-m", "ray.scripts.scripts", "status", "--address", address]
    try:
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=JOINS_WITHIN_S)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{where}: no cluster answers within {JOINS_WITHIN_S:.0f} s; start one with `ray start --head`"
        ) from None
    if done.returncode:
        _log.info("%s", done.stderr)
        if "InvalidAuthToken" in done.stderr:
            raise UserError(
                f"{where}: the cluster refuses this machine's token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN to what "
                "`ray get-auth-token` prints on the head"
            )
        last = one_line(done.stderr.strip().rpartition("\n")[2], 200)
        raise UserError(f"{where}: cannot join the cluster ({last}); start one with `ray start --head`")


def _environment() -> dict[str, str]:
    """This process's environment. Ray uses a token by itself only with the address `auto`, so name the mode if there is a token."""
    token = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    if token or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    return dict(os.environ)


def start_ray(address: str, **local: Any) -> None:
    """Connect to the cluster at `address`, or for `local` start one here with these settings of `ray.init`.

    Restores the SIGTERM handler, which Ray replaces by one that exits with a stack trace. What Ray writes on standard error
    meanwhile goes to the log.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray lowers the priority of workers by default
    if address != "local":
        _environment()
    token = Path.home() / ".ray" / "auth_token"
    if address == "local" and not token.exists() and not os.access(existing(token), os.W_OK):
        # Ray would save the token of the new cluster in the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    handler = signal.getsignal(signal.SIGTERM)
    settings = {"include_dashboard": False, **local} if address == "local" else {}
    try:
        for chance in range(1, STARTS + 1):
            try:
                with _stderr_in_log():
                    ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **settings)
                break
            except Exception as error:
                if address != "local" or "timed out during startup" not in str(error):
                    raise
                _log.info("start %d of Ray: %s", chance, one_line(str(error)))
                ray.shutdown()
        else:
            raise UserError("Ray does not start in time on this machine: it is too busy; try again later")
        _messages_in_log()
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _messages_in_log() -> None:
    """Log Ray's messages, such as that of an actor that ended with calls under way. Ray prints them on standard output, which is for a
    command's answer."""

    def log(data: dict[str, Any], **_: Any) -> None:
        for line in data.get("lines", ()):
            _log.info("ray: %s", line)

    worker.print_to_stdstream = log


@contextlib.contextmanager
def _stderr_in_log() -> Iterator[None]:
    """Log what this process and the ones it starts write on standard error."""
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        shown = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            os.close(shown)
            kept.seek(0)
            for line in kept.read().decode(errors="replace").splitlines():
                _log.info("ray: %s", line)
