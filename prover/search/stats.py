"""Counts and times of a search."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from prover.lean.theorem import ProofNode

SearchOutcome = Literal["proved", "exhausted", "budget", "error"]


class BusyTimer:
    """Context manager that measures the wall time in which at least one of several overlapping activities is under way."""

    __slots__ = ("busy_s", "_active", "_since")

    def __init__(self) -> None:
        self.busy_s = 0.0
        self._active = 0
        self._since = 0.0

    def __enter__(self) -> None:
        self._change(1)

    def __exit__(self, *_: object) -> None:
        self._change(-1)

    def _change(self, by: int) -> None:
        now = perf_counter()
        if self._active:
            self.busy_s += now - self._since
        self._since = now
        self._active += by


@dataclass(slots=True)
class StatsRecorder:
    """Running counts and times of a search: the source of budgets and `SearchStats`."""

    counts: Counter[str] = field(default_factory=Counter[str])
    """`lean_calls`, `replay_calls`, `expansions`, `model_tokens`, `duplicates`, `freed`, `raised`."""
    errors: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    own_s: float = 0.0
    lean_calls_to_solve: int | None = None
    lean: BusyTimer = field(default_factory=BusyTimer)
    model: BusyTimer = field(default_factory=BusyTimer)
    either: BusyTimer = field(default_factory=BusyTimer)

    def stats(self, nodes: int, edges: int, model_calls: int) -> SearchStats:
        """Counts and times so far, for a graph of this size."""
        n, seconds = self.counts, self.seconds
        return SearchStats(
            nodes=nodes,
            edges=edges,
            duplicates=n["duplicates"],
            errors=dict(self.errors),
            expansions=n["expansions"],
            model_calls=model_calls,
            model_tokens=n["model_tokens"],
            replay_calls=n["replay_calls"],
            freed=n["freed"],
            seconds=seconds,
            lean_s=self.lean.busy_s,
            model_s=self.model.busy_s,
            own_s=self.own_s,
            neither_s=max(0.0, seconds - self.either.busy_s),
        )


@dataclass(frozen=True, slots=True)
class SearchStats:
    """Counts and wall times in seconds over all runs of a search."""

    nodes: int = 0
    edges: int = 0
    duplicates: int = 0
    """Tactics with the same effect as an earlier tactic on the same goal."""
    errors: dict[str, int] = field(default_factory=dict[str, int])
    """Failed tactics by kind: `error`, `timeout`, `memory`, `crash`, and the search's own `cycle` and `replay`."""
    expansions: int = 0
    model_calls: int = 0
    model_tokens: int = 0
    replay_calls: int = 0
    """Lean calls that restored states after a resume or a free. Not part of `lean_calls`."""
    freed: int = 0
    seconds: float = 0.0
    lean_s: float = 0.0
    """Time with at least one Lean call under way."""
    model_s: float = 0.0
    """Time with a model call under way."""
    own_s: float = 0.0
    """The search's own work (selection, graph, backup). Lean and model calls in flight may overlap it."""
    neither_s: float = 0.0
    """Time with neither a Lean call nor a model call under way."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """State of a search when `run` returns."""

    outcome: SearchOutcome
    """`proved`: the root is solved (not yet audited). `exhausted`: nothing is left to try. `budget`: the budget ran out.
    `error`: the environment kept raising, or raised at least once and nothing is left to try."""
    proof: ProofNode | None
    """The shortest proof found."""
    lean_calls: int
    """Lean calls over all runs, without replays."""
    lean_calls_to_solve: int | None
    """Smallest budget that finds the first proof: the number of the last Lean call in it. Other calls in flight at that
    time do not count."""
    stats: SearchStats
    message: str = ""
    """For `error`: the environment's last exception."""
