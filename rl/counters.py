"""What the actors of a fleet counted since they started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError


@dataclass(frozen=True)
class Counters:
    """Counts since the actors started."""

    provers: list[dict[str, float]]
    """Prover.counters of each prover."""
    server: dict[str, float]
    """`queries` and `seconds`, summed over so many model `servers`."""
    waiting: float
    """Questions that wait for a model."""


def counted(provers: Sequence[Any], servers: Sequence[Any]) -> Counters:
    """The counters of those actors that answer within seconds."""
    found = answers([p.counters.remote() for p in provers])
    served = answers([s.counters.remote() for s in servers])
    server: dict[str, float] = {name: sum(one[name] for one in served) for name in ("queries", "seconds")}
    server["servers"] = float(len(served))
    return Counters(found, server, sum(p.get("waiting", 0.0) for p in found))


def answers(refs: Sequence[Any]) -> list[Any]:
    """What `refs` resolve to within five seconds; without those that failed."""
    ready, _ = ray.wait(list(refs), num_returns=len(refs), timeout=5) if refs else ([], [])
    found = []
    for ref in ready:
        try:
            found.append(ray.get(ref))
        except RayError:
            continue
    return found
