"""A run on real Ray and Lean in which a pretrained model learns a value, and the search uses it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from prover.lean import LeanPool, Theorem
from prover.lean.theorem import Goal, ProofState
from prover.models.backends.huggingface import HuggingFacePolicy
from prover.models.base import Query
from prover.models.manifest import VALUE_HEAD, read_manifest
from prover.search import Budget, Search, SearchConfig
from prover.solve.ledger import Ledger
from rl.reliability import auc
from tests.cli.conftest import Done, turnstile
from tests.rl.test_pretrained import teach

__all__ = ["turnstile"]

pytestmark = [pytest.mark.lean, pytest.mark.ray]

SETTINGS = """
name = "valued"
theorems.files = ["set.jsonl"]
[prover]
provers = 1
concurrent = 4
premises = 0
suggestions = 12
explorer_weight = 0.0
eval_explorer_weight = 0.0
use_ranker = false
[learn]
rounds = 2
first_calls = 32
calls = 24
harvest = 0
seconds = 600.0
max_epochs = 20.0
learning_rate = 2e-3
value_weight = 2.0
[matchmaker]
disprove = 0.0
[eval]
calls = 8
baselines = false
[serve]
start = "{folder}/model"
"""
FAILING = ("rfl", "exact n", "exact m", "decide", "assumption", "contradiction", "trivial", "exact h", "exact n.succ")


def true_goal(k: int, x: str = "n") -> str:
    return f"{x} + {k} = {k} + {x}"


def false_goal(k: int, x: str = "n") -> str:
    return f"{x} * {k} < {'m' if x == 'n' else 'n'}"


def shown(statement: str, case: str = "") -> str:
    """A goal as Lean prints it. `case`: its name after a tactic that leaves it."""
    return f"{f'case {case}{chr(10)}' if case else ''}n m : Nat\n⊢ {statement}"


SEEN, HELD_BACK = range(10, 20), range(22, 40)


def answers() -> list[tuple[str, str]]:
    """What the model is taught: to split conjunctions and disjunctions, and tactics of which one or none closes a goal."""
    pairs: list[tuple[str, str]] = []
    for k in [*SEEN, *HELD_BACK[::6]]:
        for goal in (true_goal, false_goal):
            pairs += [(shown(f"{goal(k)} ∧ {goal(k, 'm')}"), t) for t in ("constructor", "constructor", "rfl")]
            for x, case in (("n", "left"), ("m", "right")) if k in SEEN else (("n", "h"),):
                pairs += [(shown(goal(k, x), case), t) for t in ("omega", "omega", *FAILING)]
        pairs += [(shown(f"{false_goal(k)} ∨ {true_goal(k)}"), t) for t in ("left", "left", "left", "right")]
    return [(f"{goal}:::", f"{tactic}:::") for goal, tactic in pairs]


def test_a_pretrained_model_learns_a_value_that_guides_the_search(
    turnstile: Callable[..., Done], local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"name": f"{name}_{k}", "statement": f"(n m : Nat) : {goal(k)} ∧ {goal(k, 'm')}"}
        for k in SEEN
        for name, goal in (("true", true_goal), ("false", false_goal))
    ]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "run.toml").write_text(SETTINGS.replace("{folder}", str(tmp_path)))
    teach(tmp_path, answers(), "bfs-prover")
    monkeypatch.chdir(tmp_path)
    done = turnstile("train", "run.toml", "--json")
    assert done.code == 0, done.err[-3000:]
    run = tmp_path / "runs/valued"
    ledger = Ledger.open(run, readonly=True)
    measured = {(phase, name): value for phase, name, value, _ in ledger.measurements()}
    assert not [a.reason for a in ledger.attempts() if a.outcome == "error"]
    # The first round has no value yet; the second searches with the one that the first learned.
    guided = {r: [a for a in ledger.attempts(f"round {r}") if "values" in a.stats] for r in (1, 2)}
    assert not guided[1] and guided[2] and any(a.stats["values"] for a in guided[2])
    assert measured["round 2", "value/predictions"] > 0
    assert measured["round 2", "value_loss"] < measured["round 1", "value_loss"]
    assert not (run / "checkpoints/000000" / VALUE_HEAD).exists() and read_manifest(run / "checkpoints/000002").value
    policy = HuggingFacePolicy(run / "checkpoints/000002", "bfs-prover", dtype="float32")
    values = {
        goal: [policy.evaluate([_query(shown(goal(k), "left"))])[0].value(0.95) for k in HELD_BACK]
        for goal in (true_goal, false_goal)
    }
    assert auc(values[true_goal], values[false_goal]) > 0.9
    # The model that the run started from suggests the tactics: what the trained one says depends on the order of attempts.
    asyncio.run(_search(HuggingFacePolicy(tmp_path / "model", "bfs-prover", dtype="float32"), policy))


def _query(text: str) -> Query:
    return Query(ProofState(0, text, (Goal(text),)))


async def _search(policy: HuggingFacePolicy, value: HuggingFacePolicy) -> None:
    """PUCT leaves the side of a held-back disjunction that the policy prefers, because the value of the other one is higher."""
    k = HELD_BACK[0]
    config = SearchConfig(suggestions=8, in_flight=1)
    async with LeanPool(1) as pool:
        root = await pool.open(Theorem("or", f"(n m : Nat) : {false_goal(k)} ∨ {true_goal(k)}"))
        search = Search(root, pool, policy, value, config=config)
        result = await search.run(Budget(lean_calls=40))
        nodes = {n.state.text.rpartition("⊢ ")[2]: n for n in search.graph.nodes.values()}
        await search.close()
    wrong, right = nodes[false_goal(k)], nodes[true_goal(k)]
    assert right.initial > wrong.initial and result.outcome == "proved"
    expected = value.evaluate([_query(right.state.text)])[0].value(config.discount)
    assert right.initial == pytest.approx(expected, abs=1e-4)
