"""Worlds: the same arguments give the same theorems, no two are equal up to names, labels are right, and Lean accepts every proof."""

from __future__ import annotations

import asyncio
import itertools
import random
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from curricula import sets, sources
from curricula.library import split_of
from curricula.worlds import WORLDS, first_order, in_split, logic, rewriting, world
from curricula.worlds.chains import RADIUS, canonical, scramble, shortest
from curricula.worlds.developments import PEANO, PROGRAMS, SEQUENCES
from curricula.worlds.spec import world_of
from curricula.worlds.terms import Step, Term, get, parse, put, size, substitute, variables_of
from curricula.worlds.theorems import renaming
from prover.errors import UserError
from prover.lean.audit import Auditor
from prover.lean.server import LeanServer
from rl.theorem_splits import file_theorems
from tests.lean.conftest import Loop, loop, server

__all__ = ["loop", "server"]
DEVELOPMENTS = {"peano": PEANO, "sequences": SEQUENCES} | {f"programs {i}": each for i, each in enumerate(PROGRAMS)}


@pytest.mark.parametrize("name", WORLDS)
def test_worlds_are_deterministic_and_without_duplicates(name: str) -> None:
    made = world(name, seed=1, count=24)
    assert made == world(name, seed=1, count=24) and made[:15] == world(name, seed=1, count=15)
    other = world(name, seed=2, count=24)
    assert {t.key for t in other} != {t.key for t in made}
    assert len({t.key for t in made}) == len({t.theorem.name for t in made}) == 24
    names = {t.key: t.theorem.name for t in made}
    assert all(
        names.get(t.key, t.theorem.name) == t.theorem.name for t in other
    )  # so a split is the same for every seed


@pytest.mark.parametrize("name", WORLDS)
def test_splits(name: str) -> None:
    low, high = {"logic": (5, 12), "first_order": (5, 12)}.get(name, (3, 6))
    for split in ("train", "validation", "held-out"):
        assert {split_of(t.theorem.name) for t in world(name, 3, 4, split=split)} == {split}
    easier, harder = (world(name, 3, 4, (low, high), split) for split in ("easier", "harder"))
    assert max(t.difficulty for t in easier) < min(t.difficulty for t in harder)
    assert all(low <= t.difficulty <= high for t in (*easier, *harder)) and not in_split(easier[0], "harder")


# -- rewriting ---------------------------------------------------------------------------------------------------------


def replay(left: Term, chain: list[Step]) -> Term:
    """The last term of a chain, computed from its rules alone."""
    term = left
    for s in chain:
        values = dict(zip(s.rule.variables, s.values, strict=True))
        before, after = (s.rule.left, s.rule.right) if s.forward else (s.rule.right, s.rule.left)
        assert get(term, s.position) == substitute(before, values), s
        term = put(term, s.position, substitute(after, values))
    return term


@pytest.mark.parametrize("name", [*rewriting.ALGEBRAS, *DEVELOPMENTS])
def test_a_chain_replays_and_its_length_is_a_bound(name: str) -> None:
    algebra = rewriting.ALGEBRAS[name] if name in rewriting.ALGEBRAS else DEVELOPMENTS[name].algebra
    rng = random.Random(name)
    sort = max(algebra.variables, key=lambda s: sum(result == s for _, result in algebra.operations.values()))
    made = 0
    for _ in range(12):
        left = algebra.random_term(rng, sort, rng.randint(3, 7))
        if not (chain := scramble(algebra, rng, left, rng.randint(1, 7))):
            continue
        made += 1
        right = replay(left, chain)
        assert right == chain[-1].result and all(size(s.result) <= algebra.most_symbols for s in chain)
        short = shortest(algebra, left, chain)
        assert replay(left, short) == right and len(short) <= len(chain)
        back = shortest(algebra, right, shortest(algebra, right, [*_reversed(algebra, left, chain)]))
        assert len(back) == len(short) or min(len(back), len(short)) > 2 * RADIUS
    assert made > 5


