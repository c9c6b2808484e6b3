"""The drop-in Dojo: LeanDojo's own types and goal parser, our server, a real Lean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lean_dojo_example import SLOW, SOURCE

import prover.lean.leandojo.dojo as drop_in
from prover.lean.leandojo.dojo import Dojo, check_proof
from prover.lean.theorem import Theorem

pytestmark = pytest.mark.lean

SWAP = Theorem("swap", "(p q : Prop) (h : p ∧ q) : q ∧ p")


@pytest.fixture(autouse=True)
def types(lean_dojo: ModuleType) -> Iterator[ModuleType]:
    yield lean_dojo


def test_types_are_the_packages_own(types: ModuleType) -> None:
    for name in (
        "TacticState",
        "ProofFinished",
        "LeanError",
        "ProofGivenUp",
        "DojoTacticTimeoutError",
        "DojoCrashError",
    ):
        assert getattr(drop_in, name) is getattr(types, name)
    with pytest.raises(AttributeError):
        drop_in.NoSuchName  # noqa: B018


def test_a_proof_as_a_prover_for_lean_dojo_drives_it(types: ModuleType) -> None:
    with Dojo(SWAP) as (dojo, state):
        assert type(state) is types.TacticState and state.id == 0 and state.num_goals == 1
        assert state.goals[0] == types.Goal(
            [types.Declaration("p", "Prop"), types.Declaration("q", "Prop"), types.Declaration("h", "p ∧ q")], "q ∧ p"
        )
        split = dojo.run_tac(state, "constructor")
        assert split.pp == "case left\np q : Prop\nh : p ∧ q\n⊢ q\n\ncase right\np q : Prop\nh : p ∧ q\n⊢ p"
        assert split.num_goals == 2 and split == types.TacticState(split.pp, 77)
        assert not dojo.is_successful
        one = dojo.run_tac(split, "exact h.2")
        assert one.num_goals == 1
        done = dojo.run_tac(one, "exact h.1")
        assert type(done) is types.ProofFinished and dojo.is_successful
        assert dojo.script(done) == "constructor\nexact h.2\nexact h.1"
        assert dojo.verify(done).verdict == "proved"
        error = dojo.run_tac(state, "exact h")
        assert type(error) is types.LeanError and "mismatch" in error.error
        assert dojo.run_tac(one, "sorry") == types.ProofGivenUp()
        with pytest.raises(RuntimeError):
            dojo.run_tac(done, "rfl")


def test_goal_lists_keep_leans_order(types: ModuleType) -> None:
    with Dojo(SWAP) as (dojo, state):
        split = dojo.run_tac(state, "constructor")
        turned = dojo.run_tac(split, "rotate_left")
        assert [g.conclusion for g in turned.goals] == ["p", "q"]
        assert [g.conclusion for g in dojo.run_tac(split, "case right => exact h.1").goals] == ["q"]
        assert type(dojo.run_tac(split, "all_goals simp_all")) is types.ProofFinished
        assert type(dojo.run_tac(split, "all_goals exact h.2")) is types.LeanError
        assert [g.conclusion for g in dojo.run_tac(split, "any_goals exact h.2").goals] == ["p"]
        assert type(dojo.run_tac(split, "swap")) is types.LeanError  # Mathlib's: not among these imports


def test_goals_that_share_metavariables(types: ModuleType) -> None:
    with Dojo(Theorem("three", ": ∃ x : Nat, x = 3 ∧ x < 5")) as (dojo, state):
        state = dojo.run_tac(state, "apply Exists.intro")
        assert [g.conclusion for g in state.goals] == ["?w = 3 ∧ ?w < 5", "Nat"]
        state = dojo.run_tac(state, "constructor")
        assert [g.conclusion for g in state.goals] == ["?w = 3", "?w < 5", "Nat"]
        state = dojo.run_tac(state, "rfl")
        assert [g.conclusion for g in state.goals] == ["3 < 5"]
        done = dojo.run_tac(state, "decide")
        assert dojo.verify(done).verdict == "proved"


def test_nameless_hypotheses_get_names_that_the_script_gives_them(types: ModuleType) -> None:
    with Dojo(SWAP) as (dojo, state):
        state = dojo.run_tac(state, "cases h")
        done = dojo.run_tac(state, "exact ⟨right, left⟩")
        assert dojo.script(done) == "cases h\nrename_i left right\nexact ⟨right, left⟩"
        assert dojo.verify(done).verdict == "proved"


def test_a_timeout_leaves_the_dojo_usable(types: ModuleType) -> None:
    with Dojo(SWAP, timeout=2) as (dojo, state):
        split = dojo.run_tac(state, "constructor")
        with pytest.raises(types.DojoTacticTimeoutError):
            dojo.run_tac(split, SLOW)
        assert dojo.has_timedout
        assert dojo.run_tac(split, "exact h.2").num_goals == 1


LONG = "exact absurd (rfl : (List.range 3000).foldl (fun a b => (a * 31 + b) % 1000003) 7 = 0) (by decide)"


def test_heartbeats_are_leans_error(types: ModuleType) -> None:
    with Dojo(SWAP, heartbeats=1000) as (dojo, state):
        result = dojo.run_tac(state, LONG)
        assert type(result) is types.LeanError and "heartbeats" in result.error


def test_lean_dojo_theorem_is_opened_from_its_file(types: ModuleType, repository: Any) -> None:
    theorem = types.Theorem(repository, "Example.lean", "Logic.twice_zero")
    with Dojo(theorem) as (dojo, state):
        assert state.pp == "n : Nat\nh : n = 0\n⊢ ⟪n⟫ = 0"  # the file's notation, its variables, its definition
        done = dojo.run_tac(state, "subst h; rfl")
        assert type(done) is types.ProofFinished
        assert dojo.verify(done).verdict == "proved"
    assert check_proof(theorem, "by simp [h, twice]")
    assert not check_proof(theorem, "by sorry")
    assert not check_proof(theorem, "twice_zero n h")
    with (
        pytest.raises(types.DojoInitError, match="Failed to locate the theorem"),
        Dojo(types.Theorem(repository, "Example.lean", "Logic.decoy")),
    ):
        pass


def test_checkout_folder_and_library_name(types: ModuleType, repository: Any, tmp_path: Path) -> None:
    (tmp_path / "Other.lean").write_text(SOURCE)
    with Dojo(types.Theorem(repository, "Other.lean", "Logic.swap"), sources=tmp_path) as (_, state):
        assert state.goals[0].conclusion == "q ∧ p"
    with (
        pytest.raises(types.DojoInitError, match="not on this machine"),
        Dojo(types.Theorem(repository, "Missing.lean", "Logic.swap")),
    ):
        pass
    theorem = Theorem("List.map_map", library="List.map_map", imports=("Init.Data.List.Basic",))
    with Dojo(theorem) as (_, state):
        assert state.goals[0].conclusion == "map g (map f l) = map (g ∘ f) l"
    with pytest.raises(types.DojoInitError), Dojo("No.such.theorem"):
        pass
