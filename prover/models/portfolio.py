"""Policies that know nothing: a fixed list of tactics (the baseline), and templates filled with what is at hand (the explorer)."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence

from prover.lean.theorem import ProofState
from prover.models.base import Query, Suggestion
from prover.premises.index import LibraryIndex, Premise

PORTFOLIO = ("rfl", "simp", "omega", "decide", "simp_all", "grind")
"""What one tries first on anything."""


def _binds(target: str) -> bool:
    """Whether the goal is a statement about something not yet introduced."""
    return target.startswith(("∀ ", "¬")) or " → " in target


class Portfolio:
    """A fixed list of closing tactics, always in the same order."""

    def __init__(self, tactics: Sequence[str] = PORTFOLIO) -> None:
        self.tactics = tuple(tactics)

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [self._one(q)[:n] for q in queries]

    def _one(self, query: Query) -> list[Suggestion]:
        if query.attempt or not query.state.goals:
            return []
        lead = "intros; " if _binds(query.state.goals[0].target) else ""
        total = sum(0.9**i for i in range(len(self.tactics)))
        return [
            Suggestion(lead + t, math.log(0.9**i / total), "portfolio") for i, t in enumerate(self.tactics)
        ]


_GENERAL = (
    ("constructor", 1.0),
    ("intros", 0.5),
    ("exfalso", 0.2),
    ("split", 1.0),
    ("split <;> simp_all", 1.0),
    ("ext", 0.7),
    ("ext <;> simp", 0.8),
    ("funext", 0.3),
    ("simp at *", 0.4),
    ("assumption", 0.5),
    ("contradiction", 0.5),
    ("left", 0.2),
    ("right", 0.2),
    ("apply Iff.intro", 0.4),
    ("refine ⟨?_, ?_⟩", 0.4),
    ("symm", 0.3),
    ("exact rfl", 0.3),
    ("simp <;> omega", 0.8),
    ("simp; rfl", 0.3),
)
_VARIABLE = (
    ("cases {h} <;> simp", 1.0),
    ("cases {h} <;> rfl", 0.7),
    ("cases {h} <;> simp_all", 0.7),
    ("induction {h} <;> simp_all", 1.2),
    ("induction {h} with | _ => simp_all", 0.2),
    ("cases {h}", 0.5),
    ("induction {h}", 0.5),
    ("rcases {h} with ⟨⟩ <;> simp", 0.2),
)
_HYPOTHESIS = (
    ("exact {h}", 0.4),
    ("rw [{h}]", 0.5),
    ("rw [← {h}]", 0.3),
    ("simp [{h}]", 0.8),
    ("apply {h}", 0.4),
    ("cases {h}", 0.4),
    ("simp at {h}", 0.3),
    ("subst {h}", 0.3),
    ("simp_all [{h}]", 0.2),
)
_PREMISE_ANY = (
    ("simp [{p}]", 1.2),
    ("exact {p} ..", 0.7),
    ("apply {p}", 0.6),
    ("simp_all [{p}]", 0.4),
)
_PREMISE_EQUATION = (("rw [{p}]", 1.2), ("rw [← {p}]", 0.5), ("exact ({p} ..).symm", 0.3), ("rw [{p}]; simp", 0.3))


class Explorer:
    """Tactic templates filled with hypotheses and premises, in a random order drawn in proportion to their weights.

    The order depends only on the seed and the state, so that a search repeats itself. Expanding a state again goes on
    in the same order. With the weights that stand here nothing in it is learned: it finds the first proofs, and keeps a
    trained policy from forgetting to look elsewhere. `weights` by template replaces them with learned ones.
    """

    def __init__(
        self,
        index: LibraryIndex | None = None,
        seed: int = 0,
        premises: int = 8,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.seed = seed
        self.premises = premises
        self.weights = weights
        self._known: dict[str, Premise] = (
            {p.name: p for m in index.modules.values() for p in m.theorems} if index is not None else {}
        )

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        return [self._one(q, n) for q in queries]

    def _one(self, query: Query, n: int) -> list[Suggestion]:
        weighted: dict[str, float] = {}
        for tactic, template, weight in self.instances(query.state, query.premises):
            if self.weights is not None:
                # What instance of a template fits best is not learned: the later ones keep their smaller share.
                weight = self.weights.get(template, 0.01) * min(weight, 1.0)
            weighted[tactic] = weighted.get(tactic, 0.0) + weight
        rng = random.Random(f"{self.seed} {query.state.key}")
        total = sum(weighted.values())
        # Gumbel-top-k: a draw without replacement in proportion to the weights (Vieira 2014).
        order = sorted(weighted, key=lambda t: math.log(weighted[t]) - math.log(-math.log(rng.random())), reverse=True)
        chosen = order[query.attempt * n : (query.attempt + 1) * n]
        return [Suggestion(t, math.log(weighted[t] / total), "explorer") for t in chosen]

    def instances(self, state: ProofState, premises: Sequence[str]) -> Iterator[tuple[str, str, float]]:
        """(tactic, template, weight) of everything that fits the state's first goal."""
        if not state.goals:
            return
        goal = state.goals[0]
        lead = "intros; " if _binds(goal.target) else ""
        for tactic in PORTFOLIO:
            yield lead + tactic, tactic, 1.0
        if lead:
            yield "intros", "intros", 3.0
            yield "intro h", "intro h", 1.0
        for tactic, weight in _GENERAL:
            yield tactic, tactic, weight
        named = [(n, t) for n, t in goal.hypotheses if re.fullmatch(r"[^\W\d][\w'₀-₉]*", n)][-8:]
        for i, (name, type_) in enumerate(reversed(named)):
            fade = 0.85**i
            if type_ in ("Prop", "Type") or type_.startswith(("Type ", "Sort ")):
                continue
            for template, weight in _VARIABLE if _is_data(type_) else _HYPOTHESIS:
                yield template.format(h=name), template, weight * fade
        for i, name in enumerate(premises[: self.premises]):
            fade = 0.85**i
            known = self._known.get(name)
            for template, weight in _PREMISE_ANY:
                yield template.format(p=name), template, weight * fade
            if known is None or known.rewrites:
                for template, weight in _PREMISE_EQUATION:
                    yield template.format(p=name), template, weight * fade
        for i, (a, b) in enumerate(zip(premises, premises[1:4], strict=False)):
            yield f"simp [{a}, {b}]", "simp [{p}, {q}]", 0.5 * 0.8**i


def _is_data(type_: str) -> bool:
    """Whether a hypothesis looks like a variable (a list, a number …) rather than a fact."""
    return not re.search(r"[=≠<>≤≥∈∉∧∨¬↔→∣∀∃⊆]|\bTrue\b|\bFalse\b", type_)
