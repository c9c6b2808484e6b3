"""What Lean reports of a theorem's surroundings and of its hypotheses."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from prover.lean.project import SourceModule
from prover.lean.server import LeanServer, Limits
from prover.lean.surroundings import Surroundings, own_modules
from prover.lean.theorem import ProofState, Theorem
from prover.premises.local import local_premises

pytestmark = pytest.mark.lean

FILE = """
namespace A

inductive T where
  | zero : T
  | succ (t : T) : T

def T.plus : T → T → T
  | m, .zero => m
  | m, .succ n => .succ (plus m n)

instance : Add T := ⟨T.plus⟩
instance : OfNat T 0 := ⟨.zero⟩

inductive Even : T → Prop
  | zero : Even 0
  | step : Even t → Even (.succ (.succ t))

class Pointed (G : Type) where
  point : G
  unique : ∀ a : G, a = point

def below (a b : T) : Prop := ∃ c, b = a + c
instance : LE T := ⟨below⟩

private theorem hidden (t : T) : t + 0 = t := rfl

theorem first (a b : T) (p : Prop) (f : T → T) (h : a ≤ b) (e : Even a) (q : p ∧ Even b) (i : f a = b) : below 0 a := by
  sorry

theorem second (t : T) : t + 0 = t := by
  sorry

end A

theorem outside : True := by
  sorry
"""


@pytest.fixture(scope="module")
def lean(loop) -> Iterator[LeanServer]:
    server = LeanServer(limits=Limits(seconds=30.0), constants=True)
    loop.run(server.start())
    yield server
    loop.run(server.close())


@pytest.fixture(scope="module")
def states(lean: LeanServer, loop) -> list[ProofState]:
    return [state for _, state in loop.run(lean.load(FILE))]


def kinds(surroundings: Surroundings) -> dict[str, str]:
    return {d.name: d.kind for d in surroundings.declarations}


def test_everything_before_a_theorem_and_nothing_else(states: list[ProofState]) -> None:
    first, second, outside = (kinds(s.surroundings) for s in states)
    assert first == {
        "A.T": "recursive",
        "A.T.zero": "constructor",
        "A.T.succ": "constructor",
        "A.T.plus": "definition",
        "A.instAddT": "instance",
        "A.instOfNatTOfNatNat": "instance",
        "A.Even": "recursive",
        "A.Even.zero": "rule",
        "A.Even.step": "rule",
        "A.Pointed": "inductive",
        "A.Pointed.mk": "constructor",
        "A.Pointed.point": "definition",
        "A.Pointed.unique": "theorem",
        "A.below": "definition",
        "A.instLET": "instance",
        "A.hidden": "theorem",
    }
    assert second == {**first, "A.first": "theorem"}
    assert outside == {**second, "A.second": "theorem"}


def test_declarations_are_in_the_order_of_the_file(states: list[ProofState]) -> None:
    order = [d.name for d in states[2].surroundings.declarations]
    wanted = ["A.T", "A.T.plus", "A.instAddT", "A.below", "A.hidden", "A.first", "A.second"]
    assert sorted(wanted, key=order.index) == wanted


def test_instances_lead_to_what_they_hide(states: list[ProofState]) -> None:
    known = states[0].surroundings.by_name
    assert known["A.instAddT"].value == ("Add.mk", "A.T", "A.T.plus") and known["A.instAddT"].fields == ("add",)
    number = known["A.instOfNatTOfNatNat"].number
    assert number is not None and number.equation == "A.T.zero = (0 : A.T)" and number.type_name == "A.T"


def test_what_hypotheses_are(states: list[ProofState]) -> None:
    found = {k.name: k[1:] for k in states[0].goals[0].kinds}
    assert found == {
        "a": ("recursive", "A.T", "A.T"),
        "b": ("recursive", "A.T", "A.T"),
        "p": ("prop", "Prop", "Prop"),
        "f": ("function", "∀", "∀"),
        "h": ("proof", "LE.le", "Exists"),
        "e": ("proof", "A.Even", "A.Even"),
        "q": ("proof", "And", "And"),
        "i": ("proof", "Eq", "Eq"),
        "⊢": ("target", "A.below", "Exists"),
    }


def test_steps_and_replays_keep_the_surroundings(lean: LeanServer, states: list[ProofState], loop) -> None:
    (result,) = loop.run(lean.step(states[0], ["obtain ⟨c, hc⟩ := h"]))
    (child,) = result.states
    assert child.surroundings is states[0].surroundings
    assert ("c", "recursive", "A.T", "A.T") in child.goals[0].kinds
    assert not pickle.loads(pickle.dumps(child)).surroundings


def test_sources_come_first(lean: LeanServer, loop) -> None:
    module = SourceModule(
        "Own.Base", "Own/Base.lean", "theorem base : 1 + 1 = 2 := rfl\ntheorem more : True := trivial\n"
    )
    source = "theorem here : True := trivial\ntheorem t : 2 = 1 + 1 := by\n  sorry\n"
    ((_, state),) = loop.run(lean.load(source, before=[module]))
    names = [d.name for d in state.surroundings.declarations]
    assert sorted(names[:2]) == ["base", "more"] and names[2:] == ["here"]


def test_compiled_modules_of_the_project_come_first(loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of Lean stands in for one that `lake build` compiled, which the embedded Lean cannot import."""
    monkeypatch.setattr("prover.lean.server.own_modules", lambda path: ("Init.Control.Id", "Not.Imported"))
    source = SourceModule("Own.Base", "Own/Base.lean", "theorem base : 1 + 1 = 2 := rfl\n")

    async def load() -> ProofState:
        async with LeanServer(constants=True) as server:
            ((_, state),) = await server.load("theorem t : True := by\n  sorry\n", before=[source])
            return state

    found = loop.run(load()).surroundings
    names = [d.name for d in found.declarations]
    assert "Id.run" in names and names[-1] == "base" and found.imported == len(names) < 60
    assert found.by_name["Id.run"].kind == "definition"


