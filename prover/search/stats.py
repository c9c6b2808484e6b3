"""What a search did and where its time went."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

from prover.lean.theorem import ProofNode

SearchOutcome = Literal["proved", "exhausted", "budget", "error"]


class Meter:
    """Wall time during which at least one of several overlapping activities was under way, and their summed time."""

    __slots__ = ("busy_s", "summed_s", "_active", "_since")

    def __init__(self) -> None:
        self.busy_s = 0.0
        self.summed_s = 0.0
        self._active = 0
        self._since = 0.0

    def enter(self) -> None:
        self._change(1)

    def leave(self) -> None:
        self._change(-1)

    def _change(self, by: int) -> None:
        now = perf_counter()
        if self._active:
            self.busy_s += now - self._since
            self.summed_s += (now - self._since) * self._active
        self._since = now
        self._active += by


@dataclass(slots=True)
class Tally:
    """Running counts and times of a search, from which budgets and `SearchStats` are made."""

    counts: Counter[str] = field(default_factory=Counter)
    """`lean_calls`, `replay_calls`, `expansions`, `model_tokens`, `duplicates`, `freed`, `raised`."""
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    own_s: float = 0.0
    lean_calls_to_solve: int | None = None
    lean: Meter = field(default_factory=Meter)
    model: Meter = field(default_factory=Meter)
    either: Meter = field(default_factory=Meter)

    def stats(self, nodes: int, edges: int, model_calls: int) -> SearchStats:
        """Counts and times so far, for a graph of that size."""
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
            lean_in_flight=self.lean.summed_s / seconds if seconds else 0.0,
        )


@dataclass(frozen=True, slots=True)
class SearchStats:
    """Counts, and seconds of wall time over all runs of a search."""

    nodes: int = 0
    edges: int = 0
    duplicates: int = 0
    """Tactics whose effect another tactic on the same goal had already."""
    errors: dict[str, int] = field(default_factory=dict)
    """Failed tactics by kind: `error`, `timeout`, `memory`, `crash`, and the search's own `cycle` and `replay`."""
    expansions: int = 0
    model_calls: int = 0
    model_tokens: int = 0
    replay_calls: int = 0
    """Lean calls that only obtained states again, after a resume or where a freed state became of use. Not in
    lean_calls."""
    freed: int = 0
    seconds: float = 0.0
    lean_s: float = 0.0
    """While at least one Lean call was under way."""
    model_s: float = 0.0
    """While a model call was under way."""
    own_s: float = 0.0
    """The search's own work (selection, graph, backup), which Lean and model calls in flight may overlap."""
    neither_s: float = 0.0
    """While neither Lean nor a model had anything to do for this search."""
    lean_in_flight: float = 0.0
    """Lean calls under way, on average."""

    @property
    def lean_utilisation(self) -> float:
        return self.lean_s / self.seconds if self.seconds else 0.0

    @property
    def model_utilisation(self) -> float:
        return self.model_s / self.seconds if self.seconds else 0.0

    @property
    def orchestration_share(self) -> float:
        """Own work as a share of wall time: an upper bound on what it costs, as it overlaps with Lean."""
        return self.own_s / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """How a search stands when `run` returns."""

    outcome: SearchOutcome
    """`proved`: the root is solved as far as the search knows (the audit comes later). `exhausted`: nothing left to
    try. `budget`: ran out. `error`: the environment kept raising, or raised at all where nothing is left to try."""
    proof: ProofNode | None
    """The shortest proof found."""
    lean_calls: int
    """Over all runs, without replays."""
    lean_calls_to_solve: int | None
    """The smallest budget that finds the first proof: the number of the last Lean call that it is made of. What else was in flight when
    the root was solved does not count."""
    stats: SearchStats
    message: str = ""
    """For `error`: what the environment raised last."""
