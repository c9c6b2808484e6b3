"""Tactic templates for a theorem with surroundings: its file's lemmas, definitions, constructors and numbers.

A closer is a list of alternatives that Lean tries in one call on all goals that a first tactic (such as `induction`) leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prover.lean.surroundings import Declaration, Surroundings
from prover.lean.theorem import Goal
from prover.models.goal_names import GoalNames
from prover.models.witness_templates import disjunctive, existential, from_rules, opening
from prover.premises.local import local_premises

Weighted = Iterator[tuple[str, float]]

_OPERATORS = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Mod": "%", "Append": "++"}
"""Classes whose notation is that of a heterogeneous operation."""
_NUMERALS = {"Zero": "0", "One": "1"}
_FADE = 0.85
_LEMMAS = 16
_RECURSORS = 2
_BACKWARDS = 6
_TOGETHER = 4
"""Maximum number of variables of own types without recursion that one tactic takes apart."""
_CASES = 64
"""Maximum number of cases that it leaves."""
_MAKERS = ("constructor", "definition")
_LOGIC = ("Eq", "Iff", "And", "Or", "Exists", "Not", "False", "True", "∀", "")


def _joined(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


@dataclass(frozen=True)
class LocalContext:
    """Names that a goal's surroundings offer to templates, best first."""

    lemmas: list[str]
    computing: list[str]
    """Lemmas, without those that only permute symbols, such as associativity."""
    functions: list[str]
    """Definitions to unfold: those that the goal mentions or hides behind instances."""
    deeper: list[str]
    """Definitions that these use."""
    projections: list[str]
    """The projections through which notation reaches definitions, as in `HAdd.hAdd, Add.add`."""
    records: list[str]
    """Operations of own structures as equations between their fields, as `simp` arguments."""
    numbers: list[str]
    """Equations between numerals and constructors, as `simp` arguments."""
    rules: list[str]
    """Constructors of the target's predicate."""
    about: list[str]
    """Lemmas that conclude the target's predicate."""
    conditional: list[str]
    """Lemmas whose conclusion is an equation under hypotheses."""
    unmatched: frozenset[str]
    """Lemmas that conclude an equality of a variable, in which `grind` finds no pattern."""
    unary: list[str]
    """Lemmas about one explicit argument."""
    extensional: list[str]
    """Tactics that reduce an equation of an own type, or of functions, to its values."""
    recursors: list[str]
    """Own induction principles: theorems that conclude an application of a variable, as in `motive n`."""
    makers: list[tuple[str, int]]
    """Constructors of own types, and functions to them, with their numbers of explicit arguments."""
    equations: list[str]
    """Lemmas to rewrite with."""
    backwards: list[str]
    """Lemmas to rewrite with from right to left."""
    total: list[str]
    """Hypotheses that give a witness for every argument, as `∀ x, ∃ y, …`."""
    flat: dict[str, int]
    """Own types without recursion, such as structures and enumerations, with the number of their constructors."""
    existential: bool
    """Whether the goal mentions `∃`, directly or through a definition."""

    def closers(self, arithmetic: bool) -> list[str]:
        """Closers for any goal, the most promising first."""
        shown, lemmas = [*self.projections, *self.functions], self.lemmas[:12]
        every = [*shown, *self.deeper]
        # The cheap ones come first, because the call ends when one alternative reaches a limit.
        sets = [shown, [*shown, *lemmas], [*self.numbers, *lemmas], [*every, *lemmas]]
        sets = list(dict.fromkeys(_joined(s) for s in sets if s))
        split, some = _joined(every), _joined([*shown, *lemmas])
        patterns = [p for p in lemmas if p not in self.unmatched]
        few, all_ = _joined([*self.functions, *self.rules]), _joined([*self.functions, *self.rules, *patterns])
        simple = [f"(simp_all [{s}]; done)" for s in sets] or ["(simp_all; done)"]
        exact = [t for p in lemmas[:4] for t in (f"exact {p} ..", f"exact ({p} ..).symm")]
        found = [" | ".join(["first | rfl | assumption", *self._by_rules(), *exact, *simple])]
        found.append(f"grind [{all_}]" if all_ else "grind")
        if self.records:
            fields = _joined([*self.records, *self.functions, *self.numbers])
            end = "first | omega | grind" if arithmetic else "grind"
            found.insert(1, f"first | rfl | (simp_all [{fields}] <;> {end})")
        if split:
            found.append(f"simp_all [{split}] <;> grind")
            found += [f"grind [{few}]"] if few != all_ else []
            found.append(
                f"first | (simp_all [{some}] <;> split <;> simp_all [{split}])"
                f" | (simp only [{split}] <;> (repeat' split) <;> simp_all [{split}])"
            )
        if arithmetic:
            unfolded = (
                f" | (simp only [{split}] at * <;> omega) | (simp [{split}] <;> (repeat' split) <;> simp_all <;> omega)"
            )
            found.append(f"first | omega | (simp_all [{some}] <;> omega)" + (unfolded if split else ""))
        if self.computing and len(self.computing) < len(self.lemmas):
            found.append(f"first | rfl | (simp_all [{_joined(self.computing[:8])}] <;> grind [{_joined(patterns)}])")
        return found

    def _by_rules(self) -> list[str]:
        """Alternatives that apply the rules of the target's predicate."""
        if not self.rules:
            return []
        steps = " | ".join(f"apply {r}" for r in self.rules)
        found = ["contradiction", f"((repeat (first | assumption | rfl | {steps} | omega)); done)"]
        return [*found, f"solve_by_elim [{_joined([*self.rules, *self.about])}]"]