def _reversed(algebra, left: Term, chain) -> list:
    """The chain from its end to its beginning, found by matching results only."""
    terms = [left, *(s.result for s in chain)][::-1]
    fill = sorted(variables_of(("=", terms[0], terms[-1], *terms)))
    return [next(s for s in algebra.steps(a, fill) if s.result == b) for a, b in itertools.pairwise(terms)]


def test_short_distances_are_exact() -> None:
    """Compared with a search that goes from one side only."""
    algebra = rewriting.ALGEBRAS["Monoid"]
    rng = random.Random(3)
    for _ in range(8):
        left = algebra.random_term(rng, rewriting.TYPE, 4)
        chain = scramble(algebra, rng, left, 4)
        right = chain[-1].result
        fill = variables_of(("=", left, right))
        level, seen, distance = {left}, {left}, 0
        while right not in level:
            level = {s.result for t in level for s in algebra.steps(t, fill)} - seen
            seen |= level
            distance += 1
        assert len(shortest(algebra, left, chain)) == distance <= 4


def test_an_equation_whose_short_chain_is_seldom_found_is_left_out() -> None:
    """The last rewrite of this chain drops a compound term, so searches from both ends do not meet. Another chain between the same terms
    leads to a distance above four: the equation would be both easier and harder."""
    algebra = rewriting.ALGEBRAS["Lattice"]
    texts = (
        "(meet (meet x (join z (meet x z))) z)",
        "(meet x (meet (join z (meet x z)) z))",
        "(meet (meet (join z (meet x z)) z) x)",
        "(meet (meet z (join z (meet x z))) x)",
        "(meet z x)",
    )
    terms = [parse(text) for text in texts]
    chain = [
        next(s for s in algebra.steps(before, ["x", "z"]) if s.result == after)
        for before, after in itertools.pairwise(terms)
    ]
    assert len(chain) == 2 * RADIUS and shortest(algebra, terms[0], chain) is None


def test_keys_of_equations_ignore_names_and_orientation() -> None:
    left, right = parse("(op x (op y (unit)))"), parse("(op x y)")
    swap = {"x": "y", "y": "x"}
    assert canonical(left, right) == canonical(substitute(right, swap), substitute(left, swap))
    assert canonical(left, right) != canonical(left, parse("(op y x)"))


# -- developments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEVELOPMENTS)
def test_new_names_are_distinct(name: str) -> None:
    theory = DEVELOPMENTS[name].theory
    old = {*theory.types, *theory.operations} - {*theory.names}
    every = [*old, *theory.names, *(new for news in theory.names.values() for new in news)]
    assert len(set(every)) == len(every), sorted(n for n in every if every.count(n) > 1)


class _Always(random.Random):
    """Chooses the option with a given index, or the last."""

    def __init__(self, index: int) -> None:
        super().__init__(0)
        self.index = index

    def choice(self, seq):
        return seq[min(self.index, len(seq) - 1)]


async def elaborates(server: LeanServer, text: str, name: str) -> None:
    """Raises LeanError for an error in the text."""
    holes = await server.load(f"{text}\n\ntheorem last : True := by\n  sorry\n", ("Init",), name)
    await server.free([state for _, state in holes])


@pytest.mark.lean
def test_no_name_is_taken_by_lean(loop: Loop, server: LeanServer) -> None:
    """A name that Lean's library has too would be ambiguous, or could not be declared."""
    every = [rewriting.NAMES, logic.NAMES, first_order.NAMES, *(d.theory.names for d in DEVELOPMENTS.values())]
    names = {name for each in every for old, news in each.items() for name in (old, *news)}
    names |= {op for d in DEVELOPMENTS.values() for op in (*d.theory.operations, *d.theory.types)} | {
        s.name for s in rewriting.STRUCTURES
    }
    text = "\n".join(f"theorem {name} : True := trivial" for name in sorted(names))

    loop.run(elaborates(server, text, "names"))


