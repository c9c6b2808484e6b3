"""Ray, joined or started the way this project needs it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, WorkerCrashedError

ACTOR_LOST = (RayActorError, WorkerCrashedError, NodeDiedError, OutOfMemoryError)
"""Exceptions that Ray raises when an actor or its machine died, or when Ray ended it because memory was short."""

TO_JOIN = "start one with `ray start --head`; where it asks for a token, as one beside local runs does, set RAY_AUTH_MODE=token"
"""What to do about an address that no cluster answers at. Ray shows its token by itself only to the cluster that `auto` finds."""


def start_ray(address: str, **local: Any) -> None:
    """Connect to the cluster at `address`, or start one on this machine for `local`, with these settings of `ray.init`.

    Ray takes SIGTERM for itself, at the level of the process too, and ends with a stack trace: whoever handled it before still does.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray would put workers behind everything else
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    settings = {"include_dashboard": False, **local} if address == "local" else {}
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **settings)
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)
