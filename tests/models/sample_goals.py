"""Goals and queries for the tests of the language model."""

from __future__ import annotations

import random

from prover.lean.theorem import Goal, ProofState
from prover.models.base import Query


def make_pairs(n: int, seed: int = 0) -> list[tuple[str, str]]:
    """Goals as Lean prints them, each with a tactic that its shape decides."""
    rng = random.Random(seed)
    pairs: list[tuple[str, str]] = []
    for i in range(n):
        x, y, z = rng.sample("abcdefgmnkxyz", 3)
        h = rng.choice(["h", "h₁", "hx"])
        pairs.append(
            [
                (f"{x} {y} : Nat\n{h} : {x} ≤ {y}\n⊢ {x} < {y} + 1", "omega"),
                (f"{x} {y} : Nat\n{h} : {x} = {y}\n⊢ {y} = {x}", f"exact {h}.symm"),
                (f"p q : Prop\n{h} : p ∧ q\n⊢ q ∧ p", f"exact ⟨{h}.2, {h}.1⟩"),
                (f"xs ys : List Nat\n⊢ (xs ++ ys).length = {x}", "rw [List.length_append]"),
                (f"α : Type u_1\n{x}s : List α\n⊢ List.map id {x}s = {x}s", f"induction {x}s with simp_all"),
                (f"{x} {y} {z} : Nat\n⊢ {x} * ({y} + {z}) = {x} * {y} + {x} * {z}", "simp [Nat.mul_add]"),
            ][i % 6]
        )
    return pairs


def query(text: str, premises: tuple[str, ...] = (), attempt: int = 0) -> Query:
    return Query(ProofState(0, text, (Goal(text),)), premises, attempt)
