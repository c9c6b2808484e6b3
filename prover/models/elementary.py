"""Elementary tactic templates: the steps of a proof by hand, without automation.

They introduce, apply, split, rewrite, compute and induct. None of them searches for a proof, so proofs need several steps. All steps have
the same weight, because learning must find which to prefer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from prover.lean.surroundings import Surroundings
from prover.lean.theorem import Goal
from prover.models.goal_names import GoalNames
from prover.models.local_templates import LocalContext
from prover.models.witness_templates import witness_terms

Actions = Literal["full", "elementary"]
"""The moves of the template policy: `full` has automation such as `simp` and `grind`."""

_LEMMAS = 12
_TERMS = 6
"""Maximum number of terms at which a lemma is instantiated."""
_WITNESSES = 12
_GROUP = re.compile(r"\([^():]*\)|\((?:[^():]|\([^():]*\))*\)")
_CONNECTIVES = ("And", "Iff")


def elementary_tactics(
    goal: Goal,
    names: GoalNames,
    lemmas: Sequence[str],
    functions: Sequence[str],
    context: LocalContext,
    surroundings: Surroundings,
) -> Iterator[str]:
    """Every elementary step that fits a goal. `lemmas`: best first, of which at most _LEMMAS are used. `functions`: library functions
    to unfold. `context`: of the goal in its surroundings."""
    lemmas = lemmas[:_LEMMAS]
    fresh = fresh_name(goal)
    yield from _connectives(goal, names, context, surroundings, fresh)
    yield from _hypotheses(goal, names, fresh)
    yield from _equations(goal, names, lemmas)
    yield from (f"apply {p}" for p in lemmas)
    yield from (f"unfold {f}" for f in dict.fromkeys([*context.functions, *functions]))
    for x in names.recursive:
        yield f"induction {x}"
        yield from (f"induction {x} using {p}" for p in context.recursors)
        yield from (f"induction {x} generalizing {y}" for y in names.variables[:4] if y != x)
    yield from (f"cases {x}" for x in names.variables[:4])
    if names.shape == "Exists":
        terms = witness_terms((), names.variables, context.makers, names.functions)
        yield from (f"refine ⟨{x}, ?_⟩" for x in terms[:_WITNESSES])
        yield "apply Exists.intro"
    elif len(context.rules) == 1:
        yield from (f"refine ⟨{x}, ?_⟩" for x in names.variables)


def fresh_name(goal: Goal) -> str:
    """The first of `h1`, `h2`, … that the goal does not mention."""
    used = set(re.findall(r"\bh\d+\b", goal.text))
    return next(name for i in range(1, len(used) + 2) if (name := f"h{i}") not in used)


def _connectives(
    goal: Goal, names: GoalNames, context: LocalContext, surroundings: Surroundings, fresh: str
) -> Iterator[str]:
    if names.shape == "∀" or goal.target.startswith("¬"):
        yield f"intro {fresh}"
    if names.shape in _CONNECTIVES or len(context.rules) == 1:
        yield "constructor"
    if names.shape == "Or":
        yield from ("left", "right")
    if len(context.rules) > 1:
        yield from (f"apply {r}" for r in context.rules)
    rules = {d.head for d in surroundings.declarations if d.kind in ("rule", "constructor")}
    empty = [d.name for d in surroundings.declarations if d.kind == "inductive" and d.name not in rules]
    yield from (f"suffices {fresh} : {e} from nomatch {fresh}" for e in empty if e != goal.target)
    if not empty and goal.target != "False" and ("False" in goal.text or "¬" in goal.text):
        yield "exfalso"


def _hypotheses(goal: Goal, names: GoalNames, fresh: str) -> Iterator[str]:
    if names.facts:
        yield "assumption"
    yield from (f"exact {h}" for h in names.facts)
    yield from (f"apply {f}" for f in names.rules)
    yield from (f"cases {h}" for h in dict.fromkeys([*names.derivations, *names.structured]))
    types = dict(goal.hypotheses)
    for f in names.rules:
        said = types.get(f, "")
        yield from (
            f"have {fresh} := {f} {g}"
            for g in names.facts
            if said.startswith((f"{types.get(g, '')} → ", f"({types.get(g, '')}) → "))
        )
        yield f"have {fresh} := {f} ?_"
        if said.startswith("∀ "):
            yield from (f"have {fresh} := {f} {x}" for x in names.variables[:4])


def _equations(goal: Goal, names: GoalNames, lemmas: Sequence[str]) -> Iterator[str]:
    for h in names.equations:
        yield from (f"rw [{h}]", f"rw [← {h}]", f"cases {h}")
        yield from (f"rw [{p}] at {h}" for p in lemmas)
    if names.shape != "Eq":
        return
    yield from ("rfl", "symm", "congr 1")
    groups = sorted(dict.fromkeys(_GROUP.findall(goal.target)), key=len)
    at = ["", *(f" {t}" for t in [*names.variables, *groups][:_TERMS])]
    yield from (f"rw [{way}{p}{term}]" for p in lemmas for term in at for way in ("", "← "))