@pytest.mark.lean
@pytest.mark.parametrize("name", DEVELOPMENTS)
@pytest.mark.parametrize("index", [0, 1, pytest.param(2, marks=pytest.mark.slow)], ids=["none", "all", "half"])
def test_lean_accepts_every_lemma_in_every_orientation(loop: Loop, server: LeanServer, name: str, index: int) -> None:
    development = DEVELOPMENTS[name]
    theory = development.theory
    every = {lemma.name for lemma in theory.lemmas}
    groups = theory.swaps
    swapped = {op for group in ((), groups, groups[::2])[index] for op in group}
    text = renaming(_Always(index), theory.names)(development.context(theory.lemmas, every, swapped))
    loop.run(elaborates(server, text, name))


# -- Lean --------------------------------------------------------------------------------------------------------------


@pytest.mark.lean
@pytest.mark.parametrize("seed", [7, pytest.param(8, marks=pytest.mark.slow), pytest.param(9, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "count"),
    [("logic", 24), ("first_order", 24), ("rewriting", 12), ("peano", 4), ("sequences", 4), ("programs", 4)],
)
def test_lean_opens_every_statement_and_accepts_its_proof(
    loop: Loop, server: LeanServer, name: str, count: int, seed: int
) -> None:
    async def work() -> list[str]:
        failed = []
        for t in world(name, seed=seed, count=count):
            state = await server.open(t.theorem)
            trivial, proved = await server.step(state, ("intros; rfl", t.proof))
            if not proved.solved or (trivial.solved and t.distance is not None):
                failed.append(f"{t.theorem.name} {t.theorem.statement}: {proved.message or 'rfl proves it'}")
            await server.free([state])
        return failed

    assert loop.run(work()) == []


@pytest.mark.lean
def test_the_audit_accepts_a_proof_of_each_world() -> None:
    async def work() -> list[str]:
        async with Auditor() as auditor:
            found = [(t, await auditor.audit(t.theorem, t.proof)) for name in WORLDS for t in world(name, 11, 1)]
            return [f"{t.theorem.name}: {v.reason}" for t, v in found if v.verdict != "proved" or v.axioms]

    assert asyncio.run(work()) == []


# -- as theorem sets ---------------------------------------------------------------------------------------------------


def test_a_world_is_a_theorem_set(tmp_path: Path) -> None:
    spec = "world:logic?count=12&seed=1&difficulty=3-6&split=train"
    made = [t.theorem for t in world("logic", 1, 12, (3, 6), "train")]
    assert sets.open_set(sets.load_set(spec)) == made == [t for t, _ in file_theorems([spec])]
    points = tomllib.loads(Path("pyproject.toml").read_text())["project"]["entry-points"]["turnstile.theorems"]
    source = metadata.EntryPoint("world", points["world"], "turnstile.theorems").load()
    assert source is sources.world and source(spec.removeprefix("world:"), None) == made
    toml = f'name = "mine"\ntitle = "A world"\nkind = "world"\nlean = "4"\nlicence = "Apache-2.0"\nfiles = ["{spec}"]\n'
    (tmp_path / "mine.toml").write_text(toml)
    assert sets.open_set(sets.load_set(str(tmp_path / "mine.toml"))) == made
    assert len(world_of("logic")) == 100


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("numbers", "unknown world 'numbers'; choose one of logic"),
        ("logic?count=0", "count must be at least 1"),
        ("logic?count=many", "count=many: options are"),
        ("logic?size=3", "size=3: options are"),
        ("logic?seed=1&seed=2", "seed=2: options are"),
        ("logic?difficulty=9-3", "LOW ≤ HIGH"),
        ("logic?split=hard", "unknown split 'hard'"),
        ("logic?count=200000", "at most 100000"),
        ("logic?difficulty=3-4&split=harder", "found 0 of 100 theorems of split harder"),
        ("logic?count=9&difficulty=1-2", "lower count or widen difficulty"),
    ],
)
def test_what_a_world_does_not_have_is_one_line(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        world_of(spec)
    assert "\n" not in str(error.value)


def test_unbalanced_sources_are_refused() -> None:
    render = PEANO.renderer(())
    for text in ("(add a (succ b)", "a = (", "(∀ a, (add a b)"):
        with pytest.raises(ValueError, match="unbalanced parentheses"):
            render(text)
