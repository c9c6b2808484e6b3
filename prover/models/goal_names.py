"""The names that a goal offers to tactics, by kind."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from prover.lean.theorem import Goal, HypothesisKind

_NAME = re.compile(r"[^\W\d][\w'₀-₉]*")
_RECENT = 10
"""Number of newest hypotheses that are used."""
_CONNECTIVES = ("Eq", "Iff", "Ne", "Not", "HEq", "")


@dataclass(frozen=True)
class GoalNames:
    """Names of a goal's hypotheses by kind, the most useful first."""

    variables: list[str] = field(default_factory=list[str])
    """Candidates for `cases`: data of an inductive type first, then other data."""
    recursive: list[str] = field(default_factory=list[str])
    """Variables that are candidates for `induction`."""
    functions: list[str] = field(default_factory=list[str])
    propositions: list[str] = field(default_factory=list[str])
    """Propositional variables."""
    facts: list[str] = field(default_factory=list[str])
    """Proofs."""
    derivations: list[str] = field(default_factory=list[str])
    """Proofs of an inductive predicate, candidates for `cases` and `induction`."""
    structured: dict[str, str] = field(default_factory=dict[str, str])
    """Proofs of `∃`, `∧`, `∨` and `↔`, including those hidden by definitions -> the name of the connective."""
    rules: list[str] = field(default_factory=list[str])
    """Proofs of implications and general statements."""
    equations: list[str] = field(default_factory=list[str])
    types: dict[str, str] = field(default_factory=dict[str, str])
    """Head of each variable's type after unfolding."""
    shape: str = ""
    """Head of the target after unfolding."""


def names_of(goal: Goal) -> GoalNames:
    """The names of a goal's newest hypotheses."""
    *hypotheses, target = goal.kinds or (HypothesisKind("⊢", "target", "", ""),)
    found = GoalNames(shape=target.shape)
    flat: list[str] = []
    for name, kind, head, shape in [h for h in hypotheses if _NAME.fullmatch(h.name)][-_RECENT:][::-1]:
        if kind == "proof":
            _add_proof(found, name, head, shape)
        elif kind == "recursive":
            found.recursive.append(name)
            found.types[name] = shape
        elif kind in ("inductive", "data"):
            found.types[name] = shape
            (flat if kind == "data" else found.variables).append(name)
        elif kind == "function":
            found.functions.append(name)
        elif kind == "prop":
            found.propositions.append(name)
    # Types with constructors first: `cases` does nothing on a type variable.
    found.variables[:0] = found.recursive
    found.variables.extend(flat)
    return found


def _add_proof(found: GoalNames, name: str, head: str, shape: str) -> None:
    found.facts.append(name)
    if shape in ("Exists", "And", "Or", "Iff"):
        found.structured[name] = shape
    elif shape == "∀":
        found.rules.append(name)
    elif shape not in _CONNECTIVES:
        found.derivations.append(name)
    if head in ("Eq", "Iff"):
        found.equations.append(name)
