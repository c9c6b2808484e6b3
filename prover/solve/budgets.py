"""Distributes a batch's Lean calls: the full budget once per task, or a total budget spent where it solves most.

With a total, each task first gets a small budget. Each further try gets four times as much until the total is spent, in order
of the estimated success rate per Lean call, which is learned per area (module or file). A larger try continues the search of the
smaller one, except of whole proofs and beside a negation. Provers that exhausted their tactics are skipped in later tries.

With estimates of the Lean calls that each task needs (prover.models.assessor), the rate is the probability of a proof within the try's
calls, given that the tries before it failed, times proofs over expected proofs so far in its area.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from prover.models.assessor import Assessment
from prover.solve.attempt import Prover
from prover.solve.statements import goal_of

FIRST = 8
"""Lean calls of a task's first try, if the batch has a total."""
GROWTH = 4
DOUBT = 4.0
"""Weight, in tries, of the batch's success rate in the estimate for an area."""
NEARLY_AS_GOOD = 0.25
"""A round contains only grants whose success rate per Lean call is at least this share of the best one."""


def estimates(provers: Sequence[Prover], statements: Sequence[str | None]) -> list[Assessment | None]:
    """The estimates of the first prover that has an assessor; empty if none has. None where there is no statement."""
    assessor = next((p.assessor for p in provers if p.assessor is not None), None)
    if assessor is None:
        return []
    goals = [None if s is None else goal_of(s) for s in statements]
    return [None if g is None else assessor.assess(g) for g in goals]


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
    expects: Sequence[Assessment | None] = ()
    """An estimate or None for each task; empty without an assessor."""
    spent: int = 0
    """Lean calls reported so far."""
    _expected: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _as_expected: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Number of solved tasks with an estimate, by area."""
    _tries: dict[int, int] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    _tried: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _solved: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self._open = set(range(len(self.areas)))

    def next_round(self) -> list[Grant]:
        """Grants that may run concurrently; empty when the batch is done. Report all of them before the next call."""
        if self.total is None:
            return [Grant(i, 0, self.budget) for i in sorted(self._open) if i not in self._tries]
        spare = self.total - self.spent
        chosen: list[Grant] = []
        affordable = [g for g in self._candidates() if g.calls <= spare]
        rate_per_call = {g: self._success_rate(g) / g.calls for g in affordable}
        least = NEARLY_AS_GOOD * max(rate_per_call.values(), default=0.0)
        for grant in sorted(affordable, key=lambda g: (-rate_per_call[g], g.task)):
            if grant.calls <= spare and rate_per_call[grant] >= least:
                chosen.append(grant)
                spare -= grant.calls
        return chosen

    def report(self, grant: Grant, calls: int, over: bool, solved: bool) -> None:
        """Record the result of a grant. `over`: no further try is needed."""
        self._tries[grant.task] = grant.number + 1
        self.spent += calls
        if over or grant.calls >= self.budget:
            self._open.discard(grant.task)
        area = self.areas[grant.task]
        if (chance := self._chance(grant)) is not None:
            self._expected[area] += chance
            self._as_expected[area] += solved
        self._tried[area] += 1
        self._solved[area] += solved

    def _candidates(self) -> list[Grant]:
        tries = self._tries
        return [Grant(i, tries.get(i, 0), self._calls(tries.get(i, 0))) for i in sorted(self._open)]

    def _calls(self, number: int) -> int:
        """Lean calls of the try with this index."""
        return min(self.budget, FIRST * GROWTH**number)

    def _chance(self, grant: Grant) -> float | None:
        """The expected probability that this try succeeds, given that those before it failed; None without an estimate."""
        if not self.expects or (expected := self.expects[grant.task]) is None:
            return None
        before = sum(self._calls(n) for n in range(grant.number))
        failed = 1 - expected.provable(before)
        return (expected.provable(before + grant.calls) - 1 + failed) / max(failed, 1e-6)

    def _success_rate(self, grant: Grant) -> float:
        """The task's chance corrected by its area; without an estimate the area's success rate, shrunk towards that of the batch."""
        overall = (sum(self._solved.values()) + 1) / (sum(self._tried.values()) + 2)
        area = self.areas[grant.task]
        if (chance := self._chance(grant)) is not None:
            return chance * (self._as_expected[area] + DOUBT) / (self._expected[area] + DOUBT)
        return (self._solved[area] + DOUBT * overall) / (self._tried[area] + DOUBT)