def local_context(goal: Goal, surroundings: Surroundings) -> LocalContext:
    known = surroundings.by_name
    local = local_premises(surroundings)
    seen = [known[c] for c in local.visible(goal.constants) if c in known]
    shown = local.functions(goal.constants)
    predicates = [known[f] for f in shown if known[f].head == "Prop"]
    hidden = [c for d in predicates for c in local.visible(d.value)]
    direct = local.lemmas(goal.constants, _LEMMAS)
    # A statement about `a ≤ b := ∃ c, b = a + c` is also about `+`.
    lemmas = list(dict.fromkeys([*direct[: _LEMMAS // 2], *local.lemmas(hidden, _LEMMAS // 2), *direct]))[:_LEMMAS]
    instances = [d for d in seen if d.kind == "instance" and d.number is None]
    projections = [
        n
        for d in instances
        for n in (f"H{d.head}.h{d.head}" * (d.head in _OPERATORS), *(f"{d.head}.{f}" for f in d.fields))
        if n
    ]
    types = {d.name for d in seen} | set(hidden)
    numbers = [d.number for d in surroundings.declarations if d.number is not None and d.number.type_name in types]
    head = goal.kinds[-1].head if goal.kinds else ""
    by_head = [d for d in reversed(surroundings.declarations) if d.head == head and head not in _LOGIC]
    conditional = [p for p in lemmas if known[p].rewrites and known[p].conditional]

    def exists(constant: str) -> bool:
        """Whether it is `∃`, or a definition by it."""
        return constant == "Exists" or (constant in known and "Exists" in known[constant].value)

    constructors = Counter(d.head for d in surroundings.declarations if d.kind == "constructor")
    return LocalContext(
        lemmas=lemmas,
        computing=[p for p in lemmas if not known[p].sides[0] == known[p].sides[1] != "[anonymous]"],
        functions=shown,
        deeper=[f for f in local.functions([c for g in shown for c in known[g].value]) if f not in shown],
        projections=list(dict.fromkeys(projections)),
        records=[e for d in instances if (e := _by_fields(d, surroundings))],
        numbers=[f"show {n.equation} from rfl" for n in numbers],
        rules=[d.name for d in by_head if d.kind == "rule"][:8],
        about=[d.name for d in by_head if d.kind == "theorem"][:6],
        conditional=conditional,
        unmatched=frozenset(p for p in conditional if known[p].sides[0] == "[anonymous]"),
        unary=[p for p in lemmas if known[p].explicit == 1 and not known[p].conditional],
        extensional=_extensional(goal, surroundings, seen),
        recursors=[d.name for d in reversed(surroundings.theorems) if not d.head and d.explicit][:_RECURSORS],
        makers=sorted(
            [(d.name, d.explicit) for d in surroundings.declarations if d.kind in _MAKERS and d.head in types],
            key=lambda m: m[1],
        ),
        equations=[p for p in lemmas if known[p].rewrites and known[p].sides[0] != "[anonymous]"],
        backwards=[
            p for p in lemmas if known[p].rewrites and known[p].sides[1] not in ("[anonymous]", known[p].sides[0])
        ],
        total=[h.name for h in goal.kinds if (h.kind, h.shape) == ("proof", "∀") and exists(h.head)],
        flat={d.name: constructors[d.name] for d in surroundings.declarations if d.kind == "inductive"},
        existential=any(map(exists, goal.constants)),
    )


def _by_fields(instance: Declaration, surroundings: Surroundings) -> str:
    """An operation of an own structure as an equation, as in `a + b = ⟨a.x + b.x, a.y + b.y⟩`. Unfolding the notation instead would
    also unfold that of the fields. Empty for other instances, and for a structure with parameters, whose instances Lean cannot infer."""
    types = [t for c in instance.constants if (t := surroundings.by_name.get(c)) and t.kind == "inductive"]
    if len(types) != 1 or types[0].explicit:
        return ""
    own = types[0].name
    match [d for d in surroundings.declarations if d.kind == "constructor" and d.head == own]:
        case [maker] if maker.explicit:
            made = " ".join([maker.name, *["_"] * maker.explicit])
        case _:
            return ""
    if symbol := _OPERATORS.get(instance.head):
        return f"show ∀ a b : {own}, a {symbol} b = {made} from fun _ _ => rfl"
    if instance.head == "Neg":
        return f"show ∀ a : {own}, -a = {made} from fun _ => rfl"
    return f"show ({_NUMERALS[instance.head]} : {own}) = {made} from rfl" if instance.head in _NUMERALS else ""


def _extensional(goal: Goal, surroundings: Surroundings, seen: Sequence[Declaration]) -> list[str]:
    if not goal.kinds or goal.kinds[-1].head != "Eq":
        return []
    own = [d.name for d in surroundings.theorems if d.rewrites and d.name.endswith("ext") and d.conditional]
    types = any(d.kind == "definition" and d.head == "Sort" for d in seen)
    found = [f"apply {own[-1]}\nintro x"] if own else []
    return [*found, "funext x"] if types or any(k.kind == "function" for k in goal.kinds) else found


def local_tactics(goal: Goal, names: GoalNames, context: LocalContext) -> Weighted:
    """(tactic, weight) of the templates that fit a goal with surroundings."""
    arithmetic = any(c in ("Nat", "Int") for c in goal.constants)
    closers = context.closers(arithmetic)
    binds = names.shape == "∀"
    if binds:
        # `intros` stops at a definition, as in `Injective f`.
        yield "intros" if goal.target.startswith("∀") or " → " in goal.target else "repeat intro _", 6.0
    opened, found = opening(goal, names)
    for i, closer in enumerate(closers):
        fade = _FADE**i
        yield from _closing(names, context, closer, binds, fade)
        if opened:
            yield f"{opened}\n{closer}", 2.5 * fade
            if names.shape != "Exists":
                yield from (
                    (f"{opened}\ncases {x} <;> {closer}", 1.8 * fade * _FADE**j) for j, x in enumerate(found[:2])
                )
    equations = [*context.equations[:12], *context.functions]
    if names.shape == "Exists":
        yield from existential(goal, names, context.makers, equations, context.lemmas[:6], closers)
    if context.existential:
        yield from disjunctive(goal, names, context.makers, equations, context.lemmas[:6])
    if names.shape in ("And", "Iff"):
        for i, c in enumerate(closers):
            yield f"constructor <;> intros <;> {c}", 2.0 * _FADE**i
            yield f"constructor <;> intro h <;> induction h <;> {c}", 1.0 * _FADE**i
    yield from from_rules(goal, names, context.total, equations, context.lemmas[:6], closers[0])
    yield from _predicates(names, context, closers)
    yield from _equations(names, context, closers)
    back = [f"simp only [← {p}] at *" for p in context.backwards[:_BACKWARDS]]
    if back:  # `rw` does not rewrite under binders
        yield " | ".join(["first", *(f"({b}; first | done | assumption)" for b in back)]), 1.6
    for f in context.functions:
        yield f"unfold {f}", 0.5
        yield f"fun_induction {f}", 0.6
        for h in names.equations[:2]:
            yield f"have := congrArg {f} {h}; simp_all [{_joined(context.lemmas[:12]) or f}]", 0.8
    if context.functions:
        yield f"delta {' '.join(context.functions)}", 0.9
        yield f"simp only [{_joined([*context.projections, *context.functions])}] at *", 0.5


def _equations(names: GoalNames, context: LocalContext, closers: Sequence[str]) -> Weighted:
    """Extensionality, conditional equations backwards, and lemmas at the goal's variables."""
    for j, first in enumerate(context.extensional):
        for i, closer in enumerate(closers):
            yield f"{first}\n{closer}", 2.5 * _FADE ** (i + j)
        yield first, 0.6
        for h in names.rules[:2]:
            yield f"{first}\nexact propext ({h} x)", 0.8
    if names.shape == "Eq":
        for i, p in enumerate(context.conditional[:4]):
            yield f"apply {p} <;> {closers[0]}", 1.2 * _FADE**i
            yield f"(symm; apply {p}) <;> {closers[0]}", 1.2 * _FADE**i
            yield f"apply {p}", 0.5 * _FADE**i
            yield f"(symm; apply {p})", 0.4 * _FADE**i
    terms = [*names.variables[:3], *("1", "0")[: 2 * bool(names.rules)]]
    general = [*names.rules[:2], *context.unary[:4]]
    instances = [f"(try have := {p} {x})" for x in terms for p in general]
    if instances:
        yield "\n".join([*instances, f"grind [{_joined([*context.functions, *context.lemmas[:12]])}]"]), 2.0


def _closing(names: GoalNames, context: LocalContext, closer: str, binds: bool, fade: float) -> Weighted:
    """One closer after each first tactic."""
    yield ("repeat intro _\n" if binds else "") + closer, 4.0 * fade
    data = 2.5 if names.derivations else 3.5
    for j, x in enumerate(names.recursive[:4]):
        yield f"induction {x} <;> {closer}", data * fade * _FADE**j
        for p in context.recursors:
            yield f"induction {x} using {p} <;> {closer}", 2.0 * fade * _FADE**j
        others = [g for g in names.variables if g != x]
        if others:
            yield f"induction {x} generalizing {' '.join(others)} <;> {closer}", 2.0 * fade * _FADE**j
        for y in [g for g in names.recursive[:2] if g != x and j < 2]:
            yield f"induction {x} generalizing {y} <;> cases {y} <;> {closer}", 2.2 * fade * _FADE**j
    for j, x in enumerate([v for v in names.variables if names.types.get(v)][:4]):
        yield f"cases {x} <;> {closer}", 1.5 * fade * _FADE**j
    flat: list[str] = []
    cases = 1
    for x in names.variables:
        makers = context.flat.get(names.types.get(x, ""), _CASES + 1)
        if len(flat) < _TOGETHER and cases * makers <= _CASES:
            flat.append(x)
            cases *= makers
    if len(flat) > 1:  # `rfl` first, because many cases remain
        yield " <;> ".join([*(f"cases {x}" for x in flat), f"first | rfl | ({closer})"]), 2.5 * fade
    for j, h in enumerate(names.derivations[:3]):
        yield f"induction {h} <;> {closer}", 3.5 * fade * _FADE**j
        yield f"cases {h} <;> {closer}", 3.2 * fade * _FADE**j
        for g in names.derivations[:3]:
            if g != h:
                yield f"induction {h} <;> cases {g} <;> {closer}", 1.0 * fade * _FADE**j
    for j, f in enumerate(context.functions[:3]):
        yield f"fun_induction {f} <;> {closer}", 2.0 * fade * _FADE**j
        yield f"fun_cases {f} <;> {closer}", 1.0 * fade * _FADE**j
    for h, shape in names.structured.items():
        if shape == "Or":
            yield f"rcases {h} with h | h <;> {closer}", 1.5 * fade
        elif shape != "Exists":
            yield f"obtain ⟨x, hx⟩ := {h}\n{closer}", 1.5 * fade
    if names.shape == "∀":
        yield f"intro h\ncases h <;> {closer}", 1.5 * fade
        yield f"intro x h\ninduction h <;> {closer}", 0.8 * fade


def _predicates(names: GoalNames, context: LocalContext, closers: Sequence[str]) -> Weighted:
    """Constructors and lemmas of the target's predicate, and hypotheses that end in it."""
    rules = [*context.rules, *context.about, *names.rules[:3]]
    for i, r in enumerate(rules):
        yield f"apply {r}", 1.2 * _FADE**i
        yield f"apply {r} <;> first | assumption | {closers[0].removeprefix('first | ')}", 1.5 * _FADE**i
    for h in names.derivations[:3]:
        yield f"nomatch {h}", 0.6
        yield f"cases {h}", 0.8
        yield f"induction {h}", 0.8
    if names.shape == "∀":
        yield "nofun", 0.8
    for h, shape in names.structured.items():
        yield f"rcases {h} with h | h" if shape == "Or" else f"obtain ⟨x, hx⟩ := {h}", 1.5
