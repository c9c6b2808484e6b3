"""A decision procedure for intuitionistic propositional logic that finds short derivations, and their Lean proofs.

The calculus is G4ip (Dyckhoff 1992, "Contraction-free sequent calculi for intuitionistic logic"), which terminates without a check for
loops. Rules that lose nothing are applied at once. Where there is a choice, every choice is searched and the shortest derivation is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Formula = str | tuple
"""A variable, or `("and", a, b)`, `("or", a, b)`, `("imp", a, b)`, `("false",)`."""
FALSE: Formula = ("false",)
LEAN = {"and": "Both", "or": "Either", "false": "Never"}
CONTEXT = """inductive Both (p q : Prop) : Prop where
  | mk (left : p) (right : q) : Both p q
inductive Either (p q : Prop) : Prop where
  | left (proof : p) : Either p q
  | right (proof : q) : Either p q
inductive Never : Prop"""


class TooHard(Exception):
    """The search reached its limit on sequents."""


@dataclass(frozen=True)
class Derivation:
    """A derivation of a sequent: rule, principal formula, and the premises' derivations."""

    rule: str
    formula: Formula
    premises: tuple[Derivation, ...] = ()

    @property
    def size(self) -> int:
        """Number of rules."""
        return 1 + sum(p.size for p in self.premises)


def prove(hypotheses: tuple[Formula, ...], goal: Formula, most_sequents: int = 3000) -> Derivation | None:
    """A short derivation, or None if there is none. Raises TooHard."""
    return Search(most_sequents).sequent(frozenset(hypotheses), goal)


Sequent = tuple[frozenset[Formula], Formula]
Step = tuple[str, Formula, list[Sequent]]
"""A rule, its principal formula, and its premises."""


