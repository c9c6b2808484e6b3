"""Distributes a batch's Lean calls: the full budget once per task, or a total budget spent where it solves most.

With a total, each task first gets a small budget. Each further try gets four times as much until the total is spent, in order
of the estimated success rate per Lean call, which is learned per area (module or file). A larger try continues the search of the
smaller one, except of whole proofs and beside a negation. Provers that exhausted their tactics are skipped in later tries.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

FIRST = 8
"""Lean calls of a task's first try, if the batch has a total."""
GROWTH = 4
DOUBT = 4.0
"""Weight, in tries, of the batch's success rate in the estimate for an area."""
NEARLY_AS_GOOD = 0.25
"""A round contains only grants whose success rate per Lean call is at least this share of the best one."""


@dataclass(frozen=True)
class Grant:
    """Lean calls granted for one try at a task."""

    task: int
    number: int
    """Index of the try, from 0."""
    calls: int


@dataclass
class BudgetScheduler:
    """Rounds of grants. They depend on the results of earlier rounds and not on timing, so a resumed batch repeats exactly.

    `areas`: one per task. `budget`: maximum Lean calls per try.
    """

    areas: Sequence[str]
    budget: int
    total: int | None = None
    _tries: dict[int, int] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    _spent: int = 0
    _tried: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _solved: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self._open = set(range(len(self.areas)))

    def next_round(self) -> list[Grant]:
        """Grants that may run concurrently; empty when the batch is done. Report all of them before the next call."""
        if self.total is None:
            return [Grant(i, 0, self.budget) for i in sorted(self._open) if i not in self._tries]
        spare = self.total - self._spent
        chosen: list[Grant] = []
        affordable = [g for g in self._candidates() if g.calls <= spare]
        rate_per_call = {g: self._success_rate(g.task) / g.calls for g in affordable}
        least = NEARLY_AS_GOOD * max(rate_per_call.values(), default=0.0)
        for grant in sorted(affordable, key=lambda g: (-rate_per_call[g], g.task)):
            if grant.calls <= spare and rate_per_call[grant] >= least:
                chosen.append(grant)
                spare -= grant.calls
        return chosen

    def report(self, grant: Grant, calls: int, over: bool, solved: bool) -> None:
        """Record the result of a grant. `over`: no further try is needed."""
        self._tries[grant.task] = grant.number + 1
        self._spent += calls
        if over or grant.calls >= self.budget:
            self._open.discard(grant.task)
        area = self.areas[grant.task]
        self._tried[area] += 1
        self._solved[area] += solved

    def _candidates(self) -> list[Grant]:
        tries = self._tries
        return [
            Grant(i, tries.get(i, 0), min(self.budget, FIRST * GROWTH ** tries.get(i, 0))) for i in sorted(self._open)
        ]

    def _success_rate(self, task: int) -> float:
        """Success rate of the task's area, shrunk towards that of the batch."""
        overall = (sum(self._solved.values()) + 1) / (sum(self._tried.values()) + 2)
        area = self.areas[task]
        return (self._solved[area] + DOUBT * overall) / (self._tried[area] + DOUBT)
