"""Counters of a fleet's actors since they started."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Counters:
    """Counts since the actors started."""

    provers: dict[int, dict[str, float]]
    """Prover.counters by member of the fleet. A replacement is a new member."""
    servers: dict[int, dict[str, float]]
    """ModelServer.counters by number of the server. A replacement starts again from zero."""


def counted(provers: Mapping[int, Any], servers: Sequence[Any]) -> Counters:
    """The counters of the actors that answer within five seconds."""
    return Counters(
        answered({i: p.counters.remote() for i, p in provers.items()}),
        answered({k: s.counters.remote() for k, s in enumerate(servers)}),
    )


def answered(refs: Mapping[K, Any]) -> dict[K, Any]:
    """The values that `refs` resolve to within five seconds, without failures."""
    ready, _ = ray.wait(list(refs.values()), num_returns=len(refs), timeout=5) if refs else ([], [])
    found: dict[K, Any] = {}
    known = set(ready)
    for key, ref in refs.items():
        if ref in known:
            try:
                found[key] = ray.get(ref)
            except RayError:
                continue
    return found
