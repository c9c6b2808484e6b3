"""Rollouts sample one tactic a query from the model, with a new draw for each rollout and round."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace

import pytest

from prover.lean.theorem import Goal, ProofState, StepResult, Theorem
from prover.models.base import Query
from prover.models.inference_client import InferenceClient
from prover.models.tactic_templates import Explorer
from prover.models.tokenizer import train_tokenizer
from prover.models.transformer import LanguageModelPolicy, new_model
from rl.examples import PolicyExample
from rl.learner.learner import Learner
from rl.learner.small_model import SMALL, small_learner
from rl.learner.supervised import train
from rl.rollouts import Rollout, rollouts

TACTICS = ("simp", "omega", "rfl", "intro h", "grind", "decide")
GOAL = "n : Nat\n⊢ n + 0 = n"
THEOREM = Theorem("t", ": True")
ROOT = ProofState(1, "k", (Goal(GOAL, (("n", "Nat"),), "n + 0 = n", ("HAdd.hAdd",)),))


class Refusing:
    """Stands for a Lean that refuses everything, so that a rollout is its first tactic and nothing else."""

    async def step(self, state, tactics):
        return [StepResult("error", message="no") for _ in tactics]

    async def free(self, states):
        pass


@pytest.fixture(scope="module")
def learner() -> Learner:
    """A model that says the six tactics about alike."""
    tokenizer = train_tokenizer([GOAL, *TACTICS] * 20, 512)
    model = new_model(len(tokenizer), hidden=48, layers=2, heads=4, intermediate=96, positions=512)
    learner = small_learner(model, tokenizer, config=replace(SMALL, threads=1, rename=0.0, learning_rate=3e-3))
    train(learner, [PolicyExample(GOAL, t) for t in TACTICS], steps=150)
    return learner


def logprobs(learner: Learner, examples: list[PolicyExample]) -> list[float]:
    return [x.sum().item() for x in learner.measure([[learner.encode(e)] for e in examples])]


def drawn(learner: Learner, n: int, first: int = 1) -> list[Rollout]:
    policy = LanguageModelPolicy(learner.model, learner.tokenizer, learner.format.prompter.config)

    async def answer(suggest, evaluate, n):
        return policy.suggest(suggest, n), [], 1

    found, _ = asyncio.run(
        rollouts(THEOREM, ROOT, Refusing(), InferenceClient(answer, 1), lambda state: (), n, first=first)
    )
    return found


def first_tactics(found: list[Rollout]) -> list[str]:
    """`` for a rollout in which the model drew no tactic at all, which is rare."""
    return [r.decisions[0].tactic if r.decisions else "" for r in found]


def test_rollouts_of_a_group_differ_as_the_model_says(learner):
    found = drawn(learner, 200)
    counts = Counter(first_tactics(found))
    probabilities = logprobs(learner, [PolicyExample(GOAL, t) for t in TACTICS])
    for tactic, logprob in zip(TACTICS, probabilities, strict=True):
        p = math.exp(logprob)
        assert counts[tactic] / 200 == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 200) + 0.01), (
            tactic,
            p,
            counts,
        )


def test_the_probability_of_a_decision_is_the_learners(learner):
    """Otherwise the first ratio of a policy gradient would not be 1."""
    decisions = [r.decisions[0] for r in drawn(learner, 8) if r.decisions]
    own = logprobs(learner, [PolicyExample(d.state, d.tactic, d.premises) for d in decisions])
    assert [d.logprob for d in decisions] == pytest.approx(own, abs=1e-3)


def test_the_same_numbers_draw_the_same_and_others_draw_anew(learner):
    assert first_tactics(drawn(learner, 16)) == first_tactics(drawn(learner, 16))
    assert first_tactics(drawn(learner, 16)) != first_tactics(drawn(learner, 16, first=17))


def test_an_explorer_has_other_luck_in_another_round():
    explorer = Explorer(seed=3)
    assert explorer.reseeded(0) is explorer
    assert explorer.reseeded(1).seed == explorer.reseeded(1).seed != explorer.reseeded(2).seed != explorer.seed


@pytest.mark.parametrize("answers", [([], []), ([[], []], [])])
def test_a_model_that_gives_too_few_or_too_many_answers_is_an_error_and_no_wait(answers):
    async def answer(suggest, evaluate, n):
        return *answers, 1

    async def ask():
        return await asyncio.wait_for(InferenceClient(answer, 1).suggest([Query(ROOT)], 1), 60)

    with pytest.raises(ValueError, match="answers to 1 and 0 queries"):
        asyncio.run(ask())
