"""A round's bookkeeping: each attempt of earlier rounds is read once, and the result is that of reading all of them again."""

from __future__ import annotations

from dataclasses import replace

from curricula.sampler import Assignment, CurriculumSampler, Try
from prover.lean.theorem import Theorem
from prover.solve.ledger import Ledger
from rl.bench.bookkeeping import bench_bookkeeping, store
from rl.config import LearnConfig, RunConfig
from rl.curriculum import Curriculum


class Counted(Ledger):
    """Counts the phases that are read."""

    def __init__(self, path):
        super().__init__(path)
        self.read: list[str | None] = []

    def attempts(self, phase=None):
        self.read.append(phase)
        return super().attempts(phase)

    def tries(self, phase):
        self.read.append(phase)
        return super().tries(phase)


def test_a_round_does_not_read_the_rounds_before_again(tmp_path):
    theorems = store(tmp_path / "ledger.sqlite", 30, 6)
    ledger = Counted(tmp_path / "ledger.sqlite")
    curriculum = Curriculum(RunConfig(), theorems, ledger)
    plans = {r: curriculum.tasks(r, "model", {}, True) for r in range(2, 8)}
    assert ledger.read == [f"round {r}" for r in range(1, 7)]
    # A run that is resumed before the last round plans the same.
    resumed = Curriculum(RunConfig(), theorems, ledger)
    assert resumed.tasks(7, "model", {}, True) == plans[7] and resumed.known == curriculum.known
    sampler = CurriculumSampler(theorems, RunConfig().matchmaker, 0)
    for r in range(1, 7):
        sampler.observe(
            Try(a.theorem.name, r, a.outcome, a.calls_to_solve, calls=a.stats["calls_allowed"])
            for a in Ledger.attempts(ledger, f"round {r}")
        )
    planned = [(a.theorem.name, a.lean_calls) for a in sampler.plan(7, RunConfig().learn.calls * len(theorems))]
    assert [(t.theorem.name, t.lean_calls) for t in plans[7]] == planned


def test_rounds_of_a_number_of_theorems(tmp_path):
    """Not all of a large set in the first round."""
    theorems = store(tmp_path / "ledger.sqlite", 30, 6)
    some = replace(RunConfig(), learn=LearnConfig(theorems=4, first_calls=5))
    curriculum = Curriculum(some, theorems, Ledger(tmp_path / "ledger.sqlite"))
    rounds = [curriculum.tasks(r, "model", {}, True) for r in (1, 2)]
    assert [len(tasks) for tasks in rounds] == [4, 4] and {t.lean_calls for t in rounds[0]} == {5}
    assert len(Curriculum(RunConfig(), theorems, Ledger(tmp_path / "new.sqlite")).tasks(1, "model", {}, True)) == 30


def test_a_model_that_writes_whole_proofs_does_not_search_for_disproofs(tmp_path):
    """Its template has no tactics, so such a search always failed."""
    resistant = Assignment(Theorem("t", "(n : Nat) : n = n + 1"), 16, "disprove", 0.1)
    ledger = Ledger(tmp_path / "ledger.sqlite")
    rollouts, proofs = LearnConfig(collect="rollouts"), LearnConfig(collect="proofs", turns=2)
    for learn, expected in ((LearnConfig(), (True, 0, 0)), (rollouts, (True, 0, 0)), (proofs, (False, 8, 2))):
        task = Curriculum(RunConfig(learn=learn), [], ledger)._task(2, resistant, "model", {}, False)
        assert (task.negated is not None, task.rollouts, task.turns) == expected, learn.collect


def test_the_bookkeeping_of_a_round_among_many(tmp_path):
    """`turnstile bench fleet` does the same with a million, and quotes seconds, which a test must not depend on."""
    found = bench_bookkeeping(tmp_path, 50_000)
    assert found["stored"] == 50_000 and 0 < found["attempts_of_the_round"] <= 500
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert len(ledger.rounds()) == 101 and ledger.rounds()[-1]["solve/train/all/of"] == found["attempts_of_the_round"]
    assert ledger.training_calls() > 64 * 50_000
