"""Trajectories, the training examples of every policy gradient.

Step-level rollouts, whole proofs and conversations with Lean's errors are all lists of model calls with one reward.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prover.models.base import Sampled


@dataclass(frozen=True)
class Trajectory:
    """The model calls of one attempt, in order, and its reward."""

    calls: tuple[Sampled, ...]
    reward: float
    group: int
    """Trajectories of one group are attempts at the same theorem by the same policy version."""
    version: int = 0
    """Policy version that sampled it."""
    overlong: bool = False
    """Whether it was cut off at a limit of tactics or tokens."""
    replayed: bool = False
    """Whether it is a proof of an earlier round, to be imitated."""

    @property
    def tokens(self) -> int:
        """Tokens that the model wrote."""
        return sum(len(c.answer) for c in self.calls)


def staleness(trajectories: Iterable[Trajectory], version: int) -> dict[str, float]:
    """Mean and maximum over trajectories of the versions between sampling and learning, which starts from `version`."""
    behind = [version - t.version for t in trajectories if not t.replayed]
    return {"staleness_mean": sum(behind) / len(behind), "staleness_max": float(max(behind))} if behind else {}


def from_rows(rows: Iterable[Mapping[str, Any]]) -> list[Trajectory]:
    """The trajectories in the ledger's rows of kind `rollouts`, a group for each row. Leaves out rollouts without recorded tokens."""
    found: list[Trajectory] = []
    for group, row in enumerate(rows):
        for r in row["rollouts"]:
            calls = tuple(Sampled(*map(tuple, c)) for c in r.get("calls", ()))
            if any(c.answer for c in calls):
                found.append(
                    Trajectory(
                        calls, r["reward"], group, r.get("version", 0), r.get("ended") in ("length", "unfinished")
                    )
                )
    return found


def shortest_proofs(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Trajectory]:
    """The shortest proof of each theorem, to be replayed. `rows`: (theorem, row of kind `rollouts`). Of a conversation only the last proof
    is used, because Lean rejected those before it."""
    shortest: dict[str, Trajectory] = {}
    for theorem, row in rows:
        proved = [r for r in row["rollouts"] if r.get("ended") == "proved"]
        proved = [{**r, "calls": r["calls"][-1:]} if r.get("whole") and r.get("calls") else r for r in proved]
        for t in from_rows([{"rollouts": proved}]):
            if theorem not in shortest or t.tokens < shortest[theorem].tokens:
                shortest[theorem] = replace(t, replayed=True)
    return list(shortest.values())
