"""The learned retriever: untrained it is a bag of symbols; training moves what helped up, on goals it never saw too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.models.fresh_names import NameObfuscator
from prover.premises.dense import BUCKETS, WIDTH, DenseRetriever, DenseWeights
from prover.premises.index import LibraryIndex, ModuleInfo, Premise
from prover.premises.symbols import SymbolRetriever
from prover.search.examples import Example
from rl.algorithms.premise_selection import KIND, SelectionConfig, collect_premises, credit, train_retriever, without


def premise(name: str, *constants: str, head: str = "Eq") -> Premise:
    return Premise(name, "A", head, ("", ""), 0, True, constants)


def library() -> LibraryIndex:
    """For each type T: three lemmas about T.size, of which what helps is always the one about T.bound."""
    found = []
    for i in range(24):
        t = f"T{i}"
        found += [premise(f"{t}.size_{x}", t, f"{t}.size", f"{t}.{x}") for x in ("zero", "one", "bound")]
    return LibraryIndex("test", {"A": ModuleInfo((), tuple(found))})


def row(i: int) -> dict:
    t = f"T{i}"
    return {
        "constants": [t, f"{t}.size"],
        "imports": ["A"],
        "good": [f"{t}.size_bound"],
        "bad": [f"{t}.size_zero", f"{t}.size_one"],
    }


def test_untrained_the_shared_symbols_come_first():
    retriever = DenseRetriever(library().select(), DenseWeights.initial())
    score = retriever.score(["T3", "T3.size"])
    best = {retriever.premises[i].name for i in np.argsort(-score)[:3]}
    assert best == {"T3.size_zero", "T3.size_one", "T3.size_bound"}


def recall_at_1(rows: list[dict], weights: DenseWeights, symbols: bool) -> float:
    """Share of the rows whose best premise is the one that helped, of the hybrid or of the dense retriever alone."""
    premises = library().select()
    retriever = DenseRetriever(premises, weights, SymbolRetriever(premises) if symbols else None)
    best = [premises[int(np.argmax(retriever.score(r["constants"])))].name for r in rows]
    return sum([name] == r["good"] for name, r in zip(best, rows, strict=True)) / len(rows)


@pytest.mark.parametrize("symbols", [True, False])
def test_training_carries_over_to_types_it_never_saw(symbols):
    rows, unseen = [row(i) for i in range(16)], [row(i) for i in range(16, 24)]
    start = DenseWeights.initial()
    trained, metrics = train_retriever(rows, library(), SelectionConfig(seconds=60, epochs=30))
    before, after = (recall_at_1(unseen, w, symbols) for w in (start, trained))
    assert before < 0.8 and after == 1.0, (before, after, metrics)
    assert metrics["examples"] == 16


def test_under_fresh_names_learned_words_do_not_help():
    """Trained, it knows that lemmas about a `bound` help, by that word; shown made-up words it can only go by what is shared."""
    trained, _ = train_retriever([row(i) for i in range(16)], library(), SelectionConfig(seconds=60, epochs=30))
    premises = library().select()
    read = NameObfuscator().translation.name
    first = {False: 0, True: 0}
    for fresh in first:
        retriever = DenseRetriever(premises, trained, read=read if fresh else None)
        for i in range(16, 24):
            best = np.argsort(-retriever.score(row(i)["constants"]), kind="stable")[:3]
            names = [retriever.premises[int(j)].name for j in best]
            assert {n.split(".")[0] for n in names} == {f"T{i}"}, "the names that it gives are the true ones"
            first[fresh] += names[0] == f"T{i}.size_bound"
    assert first[False] == 8 and first[True] < 8


def test_nothing_to_learn_from():
    useless = {**row(1), "good": ["not.in.the.library"]}
    trained, metrics = train_retriever([useless], library())
    assert trained is None and metrics == {"examples": 0}


def test_weights_come_back_from_their_file(tmp_path):
    w = DenseWeights.initial(5)
    w.save(tmp_path / "retriever.npz")
    back = DenseWeights.load(tmp_path / "retriever.npz")
    assert (
        np.allclose(w.table, back.table, atol=1e-3) and back.scale == w.scale and back.table.shape == (BUCKETS, WIDTH)
    )
    assert [p.name for p in tmp_path.iterdir()] == ["retriever.npz"]
    replace(w, locality=np.array([1, 2, 3, 4], np.float32)).save(tmp_path / "placed.npz")
    placed = DenseWeights.load(tmp_path / "placed.npz").locality
    assert back.locality is None and placed is not None and placed.tolist() == [1, 2, 3, 4]


def test_an_earlier_file_has_no_weights_for_places(tmp_path):
    w = DenseWeights.initial(5)
    path = tmp_path / "earlier.npz"
    np.savez_compressed(path, format=1, table=w.table, goal=w.goal, premise=w.premise, scale=10.0, symbolic=10.0)
    assert DenseWeights.load(path).locality is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", None])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "retriever.npz"
    if content is None:
        np.savez(path, format=1, table=np.zeros((2, 2)), goal=np.eye(2), premise=np.eye(2), scale=1.0, symbolic=1.0)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"retriever\.npz"):
        DenseWeights.load(path)


def example(best: list[str], errors: list[str], premises: tuple[str, ...], solved: bool = True) -> Example:
    return Example(
        "⊢ p",
        "k",
        premises,
        (),
        5,
        solved,
        False,
        1 if solved else None,
        1.0,
        tuple((t, 1) for t in best),
        tuple((t, "error") for t in errors),
        0,
        constants=("T1", "T1.size"),
    )


def test_credit_goes_to_what_did_the_work():
    e = example(
        ["simp [A.b]", "rw [A.c]", "simp_all", "simp_all [A.d]"],
        ["exact A.e ..", "rw [A.f]", "simp", "rw [← A.c]"],
        ("A.b", "A.c", "A.d", "A.e", "A.f"),
    )
    good, bad = credit(e)
    assert good == ["A.b", "A.c"], "simp_all does without A.d"
    assert bad == ["A.e", "A.f"]
    assert credit(example(["exact A.b ..", "apply A.c"], [], ("A.b", "A.c"))) == (["A.b", "A.c"], [])
    assert without("rw [← A.c]", "A.c") == "rw" and without("simp [A.b, x]", "A.b") == "simp [A.b, x]"


def test_of_many_premises_the_proof_term_says_which_helped():
    e = example(["first | (exact A.b ..) | (exact A.c ..)"], ["rw [A.d]"], ("A.b", "A.c", "A.d"))
    assert credit(e) == ([], ["A.d"])
    assert credit(e, ["A.c", "Eq.mpr"]) == (["A.c"], ["A.d"])


def test_only_audited_proofs_teach():
    e = example(["rw [A.c]"], [], ("A.c",))
    theorem = Theorem("N.t", "True", imports=("A",))
    assert not list(collect_premises([e], False, theorem))
    ((kind, data),) = collect_premises([e, example([], ["rw [A.c]"], ("A.c",), solved=False)], True, theorem)
    wanted = {"constants": ("T1", "T1.size"), "imports": ["A"], "good": ["A.c"], "bad": [], "theorem": "N.t"}
    assert kind == KIND and data == wanted
