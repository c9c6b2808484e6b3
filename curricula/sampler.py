"""The curriculum sampler: chooses the next theorems, their Lean calls, and whether to prove or disprove them.

Follows AlphaProof's matchmaker (Hubert et al., Nature 2025, Methods): budgets start low and grow after failures, reliably solved
theorems are retired, and theorems that may be false are also tried negated. Theorems are drawn by learnability: one solved with
probability p has weight p(1-p) (Tzannetos et al. 2023; Rutherford et al. 2024).

The sampler is a function of the seed and the tries so far, so replaying a run's ledger restores it.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from prover.lean.theorem import Theorem

Side = Literal["prove", "disprove"]


@dataclass(frozen=True)
class MatchConfig:
    """Settings of the curriculum sampler."""

    adaptive: bool = True
    """False: uniform sampling with the base budget, the baseline for ablations."""
    base_calls: Annotated[int, msgspec.Meta(ge=1)] = 16
    """Lean calls of a first try."""
    growth: Annotated[float, msgspec.Meta(ge=1.0)] = 2.0
    """A retry gets this many times the most Lean calls that failed since the last proof."""
    max_calls: int = 512
    """Maximum Lean calls of a try."""
    easy_calls: int = 2
    """A proof within this many Lean calls is easy."""
    trust: int = 1
    """Easy proofs in a row after which a theorem is retired."""
    revisit: float = 0.05
    """Share of a round's Lean calls for retired theorems, against forgetting."""
    disprove: float = 0.25
    """Share of the tries on a resistant theorem that try its negation. Not used with `learn.collect = "proofs"`."""
    resist: int = 3
    """Failures in a row after which a theorem is resistant."""
    memory: float = 0.7
    """Discount of a try per round since, because the prover changes."""
    prior: float = 2.0
    """Weight, in tries, of the success rate of the theorem's source."""
    assess: bool = False
    """Use the estimate of the run's assessor, from the statement, for theorems that were never tried."""


@dataclass(frozen=True)
class Try:
    """A finished attempt."""

    theorem: str
    round: int
    outcome: str
    """prover.lean.theorem.Outcome. `error` is ignored."""
    calls_to_solve: int | None = None
    side: Side = "prove"
    calls: int = 0
    """Lean calls that it was allowed."""
    share: float = 1.0
    """Share of its rollouts that proved it, if it is proved."""


@dataclass(frozen=True)
class Assignment:
    """A theorem to try in this round."""

    theorem: Theorem
    lean_calls: int
    side: Side
    estimate: float
    """Estimated probability of a proof before the try."""


@dataclass
class Record:
    """History of a theorem."""

    tries: float = 0.0
    """Discounted number of tries to prove it."""
    proofs: float = 0.0
    """Discounted number of proofs."""
    round: int = 0
    """Round of the last try."""
    failures: int = 0
    """Failures in a row."""
    failed: int = 0
    """Maximum number of Lean calls allowed among these failures."""
    easy: int = 0
    """Easy proofs in a row."""
    typical: float | None = None
    """Lean calls of the last proof; None before the first."""
    disproved: bool = False
    tried: int = 0
    """Undiscounted number of tries."""


