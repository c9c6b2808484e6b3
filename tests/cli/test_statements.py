"""The theorem around a `sorry` in a file, as a name, a statement and a context."""

from __future__ import annotations

import pytest

from prover.lean.declarations import Declarations, full_names, scope_ends, with_universes
from prover.lean.text import parse
from prover.lean.theorem import Theorem
from prover.solve.statements import theorem_at


def theorem_in(source: str) -> Theorem | None:
    """The theorem of the last `sorry`."""
    return theorem_at(parse(source.encode()), source.encode().rindex(b"sorry"))


def test_a_name_keeps_root() -> None:
    found = theorem_in("namespace A\ntheorem _root_.Nat.foo : succ 0 = 1 := by sorry\n")
    assert found is not None and (found.name, found.statement) == ("_root_.Nat.foo", ": succ 0 = 1")


@pytest.mark.parametrize(
    "between", ["theorem /- c -/ foo", "theorem foo/- c -/", "theorem foo-- c\n", "theorem -- c\nfoo"]
)
def test_a_comment_in_a_head_is_no_part_of_the_name(between: str) -> None:
    found = theorem_in(f"{between} : 1 = 1 := by sorry\n")
    assert found is not None and found.name == "foo" and (found.statement or "").endswith(": 1 = 1")


CLOSED = "section\nuniverse u\ntheorem a (α : Type u) : α = α := rfl\nend\n"


def test_a_universe_of_a_closed_section_is_out_of_scope() -> None:
    found = theorem_in(f"{CLOSED}theorem foo.{{u}} (α : Type u) : α = α := by sorry\n")
    assert found is not None and found.context == f"{CLOSED}universe u\n"
    assert with_universes(CLOSED, ["u"]) == f"{CLOSED}\nuniverse u"
    kept = f"universe v w\n{CLOSED}"
    assert with_universes(kept, ["v", "w"]) == kept
    in_place = "namespace A.B\nuniverse u"
    assert with_universes(in_place, ["u"]) == in_place
    assert with_universes(f"{in_place}\nend A.B", ["u"]) == f"{in_place}\nend A.B\nuniverse u"


def test_scope_words_in_terms_open_and_close_nothing() -> None:
    source = """namespace A
def b := (f x).end
def c : Ends := ⟨.end, .section⟩
  |>.end
def d := `(end A)
theorem t : 1 = 1 := rfl
"""
    assert [name for name, _ in full_names(Declarations(source), ("theorem",))] == ["A.t"]
    assert scope_ends(source) == ["end A"]
    assert scope_ends("namespace A section B variable (n : Nat) end B") == ["end A"]
    quoted = "namespace A\ndef e := `(command| end A)\ntheorem t : 1 = 1 := rfl\n"
    assert [name for name, _ in full_names(Declarations(quoted), ("theorem",))] == ["A.t"]