def test_of_many_compiled_modules_the_last_ones_are_read(loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them would take a minute at every load."""

    async def load() -> Surroundings:
        async with LeanServer(constants=True) as server:
            root = Path(server.runtime.env["TURNSTILE_LEAN_LIB"])
            files = [f.relative_to(root).with_suffix("") for f in (root / "Init").rglob("*.olean")]
            monkeypatch.setattr("prover.lean.server.own_modules", lambda path: tuple(".".join(f.parts) for f in files))
            ((_, state),) = await server.load("theorem t : True := by\n  sorry\n")
            return state.surroundings

    found = loop.run(load())
    assert 100 < found.imported < 2000 and "Nat.add" not in found.by_name


def test_the_projects_own_modules_are_those_outside_of_lakes_packages(tmp_path: Path) -> None:
    project = tmp_path / "packages/own"
    own, package = project / ".lake/build/lib/lean", project / ".lake/packages/batteries/.lake/build/lib/lean"
    for file in (own / "Own.olean", own / "Own/Basic.olean", package / "Batteries.olean"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (own / "Own.ilean").touch()
    assert sorted(own_modules(f"{own}{os.pathsep}{package}")) == ["Own", "Own.Basic"]
    assert own_modules("") == ()


def test_a_theorem_with_a_context_has_surroundings(lean: LeanServer, loop) -> None:
    context = "def double (n : Nat) := n + n\ntheorem double_zero : double 0 = 0 := rfl"
    state = loop.run(lean.open(Theorem("t", "(n : Nat) : double n = n + n", context=context)))
    assert kinds(state.surroundings) == {"double": "definition", "double_zero": "theorem"}


def test_what_lean_generates_privately_is_left_out(lean: LeanServer, loop) -> None:
    """`simp` makes a private equation for the `match` of a public function."""
    context = """
def chain : List Nat → List Nat → List Nat
  | [], m => m
  | a :: l, m => a :: chain l m
theorem chain_nil (l : List Nat) : chain l [] = l := by
  induction l with
  | nil => rfl
  | cons a l ih => rw [chain, ih]
"""
    state = loop.run(lean.open(Theorem("t", "(l : List Nat) : chain [] l = l", context=context)))
    assert kinds(state.surroundings) == {"chain": "definition", "chain_nil": "theorem"}
    loop.run(lean.free([state]))


def test_what_nothing_unfolds_is_opaque(lean: LeanServer, loop) -> None:
    context = "def twice (f : α → α) (x : α) := f (f x)\nopaque secret : Nat → Nat"
    state = loop.run(lean.open(Theorem("t", "(n : Nat) : twice secret n = n", context=context)))
    assert kinds(state.surroundings) == {"twice": "definition", "secret": "opaque"}
    assert local_premises(state.surroundings).functions(state.goals[0].constants) == ["twice"], (
        "though its value is a λ"
    )
    loop.run(lean.free([state]))


def test_without_constants_there_are_none(loop) -> None:
    async def load() -> ProofState:
        async with LeanServer() as plain:
            return (await plain.load(FILE))[0][1]

    state = loop.run(load())
    assert not state.surroundings and state.goals[0].kinds == ()


def test_the_tactics_that_exist_are_asked_of_lean(loop, lean: LeanServer) -> None:
    """Library tactics that a text has, and its own: not syntax of other categories, and not what stands after."""
    text = """
theorem before : True := by
  sorry
macro "linarith" : tactic => `(tactic| omega)
macro "crunch" : tactic => `(tactic| simp_all)
macro "one!" : term => `(1)
syntax "with_arguments" term : tactic
theorem after : True := by
  sorry
"""
    (_, first), (_, second) = loop.run(lean.load(text))
    assert first.surroundings.tactics == ()
    assert sorted(second.surroundings.tactics) == ["crunch", "linarith"]
    source = SourceModule("Own", "Own.lean", 'macro "positivity" : tactic => `(tactic| decide)\n')
    ((_, state),) = loop.run(lean.load("theorem t : True := by\n  sorry\n", before=(source,)))
    assert state.surroundings.tactics == ("positivity",)
    loop.run(lean.free([first, second, state]))
