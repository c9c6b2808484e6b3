"""Theorems of logic from random sequents: the hypotheses that are needed, a representative up to names, and the statement."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce

from curricula.worlds.intuitionistic import Derivation, Formula, Script
from curricula.worlds.theorems import WorldTheorem, renaming, world_theorem

Hypotheses = tuple[Formula, ...]


def needed(given: Hypotheses, provable: Callable[[Hypotheses], bool]) -> Hypotheses | None:
    """A part of the hypotheses of which none can be left out; None if all together prove nothing. `provable`: whether some of them do."""
    if not provable(given):
        return None
    for h in given:
        fewer = tuple(g for g in given if g != h)
        if provable(fewer):
            given = fewer
    return given


def representative(
    hypotheses: Hypotheses,
    goal: Formula,
    renamings: Iterable[Callable[[Formula], Formula]],
    show: Callable[[Formula], str],
) -> tuple[str, Hypotheses, Formula]:
    """The first of the renamed theorems, whose hypotheses have a fixed order, with its text. The goal is no implication."""
    found = []
    for rename in renamings:
        renamed, target = tuple(sorted(set(map(rename, hypotheses)), key=repr)), rename(goal)
        found.append((f"{', '.join(map(show, renamed))} ⊢ {show(target)}", renamed, target))
    return min(found, key=lambda f: f[0])


def stated(
    rng: random.Random,
    world: str,
    key: str,
    sequent: tuple[Hypotheses, Formula],
    derivation: Derivation,
    script: type[Script],
    types: Sequence[str],
    context: str,
    names: Mapping[str, Sequence[str]],
) -> WorldTheorem:
    """A sequent as a theorem of a world, under random names. `types`: binders of its variables. Its hypotheses are binders or premises."""
    hypotheses, goal = sequent
    written = script(len(hypotheses))
    named = {h: f"h{i}" for i, h in enumerate(hypotheses)}
    lines = written.lines(derivation, named, goal)
    if rng.random() < 0.5:
        binders = [f"({name} : {written.show(h)})" for h, name in named.items()]
    else:
        binders, goal = [], reduce(lambda result, h: ("imp", h, result), reversed(hypotheses), goal)
        lines = [f"intro {' '.join(named.values())}"] * bool(hypotheses) + lines
    rename = renaming(rng, names)
    statement = " ".join([*types, *binders, ":", written.show(goal)])
    size = derivation.size
    return world_theorem(world, key, rename(statement), rename(context), rename("\n".join(lines)), size, size)
