"""Retrieval: rare shared symbols count, functions of the goal are on offer, and forbidden premises never are."""

from __future__ import annotations

import time

import pytest

from prover.lean.theorem import Goal, ProofState
from prover.premises.index import LibraryIndex, ModuleInfo, Premise
from prover.premises.retrieve import RETRIEVERS, PremiseSource, definitions, make_retriever, top


@pytest.fixture(scope="module")
def library() -> LibraryIndex:
    from prover.premises.index import library_index

    return library_index()


def premise(name: str, module: str, *constants: str, head: str = "Eq") -> Premise:
    return Premise(name, module, head, (constants[0] if constants else "", ""), 0, True, constants)


def index() -> LibraryIndex:
    common = [premise(f"c{i}", "A", "Nat", "HAdd.hAdd") for i in range(20)]
    return LibraryIndex(
        "test",
        {
            "A": ModuleInfo((), (*common, premise("rare", "A", "Nat", "Foo.bar"))),
            "B": ModuleInfo(("A",), (premise("own", "B", "Foo.bar"), premise("both", "B", "Foo.bar", "Foo.baz"))),
            "C": ModuleInfo(("B",), (premise("later", "C", "Foo.bar", "Foo.baz"),)),
        },
    )


def offered(ix: LibraryIndex, modules: frozenset[str] | None, constants: list[str], k: int, name: str = "symbols") -> list[str]:
    return [p.name for p in top(make_retriever(name, ix, modules), constants, k)]


def test_rare_symbols_count_more_than_common_ones():
    best = offered(index(), None, ["Nat", "Foo.bar"], 4)
    assert set(best[:3]) <= {"rare", "own", "both", "later"}


def test_what_is_foreign_to_the_goal_counts_against_a_premise():
    names = offered(index(), None, ["Foo.bar"], 10)
    assert names.index("own") < names.index("both")


def test_nothing_shared_nothing_offered():
    assert offered(index(), None, ["Unknown"], 5) == []


def test_imports_reach_what_they_import_and_no_more():
    ix = index()
    assert ix.reachable(("B",)) == {"A", "B"}
    names = {p.name for p in make_retriever("symbols", ix, ix.reachable(("A",))).premises}
    assert "rare" in names and not names & {"own", "both", "later"}


@pytest.mark.parametrize("retriever", RETRIEVERS)
def test_planted_leaks_are_refused_at_retrieval(retriever):
    """The theorem itself (`own`), an alias beside it (`both`) and a consequence (`later`) are all out of reach."""
    source = PremiseSource(index(), k=10, retriever=retriever, definitions=0)
    goal = ProofState(1, "k", (Goal("⊢ x", (), "x", ("Foo.bar", "Foo.baz")),))
    said = source.for_theorem(("A",))(goal)
    assert said[0] == "rare" and not {"own", "both", "later"} & set(said)
    offered = source.for_theorem(("B",), forbidden=frozenset({"own"}))(goal)
    assert "own" not in offered and "later" not in offered and "both" in offered


@pytest.mark.parametrize("name", RETRIEVERS)
def test_every_retriever_ranks_the_shared_symbol_first(name):
    ix = index()
    assert offered(ix, ix.reachable(("A",)), ["Nat", "Foo.bar"], 3, name)[0] == "rare"


@pytest.mark.parametrize("name", RETRIEVERS)
def test_an_empty_library_offers_nothing(name):
    assert offered(LibraryIndex("test", {}), None, ["Nat"], 3, name) == []


def test_functions_of_the_goal_stand_among_the_lemmas():
    source = PremiseSource(index(), k=6)
    goal = ProofState(1, "k", (Goal("⊢ x", (), "x", ("Nat", "HAdd.hAdd", "Foo.bar", "instFoo", "Foo.baz", "Foo.qux")),))
    said = source.for_theorem(("B",))(goal)
    assert said[2] == "Foo.bar" and said[5] == "Foo.baz" and len(said) == 6
    assert PremiseSource(index(), k=0).for_theorem(("B",))(goal) == ()
    assert definitions(["Nat", "List.map", "List", "Nat.add", "List.map"]) == ["List.map", "Nat.add"]


def test_an_unknown_retriever_is_named():
    with pytest.raises(ValueError, match="symbols, bm25"):
        make_retriever("none", index())
    with pytest.raises(ValueError, match="symbols, bm25"):
        PremiseSource(index(), retriever="none")


@pytest.mark.lean
@pytest.mark.parametrize("name", RETRIEVERS)
def test_a_goal_takes_less_than_five_milliseconds(name, library):
    """Of processor time, on the whole library."""
    if name == "symbols+bm25":
        pytest.skip("the sum of two that are measured")
    retriever = make_retriever(name, library)
    constants = ["List", "List.map", "HAppend.hAppend", "List.length", "Nat", "HAdd.hAdd", "Option.map", "Eq"]
    top(retriever, constants, 16)
    times = []
    for _ in range(20):
        began = time.process_time()
        assert len(top(retriever, constants, 16)) == 16
        times.append(time.process_time() - began)
    assert min(times) < 0.005  # the least: what else the machine does only adds


@pytest.mark.lean
def test_only_propositions_are_premises(library):
    """The embedded library shows definitions without their bodies as axioms: they are no theorems."""
    names = {p.name for m in library.modules.values() for p in m.theorems}
    assert {"Nat.add_comm", "List.length_map", "Nat.le_of_lt_succ", "List.Perm.refl"} <= names
    assert not names & {"Nat.gcd", "Nat.xor", "Array.unzip", "Nat.toDigitsCore", "IO.cancel"}
