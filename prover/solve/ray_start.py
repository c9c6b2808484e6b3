"""Starts Ray or connects to a cluster."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from pathlib import Path
from typing import Any

from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError

from prover.files import existing

ACTOR_LOST = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError)
"""Exceptions that Ray raises when an actor or its machine dies or runs out of memory."""

TO_JOIN = "start one with `ray start --head`; if it requires a token, set RAY_AUTH_MODE=token"
"""Advice for an address that cannot be joined. Ray sends its token by itself only with the address `auto`."""


def start_ray(address: str, **local: Any) -> None:
    """Connect to the cluster at `address`, or for `local` start one here with these settings of `ray.init`.

    Restores the SIGTERM handler, which Ray replaces by one that exits with a stack trace.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray lowers the priority of workers by default
    token = Path.home() / ".ray" / "auth_token"
    if address == "local" and not token.exists() and not os.access(existing(token), os.W_OK):
        # Ray would save the token of the new cluster in the home folder.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    settings = {"include_dashboard": False, **local} if address == "local" else {}
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **settings)
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)
