"""Templates for existential statements: they open hypotheses, and take witnesses from unification or from the available terms."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence

from prover.lean.theorem import Goal
from prover.models.goal_names import GoalNames

_TERMS = 24
"""Maximum number of witnesses that are tried."""
_GROUP = 8
"""Maximum number of witnesses that one tactic tries."""
_DISJUNCT = 12
"""Maximum number of witnesses that a tactic tries for one side of a disjunction."""
_VARIABLES = 5
_OPENED = 3
"""Maximum number of hypotheses that one tactic opens."""
_FADE = 0.85
_ARITHMETIC = ("omega", "grind (splits := 0)")
_RING = " | ".join(["first", *_ARITHMETIC])


def witness_terms(
    found: Sequence[str],
    variables: Sequence[str],
    makers: Sequence[tuple[str, int]],
    functions: Sequence[str] = (),
    numbers: Collection[str] = (),
) -> list[str]:
    """Terms that may be witnesses: small ones first, and those made of other witnesses before those made of other variables.

    `found`: witnesses of opened hypotheses. `makers`: constants with their numbers of explicit arguments. `functions`: those among
    the hypotheses. `numbers`: `Nat`, `Int` or both for terms with numerals, sums and products.
    """
    others = [x for x in variables if x not in found][:_VARIABLES]
    data = [*found, *others]
    cost = {x: 1 + (bool(found) and x in others) for x in data}
    cost |= {m: 2 for m in _taking(0, makers)}
    terms = [(size, x) for x, size in cost.items()]
    terms += [(2, n) for n in ("0", "1") if numbers]
    seeds = [(1 + c, x) for x, c in cost.items() if not found or x not in others]
    terms += [(c, f"({f} {x})") for f in (*_taking(1, makers), *functions[:2]) for c, x in seeds]
    terms += [(c, f"({x} + 1)") for c, x in seeds if numbers]
    terms += [(c, f"(-{x})") for c, x in seeds if "Int" in numbers]
    for x, y in itertools.combinations(data, 2):
        forms = [f"({x} + {y})", f"({x} * {y})"] if numbers else []
        forms += [f"({m} {a} {b})" for m in _taking(2, makers) for a, b in ((x, y), (y, x))]
        terms += [(1 + cost[x] + cost[y], form) for form in forms]
        terms += [(2 + cost[x] + cost[y], f"({x} + {y} + 1)")] if numbers else []
    return list(dict.fromkeys(t for _, t in sorted(terms, key=lambda term: term[0])))[:_TERMS]


def _taking(arguments: int, makers: Sequence[tuple[str, int]]) -> list[str]:
    """The makers with this many arguments, as many as can be used."""
    return [m for m, n in makers if n == arguments][:_TERMS]


def opening(goal: Goal, names: GoalNames) -> tuple[str, list[str]]:
    """(a tactic that opens existential hypotheses and the conjunctions in them, names of the witnesses); empty if there are none."""
    hypotheses = [h for h, shape in names.structured.items() if shape == "Exists"][:_OPENED]
    fresh = _fresh_names(goal)
    new = [tuple(itertools.islice(fresh, 3)) for _ in hypotheses]
    steps = [_open(h, *three) for h, three in zip(hypotheses, new, strict=True)]
    steps += [f"cases {h}" for h, shape in names.structured.items() if shape == "And" and steps]
    return "\n".join(steps), [x for x, _, _ in new]


def chains(goal: Goal, names: GoalNames, rules: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """(tactics that open one of `rules`, hypotheses `∀ x, ∃ y, …`, at a variable; (tactic, witness) pairs that open another rule at that
    witness)."""
    terms = names.variables[:_VARIABLES]
    fresh = _fresh_names(goal)
    first, second = (tuple(itertools.islice(fresh, 3)) for _ in "ab")
    single = [_open(f"{h} {v}", *first) for h in rules[:2] for v in terms]
    both = [
        (f"{_open(f'{h} {v}', *first)}\n{_open(f'{g} {first[0]}', *second)}", second[0])
        for h, g in itertools.permutations(rules[:2], 2)
        for v in terms[:2]
    ]
    return single, both


def from_rules(
    goal: Goal, names: GoalNames, rules: Sequence[str], equations: Sequence[str], lemmas: Sequence[str], closer: str
) -> Iterator[tuple[str, float]]:
    """(tactic, weight) with the witnesses of `rules`, hypotheses `∀ x, ∃ y, …`."""
    single, double = chains(goal, names, rules)
    unified = f"(repeat apply Exists.intro)\n{by_unification(equations, lemmas)}"
    end = unified if names.shape == "Exists" else closer
    for i, step in enumerate(single):
        yield f"{step}\n{end}", 2.5 * _FADE**i
        yield step, 1.5 * _FADE**i
    for i, (steps, witness) in enumerate(double):
        yield f"{steps}\nrefine ⟨{witness}, ?_⟩\n{unified}", 2.5 * _FADE**i
        yield f"{steps}\n{closer}", 2.0 * _FADE**i


def _fresh_names(goal: Goal) -> Iterator[str]:
    used = set(re.findall(r"\w+", goal.text))
    return (n for i in itertools.count(1) for letter in "xyz" if (n := f"{letter}{i}") not in used)


def _open(h: str, x: str, y: str, z: str) -> str:
    """A tactic that opens an existential proof `h` and substitutes an equation. Lean decides, because definitions may hide these."""
    return (
        f"(first | obtain ⟨{x}, rfl⟩ := {h} | obtain ⟨{x}, {y}, rfl⟩ := {h} | obtain ⟨{x}, {y}, {z}⟩ : ∃ _ _, _ := {h}"
        f" | obtain ⟨{x}, {y}, {z}⟩ : ∃ _, _ ∧ _ := {h} | obtain ⟨{x}, {y}⟩ := {h})"
    )


def by_unification(equations: Sequence[str], lemmas: Sequence[str]) -> str:
    """A closer after `apply Exists.intro`, which leaves the witness to Lean's unifier, because an equation may determine it.

    `equations`: lemmas that are equations, to rewrite with. `lemmas`: any.
    """
    tries = ["rfl", "assumption"]
    tries += [t for p in lemmas for t in (f"exact {p} ..", f"exact ({p} ..).symm")]
    tries += [f"({t}; done)" for p in equations for t in (f"rw [{p}]", f"rw [← {p}]")]
    if equations:
        tries.append(f"(simp only [{', '.join(equations)}]; rfl)")
    tries.append("((repeat first | assumption | rfl | constructor); done)")
    return " | ".join(["first", *tries])


def existential(
    goal: Goal,
    names: GoalNames,
    makers: Sequence[tuple[str, int]],
    equations: Sequence[str],
    lemmas: Sequence[str],
    closers: Sequence[str],
) -> Iterator[tuple[str, float]]:
    """(tactic, weight) for an existential target."""
    opened, found = opening(goal, names)
    lead = f"{opened}\n" if opened else ""
    closer = by_unification(equations, lemmas)
    numbers = _numbers(goal)
    yield f"{lead}repeat apply Exists.intro\n{closer}", 4.5
    terms = witness_terms(found, names.variables, makers, names.functions, numbers)
    groups = [terms[i : i + _GROUP] for i in range(0, len(terms), _GROUP)]
    for i, group in enumerate(groups):
        if numbers:
            yield f"{lead}{_each(group, '; ' + _RING)}", 4.0 * _FADE**i
        # A witness may be the first of two, so the unifier has a chance at the second one.
        yield f"{lead}{_each(group, f'; (repeat apply Exists.intro); {closer}')}", 3.5 * _FADE**i
    for i, c in enumerate(closers):
        yield f"{lead}{_each(terms, f' <;> {c}')}", 3.0 * _FADE**i
    own = witness_terms((), names.variables, makers, names.functions, numbers)
    yield from ((f"refine ⟨{w}, ?_⟩", 0.8 * _FADE**i) for i, w in enumerate(own))
    yield "apply Exists.intro", 0.6
    yield "refine ⟨_, ?_⟩", 0.4


def disjunctive(
    goal: Goal, names: GoalNames, makers: Sequence[tuple[str, int]], equations: Sequence[str], lemmas: Sequence[str]
) -> Iterator[tuple[str, float]]:
    """(tactic, weight) where the target, a hypothesis or both are disjunctions of existential statements."""
    x, y = itertools.islice(_fresh_names(goal), 2)
    numbers = _numbers(goal)
    unified = f"(repeat apply Exists.intro); {by_unification(equations, lemmas)}"
    hypotheses = [h for h, shape in names.structured.items() if shape == "Or"][:_OPENED]
    for h in [*hypotheses, *([""] if names.shape == "Or" else [])]:
        terms = witness_terms([x] if h else [], names.variables, makers, names.functions, numbers)[:_DISJUNCT]
        for i, end in enumerate(_ARITHMETIC if numbers else [unified]):
            tactic = _each(terms, f"; {end}")
            if names.shape == "Or":
                tactic = f"first | (left; {tactic}) | (right; {tactic})"
            yield f"rcases {h} with ⟨{x}, {y}⟩ | ⟨{x}, {y}⟩ <;> ({tactic})" if h else tactic, 4.5 * _FADE**i


def _numbers(goal: Goal) -> list[str]:
    """The types of numbers that the goal mentions."""
    return [c for c in ("Nat", "Int") if c in goal.constants]


def _each(terms: Sequence[str], closer: str) -> str:
    """A tactic that tries each term as the witness."""
    return " | ".join(["first", *(f"(refine ⟨{w}, ?_⟩{closer})" for w in terms)])
