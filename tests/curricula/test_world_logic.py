"""The logical worlds: the decision procedure, countermodels, and what makes a theorem worth its place."""

from __future__ import annotations

import itertools
import random

import pytest

from curricula.worlds import first_order, logic, world
from curricula.worlds.derivations import TooHard, prove
from curricula.worlds.formulas import FALSE, Formula, classically_valid
from curricula.worlds.sequents import canonical as canonical_sequent
from curricula.worlds.terms import parse


def _not(f: Formula) -> Formula:
    return ("imp", f, FALSE)


PEIRCE = ("imp", ("imp", ("imp", "p", "q"), "p"), "p")
MIDDLE = ("or", "p", _not("p"))


def test_the_procedure_decides_known_formulas() -> None:
    for provable in (
        _not(_not(MIDDLE)),
        _not(_not(PEIRCE)),
        ("imp", _not(_not(_not("p"))), _not("p")),
        ("imp", MIDDLE, PEIRCE),
    ):
        assert prove((), provable) is not None, provable
    weak_middle = ("or", _not("p"), _not(_not("p")))
    linear = ("or", ("imp", "p", "q"), ("imp", "q", "p"))
    for only_classical in (MIDDLE, PEIRCE, ("imp", _not(_not("p")), "p"), weak_middle, linear):
        assert prove((), only_classical) is None, only_classical
    found = prove(("p", ("imp", "p", "q")), ("and", "q", "p"))
    assert found is not None and found.size == 4  # apply, both, and two hypotheses


def _random_formula(rng: random.Random, symbols: int) -> Formula:
    if symbols <= 1:
        return rng.choice(("p", "q"))
    if rng.random() < 0.12:
        return ("imp", _random_formula(rng, symbols - 1), FALSE)
    left = rng.randint(1, symbols - 1)
    a, b = _random_formula(rng, left), _random_formula(rng, symbols - left)
    return a if a == b else (rng.choice(("imp", "imp", "and", "or")), a, b)


def _renamed(f: Formula, names: dict[str, str]) -> Formula:
    return names[f] if isinstance(f, str) else (f[0], *(_renamed(g, names) for g in f[1:]))


def _forces(world_: int, f: Formula, up: list[list[int]], true: dict[str, set[int]]) -> bool:
    """Whether a world of a Kripke model forces a formula."""
    if isinstance(f, str):
        return world_ in true[f]
    match f:
        case ("and", a, b):
            return _forces(world_, a, up, true) and _forces(world_, b, up, true)
        case ("or", a, b):
            return _forces(world_, a, up, true) or _forces(world_, b, up, true)
        case ("imp", a, b):
            return all(not _forces(w, a, up, true) or _forces(w, b, up, true) for w in up[world_])
    return False


def test_kripke_models_agree_with_the_procedure() -> None:
    """Every model with three worlds and two variables: no provable formula fails there, and few others hold in all."""
    frames = [[[0, 1, 2], [1], [2]], [[0, 1, 2], [1, 2], [2]]]
    models = []
    for up in frames:
        closed = [
            s
            for n in range(4)
            for s in map(set, itertools.combinations(range(3), n))
            if all(w in s for v in s for w in up[v])
        ]
        models += [(up, {"p": a, "q": b}) for a in closed for b in closed]
    rng = random.Random(5)
    agreed = provable = 0
    for _ in range(600):
        f = _random_formula(rng, rng.randint(3, 7))
        holds = all(_forces(0, f, up, true) for up, true in models)
        found = prove((), f) is not None
        assert holds or not found, f
        agreed += holds == found
        provable += found
    assert provable > 60 and agreed >= 590


def test_every_hypothesis_is_needed() -> None:
    rng = random.Random(1)
    checked = 0
    for t in world("logic", 4, 60):
        hypotheses, goal = _parts(t.key)
        derivation = prove(hypotheses, goal)
        assert derivation is not None and derivation.size == t.difficulty == t.distance >= 3
        for h in hypotheses:
            assert prove(tuple(g for g in hypotheses if g != h), goal) is None
            checked += 1
        assert goal == FALSE or prove(hypotheses, FALSE) is None
        names = dict(zip(logic.VARIABLES, rng.sample(logic.VARIABLES, 4), strict=True))
        renamed = [_renamed(h, names) for h in hypotheses]
        rng.shuffle(renamed)
        assert canonical_sequent(tuple(renamed), _renamed(goal, names), logic.VARIABLES)[0] == t.key
    assert checked > 60


def _parts(key: str) -> tuple[tuple[Formula, ...], Formula]:
    """Reads `H, H ⊢ G`, where H and G are in Lean's notation."""
    left, _, right = key.partition("⊢")

    def read(text: str) -> Formula:
        depth = 0
        for i, c in enumerate(text := text.strip()):
            depth += (c == "(") - (c == ")")
            if c == "→" and depth == 0:
                return ("imp", read(text[:i]), read(text[i + 1 :]))
        if text.startswith("(") and parse(text) and _closes_at_end(text):
            return read(text[1:-1])
        head, _, rest = text.partition(" ")
        if head not in ("Both", "Either"):
            return FALSE if text == "Never" else text
        end = next(
            i for i in range(1, len(rest) + 1) if rest[:i].count("(") == rest[:i].count(")") and (rest + " ")[i] == " "
        )
        return ({"Both": "and", "Either": "or"}[head], read(rest[:end]), read(rest[end:]))

    return tuple(read(h) for h in left.split(",") if h.strip()), read(right)


def _closes_at_end(text: str) -> bool:
    depths = list(itertools.accumulate((c == "(") - (c == ")") for c in text))
    return 0 not in depths[:-1]


def test_the_search_for_a_derivation_is_bounded() -> None:
    hard = tuple(("imp", ("imp", ("imp", a, b), c), d) for a, b, c, d in itertools.permutations("pqrs"))
    with pytest.raises(TooHard):
        prove(hard, "p", most_sequents=200)


# -- first-order logic -------------------------------------------------------------------------------------------------


def test_known_first_order_statements() -> None:
    all_p, some_p, some_not = ("all", "x", "P x"), ("some", "x", "P x"), ("some", "x", ("imp", "P x", FALSE))
    each = ("all", "x", ("imp", "P x", "Q c"))
    assert prove((all_p,), "P c") is not None
    assert prove((("imp", some_p, "Q c"),), each) is not None
    assert prove((each, some_p), "Q c") is not None
    assert prove((some_not, all_p), FALSE) is not None
    only_classical = (_not(all_p),), some_not
    assert classically_valid(*only_classical, "P", most_elements=2) and prove(*only_classical) is None
    assert prove((all_p,), some_p) is None  # there may be no element
    assert not classically_valid((some_p,), all_p, "P", most_elements=2)


def test_first_order_theorems_need_their_hypotheses_and_quantifiers() -> None:
    for t in world("first_order", 4, 40):
        assert ("∀" in t.key or "Exist" in t.key) and t.difficulty == t.distance >= 3
        assert t.theorem.statement is not None and "t1" not in t.theorem.statement
    hypotheses = (("all", "x", ("imp", "Q x", "P d")), ("some", "x", "Q x"))
    renamed = (("some", "x", "R x"), ("all", "x", ("imp", "R x", "Q c")))
    names = first_order.PREDICATES, first_order.CONSTANTS
    assert canonical_sequent(hypotheses, "P d", *names) == canonical_sequent(renamed, "Q c", *names)
