"""The library as theorem sets: the split is fixed, and no theorem can be proved from itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from curricula.library import DEMONSTRATION_MODULES, SUPPORT, library_set, module_theorems, split_of, support
from prover.errors import UserError
from prover.lean.audit import Auditor
from prover.lean.server import LeanServer
from prover.premises.index import LibraryIndex, is_generated, library_index
from prover.premises.retrieve import PremiseSource

# Written down once: if one of these moves, every held-out figure ever published stops meaning what it said.
PINNED = {
    "Nat.add_comm": "train",
    "List.append_assoc": "train",
    "Option.map_map": "train",
    "Int.add_zero": "train",
    "BitVec.add_comm": "train",
    "Array.size_push": "train",
    "Fin.ext_iff": "train",
    "Bool.and_comm": "validation",
    "List.length_map": "train",
    "Nat.mul_comm": "train",
    "Int.neg_neg": "train",
    "List.map_map": "train",
}


def test_the_split_never_moves():
    assert {n: split_of(n) for n in PINNED} == PINNED


def test_shares_of_the_split():
    names = [f"A.b{i}" for i in range(4000)]
    shares = {s: sum(split_of(n) == s for n in names) / len(names) for s in ("train", "validation", "held-out")}
    assert shares["train"] == pytest.approx(0.7, abs=0.03)
    assert shares["held-out"] == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("name", ["Nat.foo.eq_1", "A.mk.injEq", "A._proof_1", "T.rec_aux.match_1", "A.mk.sizeOf_spec"])
def test_generated_constants_are_not_theorems(name):
    assert is_generated(name)


@pytest.fixture(scope="module")
def index() -> LibraryIndex:
    return library_index()


@pytest.mark.lean
def test_the_index_has_the_library(index):
    assert len(index.modules) > 800
    assert sum(len(m.theorems) for m in index.modules.values()) > 30_000
    assert "List.append_assoc" in {p.name for p in index.modules["Init.Data.List.Basic"].theorems}
    named = {p.name for m in index.modules.values() for p in m.theorems}
    assert not {"Option.choice", "Classical.choice"} & named  # data without its body is no theorem
    assert not any(m == "Init.Tactics" and i.theorems for m, i in index.modules.items())


@pytest.mark.lean
def test_the_sets_are_disjoint_and_large_enough(index):
    train, held_out = (library_set(index, s, per_module=64) for s in ("train", "held-out"))
    assert not {t.name for t in train} & {t.name for t in held_out}
    assert len(train) >= 600 and len(held_out) >= 300
    assert {split_of(t.name) for t in train} == {"train"} and {split_of(t.name) for t in held_out} == {"held-out"}
    assert train == library_set(index, "train", per_module=64)


@pytest.mark.lean
def test_no_premise_is_the_theorem_or_comes_after_it(index):
    """The imports never reach the theorem's own module, so neither it, an alias, nor a consequence is available."""
    source = PremiseSource(index)
    for module in DEMONSTRATION_MODULES:
        imports = module_theorems(index, module)[0].imports
        assert module not in index.reachable(imports)
        offered = {p.module for p in source.retriever(imports)[1].premises}
        assert module not in offered
        users = {m for m, i in index.modules.items() if module in index.reachable(i.imports)}
        assert not users & offered


@pytest.mark.lean
def test_support_never_rests_on_the_theorem(index):
    """Support modules for tactics are imported only where they cannot depend on the theorem's module."""
    gained = dict.fromkeys(SUPPORT, 0)
    for module, info in index.modules.items():
        more = support(index, module)
        assert module not in index.reachable(info.imports + more)
        names = {p.name for p in info.theorems}
        assert not any(p.name in names for m in index.reachable(more) for p in index.modules[m].theorems)
        for s in more:
            gained[s] += bool(info.theorems)
    assert gained["Init.Omega"] > 50 and gained["Init.Grind"] > 300
    assert "Init.Omega" in support(index, "Init.Data.List.Lemmas")
    assert support(index, "Init.Data.Nat.Basic") == ()


@pytest.mark.lean
def test_omega_works_from_below(index):
    """With the support modules and not without; the audit, which trusts no curriculum, refuses the theorem's own module."""

    async def go() -> None:
        module = "Init.Data.List.Lemmas"
        theorem = module_theorems(index, module)[0]
        fact = "have : ∀ a b : Nat, a < b → 2 * a + 1 < 2 * b := by omega"
        async with LeanServer() as server:
            for imports, status in ((theorem.imports, "ok"), (index.modules[module].imports, "error")):
                root = await server.open(replace(theorem, imports=imports))
                assert (await server.step(root, [fact]))[0].status == status
        async with Auditor() as auditor:
            verdict = await auditor.audit(replace(theorem, imports=(module,)), "simp")
        assert verdict.verdict == "rejected" and "already in these imports" in verdict.reason

    asyncio.run(go())


@pytest.mark.lean
def test_an_unknown_module_is_named_with_a_guess(index):
    with pytest.raises(UserError, match="did you mean"):
        module_theorems(index, "Data.List.Lemmas")
