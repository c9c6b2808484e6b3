"""Elementary tactic templates: the steps of a proof by hand, without automation.

They introduce, apply, split, rewrite, compute and induct. Nothing searches for a proof by itself, so that several steps are needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from prover.lean.surroundings import Surroundings
from prover.lean.theorem import Goal
from prover.models.goal_names import GoalNames
from prover.models.local_templates import LocalContext, local_context

Actions = Literal["full", "elementary"]
"""The moves of the template policy: `full` has automation such as `simp` and `grind`."""

Weighted = Iterator[tuple[str, float]]

_FADE = 0.9
_LEMMAS = 12
_TERMS = 6
"""Terms at which a lemma is instantiated."""
_GROUP = re.compile(r"\([^():]*\)|\((?:[^():]|\([^():]*\))*\)")
_CONNECTIVES = ("And", "Iff")


def elementary_tactics(
    goal: Goal, names: GoalNames, premises: Sequence[str], functions: Sequence[str], surroundings: Surroundings
) -> Weighted:
    """(tactic, weight) of every elementary step that fits a goal. `premises`: lemmas of the library, best first. `functions`:
    library functions to unfold."""
    context = local_context(goal, surroundings)
    lemmas = list(dict.fromkeys([*context.lemmas, *premises]))[:_LEMMAS]
    fresh = fresh_name(goal)
    yield from _connectives(goal, names, context, surroundings, fresh)
    yield from _hypotheses(goal, names, fresh)
    yield from _equations(goal, names, lemmas)
    yield from _faded("apply {}", lemmas, 0.4)
    yield from _faded("unfold {}", list(dict.fromkeys([*context.functions, *functions])), 0.3)
    yield from _faded("induction {}", names.recursive, 1.0)
    yield from _faded("cases {}", names.variables[:4], 0.3)
    for x in names.recursive[:3]:
        yield from _faded(f"induction {x} generalizing {{}}", [g for g in names.variables if g != x][:3], 0.3)
    if names.shape == "Exists":
        yield from _faded("refine ⟨{}, ?_⟩", names.variables, 0.8)


def fresh_name(goal: Goal) -> str:
    """The first of `h1`, `h2`, … that the goal does not mention."""
    used = set(re.findall(r"\bh\d+\b", goal.text))
    return next(name for i in range(1, len(used) + 2) if (name := f"h{i}") not in used)


def _faded(template: str, values: Sequence[str], weight: float) -> Weighted:
    for i, value in enumerate(values):
        yield template.format(value), weight * _FADE**i


def _connectives(
    goal: Goal, names: GoalNames, context: LocalContext, surroundings: Surroundings, fresh: str
) -> Weighted:
    if names.shape == "∀" or goal.target.startswith("¬"):
        yield f"intro {fresh}", 4.0
    if names.shape in _CONNECTIVES or len(context.rules) == 1:
        yield "constructor", 3.0
    if names.shape == "Or":
        yield "left", 1.0
        yield "right", 1.0
    if len(context.rules) > 1:
        yield from _faded("apply {}", context.rules, 1.0)
    rules = {d.head for d in surroundings.declarations if d.kind in ("rule", "constructor")}
    empty = [d.name for d in surroundings.declarations if d.kind == "inductive" and d.name not in rules]
    for name in empty:
        if name != goal.target:
            yield f"suffices {fresh} : {name} from nomatch {fresh}", 0.3
    if not empty and goal.target != "False" and ("False" in goal.text or "¬" in goal.text):
        yield "exfalso", 0.3


def _hypotheses(goal: Goal, names: GoalNames, fresh: str) -> Weighted:
    if not names.facts:
        return
    types = dict(goal.hypotheses)
    yield "assumption", 3.0
    yield from _faded("apply {}", names.rules, 1.0)
    yield from _faded("cases {}", list(dict.fromkeys([*names.derivations, *names.structured])), 1.5)
    for f in names.rules:
        said = types.get(f, "")
        fits = [g for g in names.facts if said.startswith((f"{types.get(g, '')} → ", f"({types.get(g, '')}) → "))]
        yield from _faded(f"have {fresh} := {f} {{}}", fits, 1.5)
        if not fits:
            yield f"have {fresh} := {f} ?_", 0.3


def _equations(goal: Goal, names: GoalNames, lemmas: Sequence[str]) -> Weighted:
    for h in names.equations:
        yield f"rw [{h}]", 1.5
        yield f"rw [← {h}]", 0.6
        yield f"cases {h}", 0.3
        yield from _faded(f"rw [{{}}] at {h}", lemmas, 0.15)
    if names.shape != "Eq":
        return
    yield "rfl", 3.0
    yield "symm", 0.2
    yield "congr 1", 0.4
    yield from _faded("rw [{}]", lemmas, 1.0)
    yield from _faded("rw [← {}]", lemmas, 0.4)
    groups = sorted(dict.fromkeys(_GROUP.findall(goal.target)), key=len)
    terms = [*names.variables, *groups][:_TERMS]
    for p in lemmas:
        yield from _faded(f"rw [{p} {{}}]", terms, 0.2)
        yield from _faded(f"rw [← {p} {{}}]", terms, 0.1)
