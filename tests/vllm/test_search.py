"""A short round of reinforcement learning through vLLM, on real Lean: search, learn what was proved, search again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from prover.lean import LeanPool, Theorem
from prover.models.mixture import ExploringPolicy
from prover.models.prompt import steps_bin
from prover.models.tactic_templates import Explorer
from prover.search import Budget, Search, SearchConfig
from rl.examples import PolicyExample, ValueExample
from rl.learner.small_model import SMALL, small_learner
from rl.learner.supervised import train

THEOREMS = [
    Theorem("a", "(p q : Prop) (h : p ∧ q) : q ∧ p"),
    Theorem("b", "(x y : Nat) (h : x < y) : x + 1 ≤ y"),
    Theorem("c", "(xs ys : List Nat) : (xs ++ ys).length = ys.length + xs.length"),
    Theorem("d", "(p : Prop) (h : p) : p ∨ False"),
]
CONFIG = SearchConfig(in_flight=4, suggestions=8)


async def attempt(pool: LeanPool, theorem: Theorem, policy: Any, value: Any) -> tuple[bool, list[Any]]:
    root = await pool.open(theorem)
    search = Search(root, pool, policy, value, config=CONFIG)
    result = await search.run(Budget(lean_calls=24))
    found = search.examples()
    await search.close()
    return result.outcome == "proved", found


@pytest.mark.lean
def test_search_learn_update_search(served: Any, reference: Any) -> None:
    async def run() -> None:
        async with LeanPool(1) as pool:
            teacher = ExploringPolicy(served, Explorer(), 0.5)
            rounds = [await attempt(pool, t, teacher, served) for t in THEOREMS]
            examples = [e for _, found in rounds for e in found]
            learned = [PolicyExample(e.text, t, e.premises) for e in examples for t, _ in e.best]
            valued = [ValueExample(e.text, steps_bin(e.steps), e.premises) for e in examples]
            assert learned and sum(proved for proved, _ in rounds) >= 2
            learner = small_learner(
                reference.model, reference.tokenizer, reference.prompter.config, replace(SMALL, rename=0.0)
            )
            train(learner, [*learned, *valued], steps=60)
            served.load_weights(learner.weights(), 2)
            served.check_version(2)
            # Alone, the model now proves what it learned.
            alone = [await attempt(pool, t, served, served) for t in THEOREMS]
            assert sum(proved for proved, _ in alone) >= 2

    asyncio.run(run())
