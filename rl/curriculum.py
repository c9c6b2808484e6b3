"""Chooses the tasks of each round. Reads each round's attempts from the ledger once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from curricula.sampler import Assignment, CurriculumSampler, Try
from prover.lean.theorem import Theorem
from prover.models.assessor import Assessor
from prover.solve.ledger import Ledger
from prover.solve.negation import negation
from prover.solve.statements import goal_of
from rl.algorithms.gradient_settings import PRESETS, settings_of
from rl.attempt import Task
from rl.config import RunConfig
from rl.start import start_of


class Curriculum:
    """The tasks of each round. They depend only on the configuration and on the attempts of earlier rounds, so a resumed run repeats them."""

    def __init__(self, config: RunConfig, train_set: Sequence[Theorem], ledger: Ledger) -> None:
        self.config, self.train_set, self.ledger = config, train_set, ledger
        self.sampler = CurriculumSampler(train_set, config.matchmaker, config.seed)
        self.known: set[str] = set()
        """Theorems proved in the rounds that were read."""
        self._read = 0

    def read(self, r: int) -> None:
        """Read the rounds before `r` that have not been read."""
        for earlier in range(self._read + 1, r):
            tries = [
                Try(t, earlier, o, calls, s, n, share)
                for t, o, calls, s, n, share in self.ledger.tries(f"round {earlier}")
            ]
            self.sampler.observe(tries)
            self.known |= {t.theorem for t in tries if t.outcome == "proved"}
            self._read = earlier

    def tasks(self, r: int, policy: str, best: Any, value: bool) -> list[Task]:
        """The tasks of round `r`: all theorems in the first round unless `learn.theorems` bounds it, later those that the sampler plans.
        `best`: theorems that were proved before. `value`: whether searches use the model's value."""
        c = self.config
        self.read(r)
        targets = [name for name in c.theorems.targets if name not in best]
        if r > 1 or c.learn.theorems:
            chosen = self.sampler.plan(r, self._calls, targets, c.learn.theorems, self._expected(r))
        else:
            chosen = [Assignment(t, c.learn.first_calls, "prove", 0.5) for t in self.train_set]
        if r == 1:
            # All targets together get at most the calls of a round: the same prover tries them again only with more calls.
            share = max(c.matchmaker.base_calls, self._calls // max(1, len(targets)))
            tried = min(c.theorems.target_calls, share) or c.learn.first_calls
            calls = dict.fromkeys(c.theorems.targets, tried)
            chosen = [replace(a, lean_calls=calls.get(a.theorem.name, c.learn.first_calls)) for a in chosen]
        return [self._task(r, a, policy, best, value) for a in chosen]

    def _expected(self, r: int) -> dict[str, float]:
        """The assessor's probability of a proof for each theorem that was never tried, from its statement. Uses the newest assessor up to
        the version that round `r` needs, so that a resumed run plans the same."""
        c = self.config
        if not c.matchmaker.assess:
            return {}
        start = start_of(c)
        served = range(r - 1 - c.learn.max_staleness, 0, -1)
        files = [c.folder / "assessors" / f"{version:06d}.npz" for version in served]
        files += [start.assessor_file] if start is not None and start.assessor_file is not None else []
        if (file := next((f for f in files if f.exists()), None)) is None:
            return {}
        assessor = Assessor.load(file)
        untried = [t for t in self.train_set if not self.sampler.records[t.name].tried and t.statement]
        goals = {t.name: goal_of(t.statement or "") for t in untried}
        calls = self.sampler.budget
        return {name: assessor.assess(g).provable(calls(name)) for name, g in goals.items() if g is not None}

    @property
    def _calls(self) -> int:
        """Lean calls of a round after the first."""
        n = len(self.train_set)
        return self.config.learn.calls * min(n, self.config.learn.theorems or n)

    def in_place_of_equal_groups(self, r: int, groups: int, best: Any, value: bool) -> list[Task]:
        """Dynamic sampling (DAPO; Yu et al. 2025, section 3.2): tasks for further theorems. Empty once `groups` groups have unequal rewards,
        the round's Lean calls are spent, or the round has tried every theorem."""
        c = self.config
        if not c.serve.start or c.learn.algorithm not in PRESETS:
            return []
        if not settings_of(c.learn.algorithm, c.gradient).dynamic_sampling:
            return []
        tried = list(self.ledger.attempts(f"round {r}"))
        missing = groups - sum(a.stats.get("signal", False) for a in tried)
        names = {a.theorem.name for a in tried}
        rest = [t for t in self.train_set if t.name not in names]
        left = self._calls - sum(a.lean_calls for a in tried)
        if missing <= 0 or left <= 0 or not rest:
            return []
        chosen = random.Random(f"{c.seed}/{r}/{len(tried)}").sample(rest, min(missing, len(rest)))
        return [self._task(r, Assignment(t, c.learn.calls, "prove", 0.5), "model", best, value) for t in chosen]

    def _task(self, r: int, assignment: Assignment, policy: str, best: Any, value: bool) -> Task:
        c = self.config
        sampled = c.learn.collect != "search" and policy == "model"
        # A model that writes whole proofs cannot search for a proof of the negation.
        disprove = assignment.side == "disprove" and c.learn.collect != "proofs"
        against = negation(assignment.theorem) if disprove else None
        # Only until a theorem's first proof, because Lean would give the same answers again.
        harvest = 0 if assignment.theorem.name in best else c.learn.harvest
        return Task(
            assignment.theorem,
            policy,
            assignment.lean_calls,
            c.prover.explorer_weight,
            harvest,
            learn=True,
            value=value,
            rollouts=c.learn.group if sampled and not against else 0,
            max_tactics=c.learn.max_tactics,
            turns=whole_proofs(c),
            draw=r - 1,
            negated=against,
        )


def whole_proofs(config: RunConfig) -> int:
    """Maximum number of whole proofs in a conversation; 0 if the model answers with tactics."""
    return config.learn.turns if config.learn.collect == "proofs" else 0
