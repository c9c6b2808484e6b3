"""How a batch's Lean calls are handed out: everything once with the full budget, or a total that goes where it pays.

With a total, every task first gets a little; what is still open then gets four times as much at each further try, as long as
the total lasts, best odds for a Lean call first. What a task's odds are is learned from its area: the module or file that
it comes from. A larger try repeats the smaller one, so at most a third of the calls is spent twice; provers that had
nothing left to try are not asked again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

FIRST = 8
"""Lean calls of a task's first try, where the batch has a total."""
GROWTH = 4
DOUBT = 4.0
"""How many tries at the batch's own rate an area's record starts from."""
NEARLY_AS_GOOD = 0.25
"""A round has only grants whose odds for a Lean call are at least this share of the best: the others wait for what it teaches."""


@dataclass(frozen=True)
class Grant:
    """Leave to try a task."""

    task: int
    number: int
    """0 for its first try."""
    calls: int


@dataclass
class Schedule:
    """Rounds of grants. Which grants come next depends on what earlier rounds gave, never on when: so that a batch that was
    killed and resumed does what an undisturbed one does. `areas`: one a task. `budget`: Lean calls a try at most."""

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
        """Grants that may run in any order, side by side; empty when the batch is over. Report on all before asking again."""
        if self.total is None:
            return [Grant(i, 0, self.budget) for i in sorted(self._open) if i not in self._tries]
        spare = self.total - self._spent
        chosen: list[Grant] = []
        affordable = [g for g in self._possible() if g.calls <= spare]
        pays = {g: self._odds(g.task) / g.calls for g in affordable}
        least = NEARLY_AS_GOOD * max(pays.values(), default=0.0)
        for grant in sorted(affordable, key=lambda g: (-pays[g], g.task)):
            if grant.calls <= spare and pays[grant] >= least:
                chosen.append(grant)
                spare -= grant.calls
        return chosen

    def report(self, grant: Grant, calls: int, over: bool, solved: bool) -> None:
        """What a grant gave. `over`: there is no point in another try."""
        self._tries[grant.task] = grant.number + 1
        self._spent += calls
        if over or grant.calls >= self.budget:
            self._open.discard(grant.task)
        area = self.areas[grant.task]
        self._tried[area] += 1
        self._solved[area] += solved

    def _possible(self) -> list[Grant]:
        tries = self._tries
        return [
            Grant(i, tries.get(i, 0), min(self.budget, FIRST * GROWTH ** tries.get(i, 0))) for i in sorted(self._open)
        ]

    def _odds(self, task: int) -> float:
        """Share of tries in its area that succeeded, drawn towards the batch's."""
        overall = (sum(self._solved.values()) + 1) / (sum(self._tried.values()) + 2)
        area = self.areas[task]
        return (self._solved[area] + DOUBT * overall) / (self._tried[area] + DOUBT)
