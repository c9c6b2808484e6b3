"""The premise benchmark: every variant on every theorem, audited, recorded and resumable."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from prover.errors import UserError
from prover.lean.theorem import Theorem
from prover.premises.dense import DenseWeights
from prover.premises.index import LibraryIndex, ModuleInfo, Premise, library_index
from prover.solve.ledger import Attempt, Ledger
from rl.bench.local_premises import bench_local_premises
from rl.bench.premise_figures import compared, gains
from rl.bench.premise_searches import variants
from rl.bench.premises import HELD_OUT_MODULES, _learned, learned_weights, measured, unseen_modules
from rl.bench.recall import first_goals, named, rank_premises, recall_at, wanted_premises
from rl.metrics.intervals import paired_difference
from tests.cli.conftest import warm_lean

__all__ = ["warm_lean"]


def attempts_in(record: Path) -> list[Attempt]:
    with Ledger(record, readonly=True) as ledger:
        return list(ledger.attempts())


@pytest.mark.lean
def test_every_variant_meets_every_theorem_once(tmp_path):
    index = library_index()
    hard = Theorem("hard", "(a b c : Nat) (f : Nat → Nat) : f (a.gcd b) + c = c + f (b.gcd a)")
    easy = Theorem("easy", "(p : Prop) (h : p) : p")
    record = tmp_path / "record.sqlite"
    only = ("no premises", "explorer, symbols")
    figures = measured(index, [easy], [hard], None, (4, 24), record, only=only)
    rows = attempts_in(record)
    assert len(rows) == 2 * 2 and {a.outcome for a in rows if a.theorem.name == "easy"} == {"proved"}
    for counts in figures["solved"]["held-out theorems"].values():
        assert counts["24"]["solved"] == counts["24"]["total"] == 1
    unseen = figures["solved"]["held-out modules"]
    assert all(v["4"]["solved"] <= v["24"]["solved"] for v in unseen.values())
    assert all(0 <= share[k] <= 1 for r in figures["recall"].values() for share in r.values() for k in ("1", "8", "32"))
    # Everything is on record: nothing is searched again.
    again = measured(index, [easy], [hard], None, (4, 24), record, only=only)
    assert again["solved"] == figures["solved"] and len(attempts_in(record)) == 4
    assert measured(index, [easy], [hard], None, (4,), None, 0.0, only)["solved"] == {}
    # What was found with fewer calls says nothing of more.
    measured(index, [easy], [hard], None, (30,), record, only=("no premises",))
    assert len(attempts_in(record)) == 4 + 2


@pytest.mark.lean
def test_a_fault_records_nothing_that_did_not_happen(tmp_path, monkeypatch):
    """A theorem in progress at a crash does not count as unsolved after the restart."""
    record = tmp_path / "record.sqlite"
    easy = [Theorem(f"easy{i}", f"(p q : Prop) (h : p) (i : {i} = {i}) : p") for i in range(4)]
    with monkeypatch.context() as m:
        m.setattr("rl.bench.attempts.attempt", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            measured(library_index(), easy, [], None, (8,), record, only=("no premises",))
    assert not attempts_in(record)
    figures = measured(library_index(), easy, [], None, (8,), record, only=("no premises",))
    assert figures["solved"]["held-out theorems"]["explorer, no premises"]["8"]["solved"] == 4


def test_variants_follow_what_there_is():
    plain, full = variants(False, False), variants(True, True)
    assert not any(v.model or v.trained for v in plain)
    assert {v.name for v in full} - {v.name for v in plain} == {
        "explorer, dense trained",
        "explorer, hybrid trained",
        "trained, no premises",
        "trained, hybrid",
        "trained, no premises, fresh names",
        "trained, hybrid, fresh names",
        "trained, symbols",
    }


def test_a_variant_that_asks_lean_is_one_more():
    (asking,) = set(variants(False, False, "exact?,rw?")) - set(variants(False, False))
    assert asking.questions == "exact?,rw?" and asking.retriever == "symbols"


def test_no_stage_trains_on_the_unseen_modules():
    files = [*Path("curricula").glob("s*/*.toml"), Path("curricula/library.py")]
    text = "".join(f.read_text() for f in files)
    assert len(files) > 5 and "Init.Data.List.Lemmas" in text and not [m for m in HELD_OUT_MODULES if f'"{m}"' in text]


@pytest.mark.parametrize("place", ["run", "run/checkpoints/000001"])
def test_training_theorems_are_not_unseen(tmp_path, place):
    (tmp_path / "run/checkpoints/000001").mkdir(parents=True)
    assert unseen_modules(None) == unseen_modules(tmp_path / place) == HELD_OUT_MODULES
    (tmp_path / "run/config.toml").write_text('[theorems]\nmodules = ["Init.Data.Nat.*", "Init.Data.List.Range"]\n')
    left = unseen_modules(tmp_path / place)
    assert set(HELD_OUT_MODULES) - set(left) == {"Init.Data.Nat.Dvd", "Init.Data.Nat.MinMax", "Init.Data.List.Range"}
    (tmp_path / "run/config.toml").write_text('[theorems]\nmodules = ["Init.*"]\n')
    with pytest.raises(UserError, match="trained on every module"):
        unseen_modules(tmp_path / place)


def test_what_fresh_names_lose_of_the_gain():
    def curve(n: int) -> dict:
        return {"64": {"solved": n, "total": 100, "low": 0.0, "high": 1.0}}

    curves = {
        "explorer, symbols": curve(30),
        "trained, no premises": curve(20),
        "trained, hybrid": curve(40),
        "trained, no premises, fresh names": curve(18),
        "trained, hybrid, fresh names": curve(33),
    }
    assert gains(curves) == {"64": {"true_names": 0.2, "fresh_names": 0.15, "lost": 0.25, "times": 2.0}}
    assert gains({**curves, "trained, hybrid": curve(20)})["64"]["lost"] is None
    assert gains({**curves, "trained, symbols": curve(50)}) == gains(curves), "under fresh names there is no such one"
    assert gains({"explorer, symbols": curve(30)}) == {}


def test_the_newest_retriever_of_a_run_is_found(tmp_path):
    checkpoint = tmp_path / "checkpoints" / "000002"
    checkpoint.mkdir(parents=True)
    assert _learned(tmp_path).weights is None
    (tmp_path / "retrievers").mkdir()
    for n in (1, 2):
        replace(DenseWeights.initial(), scale=float(n)).save(tmp_path / "retrievers" / f"{n:06d}.npz")
    for folder in (tmp_path, checkpoint):
        found = _learned(folder).weights
        assert found is not None and found.scale == 2.0


def test_recall_counts_what_terms_use_without_plumbing():
    info = ModuleInfo(
        (),
        tuple(
            Premise(n, "A", "Eq", ("", ""), 0, True, cs)
            for n, cs in (
                ("A.map", ("List.map",)),
                ("A.len", ("List.length",)),
                ("logic", ("Eq",)),
                ("Lean.Omega.x", ("Nat",)),
            )
        ),
    )
    theorem = Theorem("t", "(p : Prop) (h : p) : p")
    found = [(theorem, "simp [A.map]", ["A.map", "A.len", "logic", "Lean.Omega.x", "gone"])]
    wanted = wanted_premises(LibraryIndex("test", {"A": info}), found, None)
    assert wanted["t"].term == {"A.map", "A.len"} and wanted["t"].named == {"A.map"}


def test_recall_is_the_share_of_premises_among_the_best():
    index = LibraryIndex(
        "test",
        {"A": ModuleInfo((), tuple(Premise(f"A.{c}", "A", "Eq", ("", ""), 0, True, (f"f.{c}",)) for c in "xyz"))},
    )
    theorem = Theorem("t", "(p : Prop) (h : p) : p", imports=("A",))
    best, ms = rank_premises(index, None, {"t": ("f.x", "f.z")}, [theorem])
    assert set(best) == set(ms) == {"symbols", "bm25", "symbols+bm25", "dense untrained", "hybrid untrained"}
    assert set(best["symbols"]["t"]) == {"A.x", "A.z"} and all(x > 0 for x in ms.values())
    (shares,) = recall_at({"r": {"t": ["A.x", "A.y", "A.z"]}}, {"t": {"A.x", "A.z"}, "unasked": {"A.y"}}).values()
    assert recall_at({"r": {"t": ["A.x"]}}, {"t": set()})["r"] == {"1": None, "8": None, "32": None, "of": 0}
    assert shares == {"1": 0.5, "8": 1.0, "32": 1.0, "of": 2}


def test_training_is_compared_theorem_by_theorem():
    def solved(**calls: int) -> list[Attempt]:
        return [
            Attempt("premises", Theorem(n, ": True"), "proved" if n in calls else "budget", 90, calls.get(n), 0.0)
            for n in "abcd"
        ]

    chosen = variants(True, True)
    results = {v.name: solved() for v in chosen} | {
        "explorer, hybrid untrained": solved(a=3, b=70),
        "explorer, hybrid trained": solved(a=3, b=5, c=9),
        "trained, hybrid": solved(b=1),
        "trained, no premises": solved(a=2),
    }
    found = compared(chosen, results, (64,))
    row = found["explorer, hybrid trained against explorer, hybrid untrained"]["64"]
    assert (row["only_trained"], row["only_untrained"], row["difference"]) == (2, 0, 0.5) and -0.2 < row[
        "low"
    ] < 0.5 < row["high"]
    assert found["trained, hybrid against explorer, hybrid trained"]["64"]["difference"] == -0.5
    assert found["trained, no premises against explorer, no premises"]["64"]["only_trained"] == 1
    assert len(found) == 5


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match="neither model.safetensors nor retrievers"):
        measured(LibraryIndex("test", {}), [], [], tmp_path)


def test_a_premise_is_named_whole():
    assert named("rw [Nat.add_comm] <;> simp", ["Nat.add", "Nat.add_comm", "simp_lemma"]) == ["Nat.add_comm"]


def test_a_broken_record_is_named(tmp_path):
    record = tmp_path / "record.sqlite"
    record.write_text('{"theorem": "easy"}\n')
    theorem = Theorem("easy", "(p : Prop) (h : p) : p")
    with pytest.raises(UserError, match=r"record\.sqlite: not a ledger"):
        measured(LibraryIndex("test", {}), [theorem], [], None, (4,), record)


def test_the_interval_of_a_paired_difference_holds_it():
    low, high = paired_difference(10, 10, 100)
    assert low < 0 < high and low == -high
    assert paired_difference(30, 0, 100)[0] > 0.15 and paired_difference(0, 0, 0) == (-1.0, 1.0)


@pytest.mark.lean
def test_leans_suggestions_are_a_retriever():
    theorem = Theorem("t", "(a b : Nat) : a + b = b + a")
    goals, suggested = asyncio.run(first_goals([theorem], ("exact?",)))
    assert "HAdd.hAdd" in goals["t"] and "Nat.add_comm" in suggested["t"]
    assert recall_at({"Lean's exact?": suggested}, {"t": {"Nat.add_comm"}})["Lean's exact?"]["8"] == 1.0


IN_PLACE = """
def turn (b : Bool × Nat) : Bool × Nat := (!b.1, b.2 + 0)

