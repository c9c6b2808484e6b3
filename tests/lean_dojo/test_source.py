"""Theorems are found in source text by full name, whatever stands around them."""

from __future__ import annotations

from lean_dojo_example import SOURCE

from prover.lean.declarations import Declarations, full_names
from prover.lean.leandojo.locate import KINDS, find_theorem
from prover.lean.text import LeanText, masked, parse


def text_of(source: str) -> LeanText:
    return parse(source.encode())


def test_masking_keeps_offsets_and_hides_comments_and_strings() -> None:
    text = 'def a := "theorem x /- " -- theorem y\n/- theorem /- z -/ -/ theorem real : True := trivial'
    plain = masked(text)
    assert len(plain) == len(text) and plain.count("\n") == 1
    assert "theorem real" in plain and plain.count("theorem") == 1


def test_header() -> None:
    file = text_of(
        "/- c -/\nmodule\npublic import Std.Data\nimport all Init.Core -- why\n\ntheorem t : True := trivial"
    )
    assert file.imports == ("Init", "Std.Data", "Init.Core")
    assert file.body.split("\n")[:4] == [" " * 7, " " * 6, " " * 22, " " * 20 + " -- why"]
    assert text_of("prelude\nimport Init.Core\n").imports == ("Init.Core",)
    assert text_of("theorem t : True := trivial").imports == ("Init",)


def test_full_names_follow_namespaces() -> None:
    text = """
namespace A.B
theorem one : True := trivial
section s
@[simp] private theorem two : True := trivial
end s
end B
protected theorem three : True := trivial
theorem _root_.four : True := trivial
end A
noncomputable section
theorem five' : True := trivial
end
lemma A.six : True := trivial
"""
    names = [name for name, _ in full_names(Declarations(text), KINDS)]
    assert names == ["A.B.one", "A.B.two", "A.three", "four", "five'", "A.six"]


def test_statement_ends_outside_brackets() -> None:
    place = find_theorem(text_of(SOURCE), "Logic.twice_zero")
    assert place is not None and len(place.statement_ends) == 1
    assert place.with_proof().endswith("(h : n = 0) : ⟪n⟫ = 0 := by\n  sorry\n")
    let = find_theorem(text_of("theorem t : let x := 1\n  x = 1 := rfl\ntheorem u : True := trivial"), "t")
    assert let is not None and len(let.statement_ends) == 2
    cases = find_theorem(text_of("theorem t : ∀ n : Nat, n = n\n  | 0 => rfl\n  | _ + 1 => rfl\n"), "t")
    assert cases is not None and cases.with_proof().startswith("theorem t : ∀ n : Nat, n = n := by")
    assert find_theorem(text_of(SOURCE), "Logic.decoy") is None


def test_universes_stay_in_the_statement() -> None:
    place = find_theorem(text_of("namespace A\ntheorem foo.{u, v} (α : Type u) : α = α := rfl"), "A.foo")
    assert place is not None
    theorem = place.theorem("x")
    assert (theorem.name, theorem.statement, theorem.context) == ("foo", ".{u, v} (α : Type u) : α = α", "namespace A")
