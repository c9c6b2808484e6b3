"""Planted leaks (the theorem itself, an alias, a consequence) are refused at retrieval and again by the audit."""

from __future__ import annotations

import pytest

from curricula.library import DEMONSTRATION_MODULES, module_theorems
from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.server import Limits
from prover.lean.theorem import Goal, ProofState, Theorem
from prover.premises.index import LibraryIndex, library_index
from prover.premises.retrieve import RETRIEVERS, PremiseSource
from prover.search.lean_queries import answers, premises_in

pytestmark = pytest.mark.lean

# A theorem of Init.Data.List.Lemmas to be proved from below, an alias and a consequence of it in later modules.
ITSELF = "List.length_map"


@pytest.fixture(scope="module")
def library() -> LibraryIndex:
    return library_index()


def home_of(library: LibraryIndex, name: str) -> str:
    return next(m for m, info in library.modules.items() if any(p.name == name for p in info.theorems))


def later(library: LibraryIndex, module: str) -> set[str]:
    """Every theorem of the module and of modules that build on it: whatever could be an alias or a consequence."""
    users = {m for m, info in library.modules.items() if m == module or module in library.reachable(info.imports)}
    return {p.name for m in users for p in library.modules[m].theorems}


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_retrieval_offers_no_leak(library, retriever):
    module = home_of(library, ITSELF)
    imports = library.modules[module].imports
    own = next(p for p in library.modules[module].theorems if p.name == ITSELF)
    leaks = later(library, module)
    assert ITSELF in leaks and "Array.size_map" in leaks and len(leaks) > 1000
    # The theorem's own symbols: nothing fits this goal better than the theorem itself.
    goal = ProofState(1, "k", (Goal("⊢ p", (), "p", own.constants),))
    offered = PremiseSource(library, 64, retriever, definitions=0).at(imports)(goal)
    assert len(offered) > 10 and not leaks & set(offered)
    # With everything imported it stands near the top: the test would see a leak.
    everything = PremiseSource(library, 64, retriever, definitions=0)
    assert ITSELF in everything.at(("Init",))(goal)


LEAKS = {
    "itself": (ITSELF, f"intros; exact {ITSELF} .."),
    "itself, as a rule": (ITSELF, f"intros; simp only [{ITSELF}]"),
    "an alias": ("Nat.eq_of_mul_eq_mul_right", "exact @Nat.mul_right_cancel"),
    "another": ("Int.ofNat_inj", "exact @Int.natCast_inj"),
    "a consequence": (
        ITSELF,
        "intros; rw [← List.size_toArray, ← List.map_toArray, Array.size_map, List.size_toArray]",
    ),
    "itself under its namespace": (ITSELF, "intros; exact length_map .."),
    "the statement's own name": (ITSELF, "intros; exact _root_.List.length_map .."),
}


def test_the_audit_refuses_what_a_search_might_have_known(loop, library, auditor):
    for what, (name, script) in LEAKS.items():
        theorem = Theorem(name, library=name, imports=library.modules[home_of(library, name)].imports)
        verdict = loop.run(auditor.audit(theorem, script))
        assert verdict.verdict == "rejected" and verdict.reason, (what, verdict)
        # Where the library is all there, the same script is a proof of the same statement: a leak it would be.
        context = "open List" if what == "itself under its namespace" else ""  # a context has a process of its own
        known = Theorem("t", f": type_of% @{name}", context=context)
        assert loop.run(auditor.audit(known, script)).verdict == "proved", what


def test_a_duplicate_of_an_earlier_theorem_is_not_a_task(library):
    """`Nat.mul_right_cancel` says what `Nat.eq_of_mul_eq_mul_right` of a module below it says."""
    tasks = {t.name for t in module_theorems(library, "Init.Data.Nat.Lemmas")}
    assert "Nat.mul_right_cancel" not in tasks and "Nat.add_sub_cancel_right" not in tasks and len(tasks) > 300
    says = {p.name: (p.type, p.constants) for info in library.modules.values() for p in info.theorems}
    for module in DEMONSTRATION_MODULES:
        info = library.modules[module]
        known = {says[p.name] for m in library.reachable(info.imports) for p in library.modules[m].theorems}
        assert not [t.name for t in module_theorems(library, module) if says[t.name] in known]


def test_lean_suggests_no_leak(loop, library):
    """Asked from below, Lean cannot know what it is asked for."""
    module = home_of(library, ITSELF)
    theorem = Theorem(ITSELF, library=ITSELF, imports=library.modules[module].imports)
    leaks = later(library, module)

    async def go() -> list[str]:
        async with LeanPool(1, limits=Limits(seconds=120)) as pool:
            root = await pool.open(theorem)
            results = await pool.step(root, ["exact?", "rw?", "simp_all?"])
            return premises_in(answers([text for r in results for text in r.said]), root)

    named = loop.run(go())
    assert named and not leaks & set(named)


def test_the_audit_refuses_a_copy_that_lean_found(loop):
    theorem = Theorem("t", "(a b : Nat) : a + b = b + a")

    async def go() -> None:
        async with LeanPool(1, limits=Limits(seconds=120)) as pool, Auditor(forbidden=["Nat.add_comm"]) as auditor:
            (result,) = await pool.step(await pool.open(theorem), ["exact?"])
            (found,) = answers(result.said)
            assert result.solved and "add_comm" in found
            verdict = await auditor.audit(theorem, found)
            assert verdict.verdict == "rejected" and verdict.reason.startswith("premise: Nat.add_comm"), verdict

    loop.run(go())


ALIASED = [
    ("an alias", "theorem alias (a b : Nat) : a + b = b + a := Nat.add_comm a b", "exact alias a b"),
    (
        "an alias of an alias",
        "theorem one (a b : Nat) : a + b = b + a := Nat.add_comm a b\n"
        "theorem two (a b : Nat) : a + b = b + a := one a b",
        "exact two a b",
    ),
    (
        "a consequence",
        "theorem zero (a : Nat) : a + 0 = 0 + a := by rw [Nat.add_comm]\n"
        "theorem all (a b : Nat) : a + b = b + a := by rw [Nat.add_comm a b]",
        "rw [all]",
    ),
    ("an alias as an abbreviation", "abbrev short (a b : Nat) : a + b = b + a := Nat.add_comm a b", "exact short a b"),
    (
        "an alias as a simp rule",
        "@[simp] theorem rule (a b : Nat) : (a + b = b + a) = True := eq_true (Nat.add_comm a b)",
        "simp",
    ),
    (
        "an alias as an instance",
        "class C (a b : Nat) : Prop where h : a + b = b + a\ninstance (a b : Nat) : C a b := ⟨Nat.add_comm a b⟩",
        "exact (inferInstance : C a b).h",
    ),
]


def test_the_audit_looks_through_aliases(loop):
    async def go() -> None:
        async with Auditor(forbidden=["Nat.add_comm"]) as auditor:
            for what, context, script in ALIASED:
                theorem = Theorem("t", "(a b : Nat) : a + b = b + a", context=context)
                verdict = await auditor.audit(theorem, script)
                assert verdict.verdict == "rejected" and verdict.reason.startswith("premise: Nat.add_comm"), (
                    what,
                    verdict,
                )
            # The same context does no harm to a proof that leaves it alone.
            theorem = Theorem("t", "(a b : Nat) : a + b = b + a", context=ALIASED[0][1])
            assert (await auditor.audit(theorem, "omega")).verdict == "proved"

    loop.run(go())