class CurriculumSampler:
    """Chooses among `theorems`. Call `observe` with every finished try in order, and `plan` for each round."""

    def __init__(self, theorems: Sequence[Theorem], config: MatchConfig | None = None, seed: int = 0) -> None:
        self.config = config or MatchConfig()
        self.theorems = list(theorems)
        self.seed = seed
        self.records = {t.name: Record() for t in theorems}
        self._source = {t.name: t.source for t in theorems}

    def observe(self, tries: Iterable[Try]) -> None:
        """Record finished tries, oldest first. Ignores theorems of other sets."""
        c = self.config
        for t in tries:
            r = self.records.get(t.theorem)
            if r is None or t.outcome == "error":
                continue
            if t.side == "disprove" or t.outcome == "disproved":
                r.disproved |= t.outcome == "disproved"
                continue
            fade = c.memory ** max(0, t.round - r.round) if r.tried else 1.0
            proved = t.outcome == "proved"
            r.tries, r.proofs = r.tries * fade + 1, r.proofs * fade + t.share * proved
            r.round, r.tried = t.round, r.tried + 1
            r.failures = 0 if proved else r.failures + 1
            r.failed = 0 if proved else max(r.failed, t.calls)
            easy = proved and t.share == 1 and t.calls_to_solve is not None and t.calls_to_solve <= c.easy_calls
            r.easy = r.easy + 1 if easy else 0
            if proved:
                r.typical = t.calls_to_solve

    def retired(self, name: str) -> bool:
        """Whether a theorem had `trust` easy proofs in a row, so that it is only revisited."""
        return self.records[name].easy >= self.config.trust

    def budget(self, name: str) -> int:
        """Lean calls of the next try: `growth` times the most that failed since the last proof, from base_calls to max_calls."""
        c = self.config
        return min(c.max_calls, max(c.base_calls, round(c.growth * self.records[name].failed)))

    def estimates(self, expected: Mapping[str, float] | None = None) -> dict[str, float]:
        """Probability that the next try at each theorem proves it. `expected`: probabilities to use for theorems that were never tried.

        The discounted success rate is shrunk towards that of the theorem's source (a module or file), which is shrunk towards the overall
        rate, each by `prior` tries: (proofs + prior * parent rate) / (tries + prior).
        """
        c = self.config
        proofs: dict[str, float] = {}
        tries: dict[str, float] = {}
        for name, r in self.records.items():
            s = self._source[name]
            proofs[s], tries[s] = proofs.get(s, 0.0) + r.proofs, tries.get(s, 0.0) + r.tries
        overall = (sum(proofs.values()) + 0.5 * c.prior) / (sum(tries.values()) + c.prior)
        rate = {s: (proofs[s] + c.prior * overall) / (tries[s] + c.prior) for s in proofs}
        found = {
            name: (r.proofs + c.prior * rate[self._source[name]]) / (r.tries + c.prior)
            for name, r in self.records.items()
        }
        return found | {n: p for n, p in (expected or {}).items() if not self.records[n].tried}

    def plan(
        self,
        round: int,
        lean_calls: int,
        always: Collection[str] = (),
        theorems: int = 0,
        expected: Mapping[str, float] | None = None,
    ) -> list[Assignment]:
        """Assignments with an expected cost of about `lean_calls`, or for `theorems` theorems if that is not 0. Deterministic in the tries,
        seed and round.

        Draws theorems without replacement in proportion to p(1-p) (Efraimidis & Spirakis 2006) until the expected cost is reached. Never
        draws disproved theorems. A theorem has at most one assignment. Theorems named in `always` come first, at additional cost: as many
        in turn as `lean_calls` allow, and at least one. `expected`: see `estimates`.
        """
        c = self.config
        rng = random.Random(f"matchmaker/{self.seed}/{round}")
        estimates = self.estimates(expected)
        first = self._always(always, lean_calls, estimates)
        alive = [t for t in self.theorems if not self.records[t.name].disproved and t.name not in always]
        if not c.adaptive:
            drawn = rng.sample(alive, len(alive))[: theorems or max(1, lean_calls // c.base_calls)]
            return first + [Assignment(t, c.base_calls, "prove", estimates[t.name]) for t in drawn]
        retired = [t for t in alive if self.retired(t.name)]
        keyed = []
        for t in alive:
            if not self.retired(t.name):
                p = estimates[t.name]
                keyed.append((rng.random() ** (1 / max(p * (1 - p), 1e-3)), t))
        keyed.sort(key=lambda kt: -kt[0])
        # If `theorems` is given and too few others are left, retired theorems fill the round.
        again = max(self.config.revisit * theorems, theorems - len(keyed)) if theorems else c.revisit * lean_calls
        assignments: list[Assignment] = []
        limit, spent = theorems or lean_calls, 0.0

        def cost(name: str) -> float:
            return 1.0 if theorems else self.cost(name, estimates[name])

        rng.shuffle(retired)
        for t in sorted(retired, key=lambda t: self.records[t.name].round):
            if spent >= again:
                break
            assignments.append(Assignment(t, c.base_calls, "prove", estimates[t.name]))
            spent += cost(t.name)
        for _, t in keyed:
            if spent >= limit:
                break
            resists = self.records[t.name].failures >= c.resist and t.statement is not None
            side: Side = "disprove" if resists and rng.random() < c.disprove else "prove"
            assignments.append(Assignment(t, self.budget(t.name), side, estimates[t.name]))
            spent += cost(t.name)
        return first + assignments

    def _always(self, names: Collection[str], lean_calls: int, estimates: Mapping[str, float]) -> list[Assignment]:
        """Tries of these theorems with their whole budgets, least recently tried first, while they fit into `lean_calls`, and at least one."""
        found: list[Assignment] = []
        for t in sorted((t for t in self.theorems if t.name in names), key=lambda t: self.records[t.name].round):
            lean_calls -= (calls := self.budget(t.name))
            if found and lean_calls < 0:
                break
            found.append(Assignment(t, calls, "prove", estimates[t.name]))
        return found

    def cost(self, name: str, p: float) -> float:
        """Expected Lean calls of a try: those of the last proof (or half the budget) with probability `p`, else the whole budget."""
        budget = self.budget(name)
        typical = self.records[name].typical
        return p * min(typical if typical is not None else budget / 2, budget) + (1 - p) * budget
