"""The assessor's head for premises: its examples come from audited proofs, and templates are filled in its order."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest

from curricula.library import split_of
from curricula.worlds.spec import world_of
from prover.lean.pool import LeanPool
from prover.lean.surroundings import Declaration, Surroundings
from prover.lean.theorem import Goal, ProofState, Theorem
from prover.models.assessor import LATER, Assessor
from prover.models.premise_features import premise_candidates
from prover.models.tactic_templates import Explorer
from prover.premises.index import library_index
from prover.premises.local import local_premises
from prover.premises.premise import Premise
from prover.search.examples import Example
from rl.algorithms.assessing import KIND, AssessingConfig, collect_assessed, is_held_out, train_assessor
from rl.algorithms.tactic_ranking import first_goal
from rl.attempt import Task, Workbench, collect, premise_source
from rl.config import LearnConfig, ProverConfig
from rl.training_examples import rows as training_rows

CONFIG = ProverConfig(in_flight=1, actions="elementary", temperature=1.0, root_breadth=1e9)


def lemma(name: str, left: str, *constants: str) -> Declaration:
    return Declaration(name, "theorem", "Eq", (left, "[anonymous]"), 1, ("Eq", *constants), (), False, (), None)


def surroundings(i: int) -> Surroundings:
    """Lemmas whose left side is no function, and one about `f` and strange functions, which closes goals about `f`."""
    others = [lemma(f"x{j}_{i}", "[anonymous]", "N", "N.f") for j in range(6)]
    return Surroundings((*others[:3], lemma(f"good{i}", "N.f", "N", "N.f", f"g{i}", f"h{i}"), *others[3:]))


def goal(i: int) -> Goal:
    return first_goal(f"n{i} : N\n⊢ N.f n{i} = n{i}", ("N", "N.f"))


def rows() -> list[dict[str, Any]]:
    found = []
    for i in range(40):
        local = local_premises(surroundings(i)).candidates(("N", "N.f"), ())
        found.append(
            {
                "theorem": f"t{i}",
                "state": goal(i).text,
                "constants": ("N", "N.f"),
                "premises": [],
                "outcomes": {"closes": [f"rw [good{i}]"]},
                "steps": 1,
                "calls": 1,
                "root": True,
                "used": [f"good{i}"],
                "unclear": [f"x0_{i}"],
                "local": msgspec.to_builtins(local),
            }
        )
    return found


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    learned, metrics = train_assessor(rows(), {}, AssessingConfig(seconds=60.0, epochs=40))
    assert learned is not None
    held = sum(is_held_out(f"t{i}") for i in range(40))
    assert metrics["premises"] == 6 * (40 - held), "one of seven is unclear"
    assert metrics["premise_of"] == 6 * held and metrics["premise_auc"] > 0.95 and metrics["premise_ece"] < 0.1
    return learned


def test_the_premise_that_a_proof_will_use(assessor: Assessor) -> None:
    """Of a file that it has never seen."""
    offered = premise_candidates(goal(99), local_premises(surroundings(99)).candidates(("N", "N.f"), ()), [])
    uses = assessor.uses(goal(99), offered)
    assert len(uses) == 7 and max(uses, key=lambda p: uses[p]) == "good99"
    assert uses["good99"] > 0.8 and sum(uses.values()) < 1.5
    assert assessor.uses(goal(99), {}) == {}


def test_templates_are_filled_in_this_order(assessor: Assessor) -> None:
    state = ProofState(1, "k", (goal(99),), surroundings=surroundings(99))

    def rewrites(**settings: Any) -> list[str]:
        explorer = Explorer(None, actions="elementary", assessor=assessor, **settings)
        return [t for t, _ in explorer.instances(state, ()) if t.startswith("apply")]

    assert rewrites(assess=("premises",))[0] == "apply good99"
    assert rewrites()[0] != "apply good99"
    assert sorted(rewrites()) == sorted(rewrites(assess=("premises",)))
    unread = Assessor(**{n: np.zeros_like(a) if n in LATER else a for n, a in vars(assessor).items()})
    plain, same = (Explorer(None, actions="elementary", assessor=unread, assess=uses) for uses in ((), ("premises",)))
    assert list(plain.instances(state, ())) == list(same.instances(state, ())), "equal estimates keep the order"
    without = Assessor(**{n: np.zeros_like(a) if n in LATER else a for n, a in vars(assessor).items()})
    assert set(without.uses(goal(99), {"p": premise_candidates(goal(99), [], [PREMISE])["q"]}).values()) == {0.5}


PREMISE = Premise("q", "M", "Eq", ("a", "b"), 1, False, ("a",))


def test_an_earlier_file_prefers_no_premise(assessor: Assessor, tmp_path: Any) -> None:
    assessor.save(tmp_path / "now.npz")
    with np.load(tmp_path / "now.npz") as data:
        np.savez(tmp_path / "old.npz", **{n: data[n] for n in data if n not in LATER})
    offered = premise_candidates(goal(1), [], [PREMISE])
    assert Assessor.load(tmp_path / "old.npz").uses(goal(1), offered) == {"q": 0.5}
    assert Assessor.load(tmp_path / "now.npz").uses(goal(1), offered) != {"q": 0.5}


def test_solved_goals_are_read_first(assessor: Assessor) -> None:
    """They are few among the goals that a search meets."""
    first = {k: v for k, v in rows()[0].items() if k not in ("used", "unclear", "local")}
    open_ = [{**first, "theorem": f"o{i}", "steps": None} for i in range(9000)]
    _, metrics = train_assessor([*open_, *rows()], {}, AssessingConfig(seconds=2.0))
    assert metrics["premises"] == 6 * sum(not is_held_out(f"t{i}") for i in range(40))


def test_without_examples_no_premise_is_preferred() -> None:
    plain = [{k: v for k, v in row.items() if k not in ("used", "unclear", "local")} for row in rows()]
    learned, metrics = train_assessor(plain, {}, AssessingConfig(seconds=60.0))
    assert learned is not None and metrics["premises"] == 0 and "premise_of" not in metrics
    offered = premise_candidates(goal(1), local_premises(surroundings(1)).candidates(("N", "N.f"), ()), [])
    assert set(learned.uses(goal(1), offered).values()) == {0.5}


def test_only_audited_proofs_tell_what_is_used() -> None:
    """Of the names in a list, nobody knows which are needed."""
    name = next(f"t{i}" for i in range(99) if split_of(f"t{i}") == "train")
    best = (("rw [a.b]", 1), ("simp [c, d]", 1), ("simp [a.b, c]", 1), ("apply other", 1))
    e = Example("⊢ p", "k", ("a.b", "c", "d", "e"), (), 1, True, False, 1, 1.0, best, (), 0, tried=("rw [a.b]",))
    ((_, data),) = collect_assessed([e], True, Theorem(name, ": p"))
    assert (data["used"], data["unclear"]) == (["a.b"], ["c", "d"])
    unsolved = Example("⊢ p", "k", (), (), 1, False, False, None, 0.5, (), (("rfl", "error"),), 0, tried=("rfl",))
    ((_, data),) = collect_assessed([unsolved], True, Theorem(name, ": p"))
    assert "used" not in data


@pytest.mark.lean
def test_it_learns_from_searches_of_real_lean() -> None:
    """On theorems that it did not learn from, the lemmas that proofs use have higher estimates than others."""

    async def searched() -> list[dict[str, Any]]:
        index = library_index()
        explorer = Explorer(index, actions="elementary")
        found = []
        async with LeanPool(1, constants=True, terse=True) as pool:
            bench = Workbench(pool, premise_source(index, CONFIG), CONFIG, 0, explorer, explorer)
            for w in world_of("world:rewriting?count=28&seed=1&difficulty=1&split=train"):
                got = await collect(Task(w.theorem, "explorer", 32, learn=True), bench)
                made = training_rows(
                    w.theorem, got.trace, got.outcome == "found", 1.0, LearnConfig(assessor_seconds=1.0)
                )
                found += [data for kind, data in made if kind == KIND]
        return found

    found = asyncio.run(searched())
    assert any(row.get("local") for row in found)
    assert any({c[0][0] for c in row.get("local", ())} & set(row.get("used", ())) for row in found)
    _, metrics = train_assessor(found, {}, AssessingConfig(seconds=60.0))
    assert metrics["premise_of"] > 20 and metrics["premise_auc"] > 0.6
