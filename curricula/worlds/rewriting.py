"""Equations of monoids, groups, lattices, Boolean algebras and semirings, scrambled by random rewrites with the axioms."""

from __future__ import annotations

import random
from dataclasses import dataclass

from curricula.worlds.chains import calc, canonical, same_but_one_argument, scramble, shortest
from curricula.worlds.terms import Algebra, Rule, parse, show, variables_of
from curricula.worlds.theorems import WorldTheorem, renaming, world_theorem

TYPE = "Car"
NAMES = {
    "op": ("dot", "mix"),
    "unit": ("one", "idle"),
    "inv": ("undo", "opp"),
    "join": ("sup", "lub"),
    "meet": ("inf", "glb"),
}
NAMES |= {"bot": ("low",), "top": ("high",), "neg": ("compl",), "plus": ("sum",), "times": ("prod",), "nil": ("null",)}
NAMES |= {TYPE: ("Carrier", "El"), "x": ("a",), "y": ("b",), "z": ("c",), "w": ("d",)}


@dataclass(frozen=True)
class Structure:
    """Operations with their numbers of arguments, and axioms."""

    name: str
    operations: dict[str, int]
    axioms: dict[str, str]


def _semigroup(op: str, unit: str, commutative: bool) -> dict[str, str]:
    """Associativity and unit laws, or their one-sided halves with commutativity."""
    found = {f"{op}_assoc": f"({op} ({op} x y) z) = ({op} x ({op} y z))", f"{op}_{unit}": f"({op} x ({unit})) = x"}
    other = {f"{op}_comm": f"({op} x y) = ({op} y x)"} if commutative else {f"{unit}_{op}": f"({op} ({unit}) x) = x"}
    return found | other


_LATTICE = {
    "join_assoc": "(join (join x y) z) = (join x (join y z))",
    "join_comm": "(join x y) = (join y x)",
    "meet_assoc": "(meet (meet x y) z) = (meet x (meet y z))",
    "meet_comm": "(meet x y) = (meet y x)",
    "join_meet": "(join x (meet x y)) = x",
    "meet_join": "(meet x (join x y)) = x",
}
STRUCTURES = (
    Structure("Monoid", {"op": 2, "unit": 0}, _semigroup("op", "unit", False)),
    Structure(
        "Group",
        {"op": 2, "unit": 0, "inv": 1},
        {
            "op_assoc": "(op (op x y) z) = (op x (op y z))",
            "unit_op": "(op (unit) x) = x",
            "inv_op": "(op (inv x) x) = (unit)",
        },
    ),
    Structure("Lattice", {"join": 2, "meet": 2}, _LATTICE),
    Structure(
        "Boolean",
        {"join": 2, "meet": 2, "bot": 0, "top": 0, "neg": 1},
        {
            "join_comm": "(join x y) = (join y x)",
            "meet_comm": "(meet x y) = (meet y x)",
            "join_bot": "(join x (bot)) = x",
            "meet_top": "(meet x (top)) = x",
            "join_neg": "(join x (neg x)) = (top)",
            "meet_neg": "(meet x (neg x)) = (bot)",
            "join_distrib": "(join x (meet y z)) = (meet (join x y) (join x z))",
            "meet_distrib": "(meet x (join y z)) = (join (meet x y) (meet x z))",
        },
    ),
    Structure(
        "Semiring",
        {"plus": 2, "nil": 0, "times": 2, "unit": 0},
        _semigroup("plus", "nil", True)
        | _semigroup("times", "unit", False)
        | {
            "times_plus": "(times x (plus y z)) = (plus (times x y) (times x z))",
            "plus_times": "(times (plus x y) z) = (plus (times x z) (times y z))",
            "times_nil": "(times x (nil)) = (nil)",
            "nil_times": "(times (nil) x) = (nil)",
        },
    ),
)


def algebra_of(structure: Structure) -> Algebra:
    """The structure's axioms as rewrite rules on one sort."""
    rules = []
    for name, text in structure.axioms.items():
        left, right = map(parse, text.split(" = "))
        rules.append(Rule(name, tuple(sorted(variables_of(("=", left, right)))), left, right))
    operations = {name: ((TYPE,) * count, TYPE) for name, count in structure.operations.items()}
    return Algebra(operations, {TYPE: ("x", "y", "z", "w")}, tuple(rules))


ALGEBRAS = {s.name: algebra_of(s) for s in STRUCTURES}


def sample(rng: random.Random, difficulty: tuple[int, int]) -> WorldTheorem | None:
    """A random equation whose difficulty is likely in that range; None if no suitable equation was found."""
    structure = rng.choice(STRUCTURES)
    algebra = ALGEBRAS[structure.name]
    left = algebra.random_term(rng, TYPE, rng.randint(3, 8))
    aim = rng.randint(*difficulty)
    chain = scramble(algebra, rng, left, aim + rng.randint(0, aim // 2))
    if not chain or not (variables := variables_of(("=", left, chain[-1].result))):
        return None
    right = chain[-1].result
    if same_but_one_argument(left, right):
        return None
    rename = renaming(rng, NAMES)
    if (chain := shortest(algebra, left, chain)) is None:
        return None
    statement = (
        f"{{{TYPE} : Type}} [{structure.name} {TYPE}] ({' '.join(variables)} : {TYPE}) : {show(left)} = {show(right)}"
    )
    proof = calc(left, chain, str, algebra)
    key = f"{structure.name}: {canonical(left, right)}"
    context = context_of(structure)
    return world_theorem("rewriting", key, rename(statement), rename(context), rename(proof), len(chain), len(chain))


def context_of(structure: Structure) -> str:
    """The class in Lean."""
    lines = [f"class {structure.name} ({TYPE} : Type) where"]
    for name, count in structure.operations.items():
        lines.append(f"  {name} : {f'{TYPE} → ' * count}{TYPE}")
    for rule in ALGEBRAS[structure.name].rules:
        lines.append(f"  {rule.name} ({' '.join(rule.variables)} : {TYPE}) : {show(rule.left)} = {show(rule.right)}")
    return "\n".join([*lines, f"open {structure.name}"])
