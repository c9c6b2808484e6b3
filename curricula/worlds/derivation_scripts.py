"""Lean scripts of derivations."""

from __future__ import annotations

import itertools

from curricula.worlds.derivations import Derivation, each
from curricula.worlds.formulas import Formula, renamed, show

Names = dict[Formula, str]
"""The hypothesis that proves each formula on the left."""


def script(derivation: Derivation, hypotheses: tuple[Formula, ...], goal: Formula) -> list[str]:
    """The lines of a script that proves the goal from the hypotheses `h0`, `h1`, …"""
    return _Script(len(hypotheses)).lines(derivation, {h: f"h{i}" for i, h in enumerate(hypotheses)}, goal)


class _Script:
    def __init__(self, named: int) -> None:
        """`named`: number of hypotheses with a name."""
        self._names = (f"h{i}" for i in itertools.count(named + 1))

    def lines(self, d: Derivation, names: Names, goal: Formula) -> list[str]:
        f, (rule, _, term) = d.formula, d.rule.partition(" ")
        match rule:
            case "exact":
                return [f"exact {names[f]}"]
            case "absurd":
                return [f"cases {names[f]}"]
            case "intro" if term:
                return [f"intro {term}", *self.lines(d.premises[0], names, renamed(f[2], {f[1]: term}))]
            case "intro":
                name, more = self._named(names, f[1])
                return [f"intro {name}", *self.lines(d.premises[0], more, f[2])]
            case "witness":
                return [f"apply Exist.intro {term}", *self.lines(d.premises[0], names, renamed(f[2], {f[1]: term}))]
            case "both":
                parts = [self.lines(p, names, g) for p, g in zip(d.premises, f[1:], strict=True)]
                return ["constructor", *_bullets(parts)]
            case "left" | "right":
                side = f[1] if rule == "left" else f[2]
                return [f"apply Either.{rule}", *self.lines(d.premises[0], names, side)]
            case "cases":
                name, more = self._named(names, renamed(f[2], {f[1]: term}))
                return [f"obtain ⟨{term}, {name}⟩ := {names[f]}", *self.lines(d.premises[0], more, goal)]
            case "cases_and":
                a, more = self._named(names, f[1])
                b, more = self._named(more, f[2])
                return [f"obtain ⟨{a}, {b}⟩ := {names[f]}", *self.lines(d.premises[0], more, goal)]
            case "cases_or":
                x, with_left = self._named(names, f[1])
                y, with_right = self._named(names, f[2])
                cases = zip(d.premises, (with_left, with_right), strict=True)
                return [f"rcases {names[f]} with {x} | {y}", *_bullets([self.lines(p, n, goal) for p, n in cases])]
            case "drop":
                return self.lines(d.premises[0], names, goal)
            case "first":
                return self._applied(d, names, goal, self.lines(d.premises[0], names, f[1]))
            case "nested":
                shorter: Formula = ("imp", f[1][2], f[2])
                name, line = self._have(shorter, f"fun b => {names[f]} (fun _ => b)")
                inner = self.lines(d.premises[0], names | {shorter: name}, f[1])
                return self._applied(d, names, goal, [line, *inner])
        new = {g: self._have(g, proof) for g, proof in _consequences(d, names, rule, term).items()}
        more = names | {g: name for g, (name, _) in new.items()}
        return [*(line for _, line in new.values()), *self.lines(d.premises[0], more, goal)]

    def _applied(self, d: Derivation, names: Names, goal: Formula, inner: list[str]) -> list[str]:
        """The lines of a rule that uses an implication. `inner`: proof of its premise."""
        f = d.formula
        step = next(self._names)
        result, apply = self._have(f[2], f"{names[f]} {step}")
        have = [f"have {step} : {show(f[1])} := by", *(f"  {text}" for text in inner)]
        return [*have, apply, *self.lines(d.premises[1], names | {f[2]: result}, goal)]

    def _have(self, f: Formula, proof: str) -> tuple[str, str]:
        name = next(self._names)
        return name, f"have {name} : {show(f)} := {proof}"

    def _named(self, names: Names, f: Formula) -> tuple[str, Names]:
        name = next(self._names)
        return name, names | {f: name}


def _consequences(d: Derivation, names: Names, rule: str, term: str) -> dict[Formula, str]:
    """The new formulas on the left of a rule with one premise, with their proofs."""
    f, h = d.formula, names[d.formula]
    match rule:
        case "apply":
            return {f[2]: f"{h} {names[f[1]]}"}
        case "curry":
            return {("imp", f[1][1], ("imp", f[1][2], f[2])): f"fun a b => {h} ⟨a, b⟩"}
        case "at":
            return {renamed(f[2], {f[1]: term}): f"{h} {term}"}
        case "each":
            return {each(f): f"fun x a => {h} (Exist.intro x a)"}
    return {("imp", f[1][i], f[2]): f"fun a => {h} (Either.{side} a)" for i, side in ((1, "left"), (2, "right"))}


def _bullets(parts: list[list[str]]) -> list[str]:
    return [("· " if i == 0 else "  ") + line for part in parts for i, line in enumerate(part)]