class Search:
    """A depth-first search for the shortest derivation, with a table of sequents."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.known: dict[Sequent, Derivation | None] = {}

    def sequent(self, left: frozenset[Formula], goal: Formula) -> Derivation | None:
        key = (left, goal)
        if key not in self.known:
            if len(self.known) >= self.most:
                raise TooHard
            self.known[key] = self._derive(left, goal)
        return self.known[key]

    def _derive(self, left: frozenset[Formula], goal: Formula) -> Derivation | None:
        if goal in left:
            return Derivation("exact", goal)
        if FALSE in left:
            return Derivation("absurd", FALSE)
        if (sure := self.sure(left, goal)) is not None:
            return self._all(*sure)
        options, invertible = self.options(left, goal)
        best = None
        for rule, formula, premises in options:
            found = self._all(rule, formula, premises)
            if found is None and invertible:
                return None
            if found is not None and (best is None or found.size < best.size):
                best = found
        return best

    def sure(self, left: frozenset[Formula], goal: Formula) -> Step | None:
        """A rule that loses nothing, if there is one."""
        return simplification(left, goal)

    def options(self, left: frozenset[Formula], goal: Formula) -> tuple[list[Step], bool]:
        """The rules to try, and whether they are invertible."""
        splits = list(branchings(left, goal))
        return splits or list(choices(left, goal)), bool(splits)

    def _all(self, rule: str, formula: Formula, premises: list[Sequent]) -> Derivation | None:
        found = []
        for premise in premises:
            if (one := self.sequent(*premise)) is None:
                return None
            found.append(one)
        return Derivation(rule, formula, tuple(found))


def simplification(left: frozenset[Formula], goal: Formula) -> Step | None:
    """An invertible rule with one premise, with the premise."""
    if goal[0] == "imp":
        return "intro", goal, [(left | {goal[1]}, goal[2])]
    for f in compound(left):
        rest = left - {f}
        if f[0] == "and":
            return "cases_and", f, [(rest | {f[1], f[2]}, goal)]
        if f[0] == "imp":
            before, after = f[1], f[2]
            if before in left:
                return "apply", f, [(rest | {after}, goal)]
            if before == FALSE:
                return "drop", f, [(rest, goal)]
            if before[0] == "and":
                return "curry", f, [(rest | {("imp", before[1], ("imp", before[2], after))}, goal)]
            if before[0] == "or":
                return "split", f, [(rest | {("imp", before[1], after), ("imp", before[2], after)}, goal)]
    return None


def branchings(left: frozenset[Formula], goal: Formula) -> Iterator[Step]:
    """The invertible rules with two premises. All lead to a derivation if there is one, but not to equally short ones."""
    if goal[0] == "and":
        yield "both", goal, [(left, goal[1]), (left, goal[2])]
    for f in compound(left):
        if f[0] == "or":
            yield "cases_or", f, [(left - {f} | {f[1]}, goal), (left - {f} | {f[2]}, goal)]


def choices(left: frozenset[Formula], goal: Formula) -> Iterator[Step]:
    """The rules that are not invertible."""
    if goal[0] == "or":
        yield "left", goal, [(left, goal[1])]
        yield "right", goal, [(left, goal[2])]
    for f in compound(left):
        if f[0] == "imp" and f[1][0] == "imp":
            rest = left - {f}
            yield "nested", f, [(rest | {("imp", f[1][2], f[2])}, f[1]), (rest | {f[2]}, goal)]


def compound(left: frozenset[Formula]) -> list[Formula]:
    """The formulas other than variables, in a fixed order."""
    return sorted((f for f in left if not isinstance(f, str)), key=repr)


def classically_valid(hypotheses: tuple[Formula, ...], goal: Formula, variables: tuple[str, ...]) -> bool:
    """Whether every valuation makes the goal true or a hypothesis false: necessary for a derivation, and quick."""
    for bits in range(1 << len(variables)):
        values = {v: bool(bits >> i & 1) for i, v in enumerate(variables)}
        if all(_holds(h, values) for h in hypotheses) and not _holds(goal, values):
            return False
    return True


def _holds(f: Formula, values: dict[str, bool]) -> bool:
    if isinstance(f, str):
        return values[f]
    match f:
        case ("and", a, b):
            return _holds(a, values) and _holds(b, values)
        case ("or", a, b):
            return _holds(a, values) or _holds(b, values)
        case ("imp", a, b):
            return not _holds(a, values) or _holds(b, values)
    return False


# -- Lean ----------------------------------------------------------------------------------------------------------------


def show(f: Formula, argument: bool = False) -> str:
    """A formula as Lean source, with the connectives of CONTEXT."""
    if isinstance(f, str):
        return f
    if f == FALSE:
        return LEAN["false"]
    if f[0] == "imp":
        text = f"{show(f[1], f[1][0] == 'imp')} → {show(f[2])}"
    else:
        text = f"{LEAN[f[0]]} {show(f[1], True)} {show(f[2], True)}"
    return f"({text})" if argument else text


class Script:
    """The Lean script of a derivation. `named`: number of hypotheses, which are `h0`, `h1`, …"""

    def __init__(self, named: int) -> None:
        self._count = named

    def show(self, f: Formula) -> str:
        """A formula as Lean source."""
        return show(f)

    def lines(self, d: Derivation, names: dict[Formula, str], goal: Formula) -> list[str]:
        """`names`: the hypothesis that proves each formula on the left."""
        f = d.formula
        match d.rule:
            case "exact":
                return [f"exact {names[f]}"]
            case "absurd":
                return [f"cases {names[f]}"]
            case "intro":
                name, more = self.named(names, f[1])
                return [f"intro {name}", *self.lines(d.premises[0], more, f[2])]
            case "both":
                parts = [self.lines(p, names, g) for p, g in zip(d.premises, f[1:], strict=True)]
                return ["constructor", *_bullets(parts)]
            case "left" | "right":
                side = f[1] if d.rule == "left" else f[2]
                return [f"apply Either.{d.rule}", *self.lines(d.premises[0], names, side)]
            case "cases_and":
                a, more = self.named(names, f[1])
                b, more = self.named(more, f[2])
                return [f"obtain ⟨{a}, {b}⟩ := {names[f]}", *self.lines(d.premises[0], more, goal)]
            case "cases_or":
                x, with_left = self.named(names, f[1])
                y, with_right = self.named(names, f[2])
                cases = zip(d.premises, (with_left, with_right), strict=True)
                return [f"rcases {names[f]} with {x} | {y}", *_bullets([self.lines(p, n, goal) for p, n in cases])]
            case "drop":
                return self.lines(d.premises[0], names, goal)
            case "nested":
                return self._nested(d, names, goal)
        new = self._consequences(d, names)
        return [*(line for _, line in new.values()), *self.lines(d.premises[0], names | _only_names(new), goal)]

    def _consequences(self, d: Derivation, names: dict[Formula, str]) -> dict[Formula, tuple[str, str]]:
        """The new formulas of a rule with one premise on the left: name and line."""
        f, h = d.formula, names[d.formula]
        if d.rule == "apply":
            proofs = {f[2]: f"{h} {names[f[1]]}"}
        elif d.rule == "curry":
            proofs = {("imp", f[1][1], ("imp", f[1][2], f[2])): f"fun a b => {h} ⟨a, b⟩"}
        else:
            sides = ("left", "right")
            proofs = {("imp", f[1][i + 1], f[2]): f"fun a => {h} (Either.{s} a)" for i, s in enumerate(sides)}
        return {g: self.have(g, proof) for g, proof in proofs.items()}

    def _nested(self, d: Derivation, names: dict[Formula, str], goal: Formula) -> list[str]:
        f = d.formula
        shorter: Formula = ("imp", f[1][2], f[2])
        name, line = self.have(shorter, f"fun b => {names[f]} (fun _ => b)")
        inner = self.lines(d.premises[0], names | {shorter: name}, f[1])
        return self._applied(d, names, goal, [line, *inner])

    def first(self, d: Derivation, names: dict[Formula, str], goal: Formula) -> list[str]:
        """The lines of a rule that proves the premise of an implication, and uses it."""
        return self._applied(d, names, goal, self.lines(d.premises[0], names, d.formula[1]))

    def _applied(self, d: Derivation, names: dict[Formula, str], goal: Formula, inner: list[str]) -> list[str]:
        f = d.formula
        self._count += 1
        step = f"h{self._count}"
        result, apply = self.have(f[2], f"{names[f]} {step}")
        have = [f"have {step} : {self.show(f[1])} := by", *(f"  {text}" for text in inner)]
        return [*have, apply, *self.lines(d.premises[1], names | {f[2]: result}, goal)]

    def have(self, f: Formula, proof: str) -> tuple[str, str]:
        self._count += 1
        return f"h{self._count}", f"have h{self._count} : {self.show(f)} := {proof}"

    def named(self, names: dict[Formula, str], f: Formula) -> tuple[str, dict[Formula, str]]:
        self._count += 1
        return f"h{self._count}", names | {f: f"h{self._count}"}


def _only_names(new: dict[Formula, tuple[str, str]]) -> dict[Formula, str]:
    return {f: name for f, (name, _) in new.items()}


def _bullets(parts: list[list[str]]) -> list[str]:
    return [("· " if i == 0 else "  ") + line for part in parts for i, line in enumerate(part)]