theorem turn_turn (b : Bool × Nat) : turn (turn b) = b := by
  cases b; simp [turn]

theorem turn_three (b : Bool × Nat) : turn (turn (turn b)) = turn b := by
  rw [turn_turn]

theorem add_twice (m n : Nat) : m + n = n + m := by
  exact Nat.add_comm m n
"""


@pytest.mark.lean
def test_theorems_in_place_with_and_without_their_surroundings(tmp_path):
    file = tmp_path / "Turn.lean"
    file.write_text(IN_PLACE)
    figures = bench_local_premises(library_index(), file, budgets=(4, 16), record=tmp_path / "r.sqlite")
    assert (figures["theorems"], figures["with_wanted"], figures["local_share"]) == (3, 2, 0.5)
    recall = figures["recall_local"]
    assert recall["symbols, with local"] == {"1": 1.0, "8": 1.0, "32": 1.0, "of": 1}
    assert recall["symbols, library only"]["32"] == 0.0
    solved = {v: counts["16"]["solved"] for v, counts in figures["solved"].items()}
    assert solved["explorer, symbols, with local"] == 3 > solved["explorer, symbols, library only"] >= 1


def test_a_run_without_a_retriever_is_bad_input(tmp_path):
    with pytest.raises(UserError, match="no retrievers"):
        learned_weights(tmp_path)
