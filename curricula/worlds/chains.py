"""Chains of rewrites between two terms: random ones, the shortest known one, and their Lean proofs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from curricula.worlds.terms import Algebra, Step, Term, get, put, show, substitute, variables_of

RADIUS = 2
"""Rewrites that `shortest` searches from each end."""


def scramble(algebra: Algebra, rng: random.Random, start: Term, length: int) -> list[Step]:
    """A random chain of `length` rewrites without a repeated term; shorter if every further rewrite repeats one."""
    chain: list[Step] = []
    seen = {start}
    term = start
    while len(chain) < length:
        fresh = [s for s in algebra.steps(term, variables_of(start)) if s.result not in seen]
        if not fresh:
            break
        rules = sorted({s.rule.name for s in fresh})  # by rule first: some rules apply nearly everywhere
        name = rng.choice(rules)
        chain.append(rng.choice([s for s in fresh if s.rule.name == name]))
        term = chain[-1].result
        seen.add(term)
    return chain


def shortest(algebra: Algebra, left: Term, chain: Sequence[Step]) -> list[Step] | None:
    """The shortest known chain between the ends of `chain`.

    It has at most 2 · RADIUS rewrites exactly if searches of RADIUS rewrites from both ends meet, which depends on the ends alone. Otherwise
    it is a shortest chain through terms at most one rewrite away from those of `chain`, or None if that has at most 2 · RADIUS rewrites.

    The searches may miss a shorter chain: a rewrite that drops a variable of its rule, such as `meet x (join x y) = x`, has no reverse in
    `algebra.steps` if the variable stands for more than a variable.
    """
    right = chain[-1].result
    fill = sorted({*variables_of(left), *variables_of(right)})
    if (found := _bidirectional(algebra, left, right, fill)) is not None:
        return found
    # Each edge both ways, so that two terms of the chain meet in a common neighbour.
    edges: dict[Term, dict[Term, Step]] = {}
    for term in (left, *(s.result for s in chain)):
        for s in algebra.steps(term, fill):
            edges.setdefault(term, {}).setdefault(s.result, s)
            edges.setdefault(s.result, {}).setdefault(term, _reverse(s, term))
    for before, s in zip((left, *(c.result for c in chain)), chain, strict=False):
        edges.setdefault(before, {})[s.result] = s
    reached: dict[Term, list[Step]] = {left: []}
    queue = [left]
    for term in queue:
        for new, s in edges.get(term, {}).items():
            if new not in reached:
                reached[new] = [*reached[term], s]
                queue.append(new)
    # Another chain between these ends may not lead to so short a one.
    return found if len(found := reached[right]) > 2 * RADIUS else None


def _bidirectional(algebra: Algebra, left: Term, right: Term, fill: Sequence[str]) -> list[Step] | None:
    ends: list[dict[Term, list[Step]]] = [{left: []}, {right: []}]
    edge: list[list[Term]] = [[left], [right]]
    for turn in range(2 * RADIUS):
        side = turn % 2
        mine, others = ends[side], ends[1 - side]
        new: list[Term] = []
        for term in edge[side]:
            for s in algebra.steps(term, fill):
                if s.result not in mine:
                    mine[s.result] = [*mine[term], s]
                    new.append(s.result)
        edge[side] = new
        if met := [t for t in new if t in others]:
            middle = min(met, key=lambda t: len(ends[0][t]) + len(ends[1][t]))
            back = ends[1][middle]
            befores = [right, *(s.result for s in back)]
            return ends[0][middle] + [_reverse(s, b) for s, b in reversed(list(zip(back, befores, strict=False)))]
    return None


def calc(
    left: Term,
    chain: Sequence[Step],
    lean_type: Callable[[str], str],
    algebra: Algebra,
    shown: Callable[[Term], Term] = lambda term: term,
) -> str:
    """The chain as a Lean proof. `lean_type`: of a sort. `shown`: applied to terms before they are printed."""
    lines, term = ["calc"], left
    for i, s in enumerate(chain):
        proof = " ".join([s.rule.name, *(show(shown(v), True) for v in s.values)])
        proof = proof if s.forward else f"({proof}).symm" if s.values else f"{proof}.symm"
        if s.position:
            hole = f"hole : {lean_type(algebra.sort_of(get(term, s.position)))}"
            proof = f"congrArg (fun {hole} => {show(shown(put(term, s.position, 'hole')))}) ({proof})"
        lines.append(f"  {show(shown(left)) if i == 0 else '_'} = {show(shown(s.result))} := {proof}")
        term = s.result
    return "\n".join(lines)


def canonical(left: Term, right: Term) -> str:
    """A text that is equal for equations that differ only in the names of variables and in orientation."""

    def text(a: Term, b: Term) -> str:
        names = {v: f"?{i}" for i, v in enumerate(variables_of(("=", a, b)))}
        return f"{show(substitute(a, names))} = {show(substitute(b, names))}"

    return min(text(left, right), text(right, left))


def same_but_one_argument(left: Term, right: Term) -> bool:
    """Whether both sides have the same operation and differ in at most one argument, so that the equation follows from a smaller one."""
    if isinstance(left, str) or isinstance(right, str) or left[0] != right[0]:
        return False
    return sum(a != b for a, b in zip(left[1:], right[1:], strict=True)) <= 1


def _reverse(step: Step, before: Term) -> Step:
    return Step(before, step.position, step.rule, not step.forward, step.values)
