"""Minimising a proof with a scripted check."""

from __future__ import annotations

import asyncio

import pytest

from prover.lean.theorem import ProofNode, Theorem
from prover.search import minimise

THEOREM = Theorem("t", ": True")


def chain(*tactics: str) -> ProofNode:
    tree = ProofNode(tactics[-1])
    for t in reversed(tactics[:-1]):
        tree = ProofNode(t, (tree,), ((0, 0),))
    return tree


def run(tree: ProofNode, accepted: set[str], max_checks: int = 64) -> tuple[str, int]:
    asked: list[str] = []

    async def check(script: str) -> bool:
        asked.append(script)
        return script in accepted

    proof = asyncio.run(minimise(THEOREM, tree, check, max_checks=max_checks))
    assert len(set(asked)) == len(asked)
    return proof.script, len(asked)


def test_a_subtree_gives_way_to_one_tactic() -> None:
    assert run(chain("intro n", "cases n", "rfl"), {"intro n\nomega", "intro n\ncases n\nsimp"})[0] == "intro n\nomega"


def test_a_useless_step_is_dropped_and_intros_merge() -> None:
    tree = chain("intro a", "skip", "intro b", "exact f a b")
    accepted = {"intro a\nintro b\nexact f a b", "intro a b\nexact f a b"}
    assert run(tree, accepted)[0] == "intro a b\nexact f a b"


def test_no_check_begins_after_the_time_is_up() -> None:
    asked: list[str] = []

    async def check(script: str) -> bool:
        asked.append(script)
        return True

    tree = chain("skip", "skip", "rfl")
    proof = asyncio.run(minimise(THEOREM, tree, check, seconds=0.0))
    assert proof.script == "skip\nskip\nrfl" and not asked
    assert asyncio.run(minimise(THEOREM, tree, check, seconds=60.0)).script == "rfl"


def test_a_combination_is_shortened() -> None:
    assert run(chain("constructor <;> simp"), {"constructor"})[0] == "constructor"
    assert run(chain("intros; simp"), {"simp"})[0] == "simp"
    assert run(chain("intros; subst h; simp"), {"intros; simp"})[0] == "intros; simp"
    assert run(chain("simp [foo, bar]"), {"simp [bar]", "simp"})[0] == "simp"


def test_of_alternatives_the_one_that_does_it_stays() -> None:
    def needs(right: str, tactic: str) -> tuple[str, int]:
        asked: list[str] = []

        async def check(script: str) -> bool:
            asked.append(script)
            return right in script

        proof = asyncio.run(minimise(THEOREM, chain(tactic), check))
        return proof.script, len(asked)

    lemmas = " | ".join(f"(exact A.lemma{i} ..)" for i in range(16))
    for i in (0, 7, 15):
        assert needs(f"lemma{i} ", f"first | {lemmas}") == (f"exact A.lemma{i} ..", pytest.approx(6, abs=2))
    # The inner `first` has what follows it; one in brackets ends with them.
    nested = "first | (apply f (g x) <;> first | assumption | omega) | (apply g <;> first | assumption | omega)"
    assert needs("f (g x)", nested)[0] == "apply f (g x)"
    assert needs("f (g x) <;> omega", nested)[0] == "apply f (g x) <;> omega"
    assert needs("f <;> rfl", "first | apply f <;> first | omega | rfl")[0] == "apply f <;> rfl"
    assert needs("omega", "apply g <;> first | assumption | omega")[0] == "apply g <;> omega"
    assert needs("(simp; rfl)", "intro h <;> first | (simp; rfl) | (exact a)")[0] == "intro h <;> (simp; rfl)"
    assert needs("exact a", "intro h <;> first | (simp; rfl) | (exact a)")[0] == "intro h <;> exact a"
    assert needs("rcases h with (a | b)", "first | rcases h with (a | b) | simp")[0] == "rcases h with (a | b)"
    lines = "intro h\ncases h <;> first | rfl | omega | (simp; done)"
    assert needs("cases h <;> (simp; done)", lines)[0] == "intro h\ncases h <;> (simp; done)"


def test_of_alternatives_those_that_several_goals_need_stay() -> None:
    async def check(script: str) -> bool:
        return {"rfl", "omega", "decide"} <= set(script.split())

    tactic = "intro h\n  cases h <;> first | rfl | assumption | exact a | omega | exact b | decide | (simp_all; done)"
    proof = asyncio.run(minimise(THEOREM, chain(tactic), check))
    assert proof.script == "intro h\n  cases h <;> first | rfl | omega | decide"


def test_lemmas_that_a_proof_does_not_need_leave_its_lists() -> None:
    """Halves go first, so that long lists cost few checks."""

    def left(tactic: str, needs: tuple[str, ...], max_checks: int = 32) -> str:
        async def check(script: str) -> bool:
            return all(part in script for part in needs)

        return asyncio.run(minimise(THEOREM, chain(tactic), check, max_checks=max_checks)).script

    many = ", ".join(f"A.lemma{i}" for i in range(40, 80))
    assert left(f"simp [{many}]", ("simp [", "lemma71")) == "simp [A.lemma71]"
    assert left(f"grind [{many}]", ("grind",)) == "grind"
    assert left(f"rw [{many}]", ("rw [", "lemma44", "lemma45")) == "rw [A.lemma44, A.lemma45]"
    assert left(f"intros; simp_all [{many}] <;> omega", ("omega", "simp_all")) == "simp_all <;> omega"
    assert (
        left("simp only [f, ← g (h [1, 2]), i] at k ⊢", ("h [1, 2]", "at k ⊢")) == "simp only [← g (h [1, 2])] at k ⊢"
    )
    assert left("simp_all +arith [f, g]", ("+arith", "simp_all")) == "simp_all +arith"
    assert left("simp [f, g]", ("rfl",)) == "rfl", "a plainer tactic that does it"
    assert left("exact foo [1, 2]", ("foo", "[")) == "exact foo [1, 2]", "not a list of lemmas"
    assert left("rw [f, (g", ("rw", "g")) == "rw [f, (g"


def test_nothing_shorter_gives_the_same_and_checks_are_bounded() -> None:
    tree = chain(*(f"step{i}" for i in range(30)))
    script, asked = run(tree, set(), max_checks=10)
    assert script.split("\n") == [f"step{i}" for i in range(30)] and asked == 10


def test_siblings_stay() -> None:
    tree = ProofNode("constructor", (chain("skip", "rfl"), chain("exact h")), ((0, 0), (1, 0)))
    assert run(tree, {"constructor\n· rfl\n· exact h"})[0] == "constructor\n· rfl\n· exact h"
