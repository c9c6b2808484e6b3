"""Retrieval: rare shared symbols count, and forbidden premises are never offered."""

from __future__ import annotations

import time

import pytest

from prover.lean.theorem import Goal, ProofState
from prover.premises.index import LibraryIndex, ModuleInfo, Premise
from prover.premises.retrieve import RETRIEVERS, PremiseSource, SymbolRetriever, make_retriever


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


def test_rare_symbols_count_more_than_common_ones():
    best = SymbolRetriever(index()).top(["Nat", "Foo.bar"], 4)
    assert {p.name for p in best[:3]} <= {"rare", "own", "both", "later"}


def test_what_is_foreign_to_the_goal_counts_against_a_premise():
    names = [p.name for p in SymbolRetriever(index()).top(["Foo.bar"], 10)]
    assert names.index("own") < names.index("both")


def test_nothing_shared_nothing_offered():
    assert SymbolRetriever(index()).top(["Unknown"], 5) == []


def test_imports_reach_what_they_import_and_no_more():
    ix = index()
    assert ix.reachable(("B",)) == {"A", "B"}
    names = {p.name for p in SymbolRetriever(ix, ix.reachable(("A",))).premises}
    assert "rare" in names and not names & {"own", "both", "later"}


def test_planted_leaks_are_refused_at_retrieval():
    """The theorem itself (`own`), an alias beside it (`both`) and a consequence (`later`) are all out of reach."""
    source = PremiseSource(index(), k=10)
    goal = ProofState(1, "k", (Goal("⊢ x", (), "x", ("Foo.bar", "Foo.baz")),))
    assert source.for_theorem(("A",))(goal) == ("rare",)
    offered = source.for_theorem(("B",), forbidden=frozenset({"own"}))(goal)
    assert "own" not in offered and "later" not in offered and "both" in offered


@pytest.mark.parametrize("name", RETRIEVERS)
def test_every_retriever_ranks_the_shared_symbol_first(name):
    ix = index()
    found = make_retriever(name, ix, ix.reachable(("A",)))(["Nat", "Foo.bar"], 3)
    assert found[0] == "rare"


def test_an_unknown_retriever_is_named():
    with pytest.raises(ValueError, match="symbols, bm25, hybrid"):
        make_retriever("dense", index())


@pytest.mark.lean
def test_a_goal_takes_less_than_five_milliseconds_on_the_whole_library():
    from prover.premises.index import library_index

    retriever = SymbolRetriever(library_index())
    constants = ["List", "List.map", "HAppend.hAppend", "List.length", "Nat", "HAdd.hAdd", "Option.map", "Eq"]
    retriever.top(constants, 16)
    times = []
    for _ in range(20):
        began = time.process_time()
        assert len(retriever.top(constants, 16)) == 16
        times.append(time.process_time() - began)
    assert sorted(times)[len(times) // 2] < 0.005
