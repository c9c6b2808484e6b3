"""Formulas of intuitionistic logic, propositional and with quantifiers over one argument: terms, renaming, truth, Lean source."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

Formula = str | tuple
"""An atom, which is a variable `"p"` or a predicate with a term `"P x"`, or `("and", a, b)`, `("or", a, b)`, `("imp", a, b)`,
`("false",)`, `("all", "x", body)`, `("some", "x", body)`."""
FALSE: Formula = ("false",)
QUANTIFIERS = ("all", "some")
BOUND = ("x", "y", "z", "u", "v", "w")
"""The variable of a quantifier, by the nesting of quantifiers in its scope. Formulas that differ only in bound variables are thus equal."""
LEAN = {"and": "Both", "or": "Either", "false": "Never"}
CONTEXT = """inductive Both (p q : Prop) : Prop where
  | mk (left : p) (right : q) : Both p q
inductive Either (p q : Prop) : Prop where
  | left (proof : p) : Either p q
  | right (proof : q) : Either p q
inductive Never : Prop"""
CONTEXT_WITH_QUANTIFIERS = f"""{CONTEXT}
inductive Exist {{T : Type}} (p : T → Prop) : Prop where
  | intro (x : T) (proof : p x) : Exist p"""


def height(f: Formula) -> int:
    """Maximum nesting of quantifiers in a formula."""
    if isinstance(f, str) or f == FALSE:
        return 0
    if f[0] in QUANTIFIERS:
        return 1 + height(f[2])
    return max(height(f[1]), height(f[2]))


def renamed(f: Formula, names: Mapping[str, str]) -> Formula:
    """The formula with other variables, predicates and terms. Quantifiers bind none of the old and new terms."""
    if isinstance(f, str):
        return " ".join(names.get(word, word) for word in f.split())
    return (f[0], *(renamed(g, names) for g in f[1:]))


def heads_of(f: Formula) -> set[str]:
    """The variables or predicates of a formula."""
    if isinstance(f, str):
        return {f.split()[0]}
    return set().union(*map(heads_of, f[2:] if f[0] in QUANTIFIERS else f[1:]))


def terms_of(f: Formula) -> set[str]:
    """The free terms of a formula."""
    if isinstance(f, str):
        return set(f.split()[1:])
    if f[0] in QUANTIFIERS:
        return terms_of(f[2]) - {f[1]}
    return set().union(*map(terms_of, f[1:]))


def classically_valid(
    hypotheses: Collection[Formula],
    goal: Formula,
    heads: Sequence[str],
    constants: Sequence[str] = "",
    most_elements: int = 1,
) -> bool:
    """Whether the goal holds in every classical model of the hypotheses with at most `most_elements` elements. This is necessary for a
    derivation, and fast to check. `heads`: variables or predicates. A variable counts as a predicate with the same value everywhere."""
    for elements in map(range, range(1, most_elements + 1)):
        subsets = [[bits >> e & 1 for e in elements] for bits in range(1 << len(elements))]
        for meanings in itertools.product(subsets, repeat=len(heads)):
            model = dict(zip(heads, meanings, strict=True))
            for values in itertools.product(elements, repeat=len(constants)):
                at = dict(zip(constants, values, strict=True))
                if all(_holds(h, model, at, elements) for h in hypotheses) and not _holds(goal, model, at, elements):
                    return False
    return True


def _holds(f: Formula, model: dict[str, list[int]], at: dict[str, int], elements: range) -> bool:
    if isinstance(f, str):
        head, _, term = f.partition(" ")
        return bool(model[head][at[term] if term else 0])
    match f:
        case ("and", a, b):
            return _holds(a, model, at, elements) and _holds(b, model, at, elements)
        case ("or", a, b):
            return _holds(a, model, at, elements) or _holds(b, model, at, elements)
        case ("imp", a, b):
            return not _holds(a, model, at, elements) or _holds(b, model, at, elements)
        case ("all", x, body):
            return all(_holds(body, model, at | {x: e}, elements) for e in elements)
        case ("some", x, body):
            return any(_holds(body, model, at | {x: e}, elements) for e in elements)
    return False


def show(f: Formula, argument: bool = False) -> str:
    """A formula as Lean source, with the connectives of CONTEXT_WITH_QUANTIFIERS. `argument`: in parentheses unless it is one word."""
    if isinstance(f, str):
        return f"({f})" if argument and " " in f else f
    match f[0]:
        case "false":
            return LEAN["false"]
        case "imp":
            text = f"{show(f[1], not isinstance(f[1], str) and f[1][0] in ('imp', *QUANTIFIERS))} → {show(f[2])}"
        case "all":
            text = f"∀ {f[1]}, {show(f[2])}"
        case "some":
            text = f"Exist fun {f[1]} => {show(f[2])}"
        case _:
            text = f"{LEAN[f[0]]} {show(f[1], True)} {show(f[2], True)}"
    return f"({text})" if argument else text
