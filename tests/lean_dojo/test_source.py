"""Theorems are found in source text by full name, whatever stands around them."""

from __future__ import annotations

from lean_dojo_example import SOURCE

from prover.lean.source import declarations, find_theorem, masked, split_header


def test_masking_keeps_offsets_and_hides_comments_and_strings() -> None:
    text = 'def a := "theorem x /- " -- theorem y\n/- theorem /- z -/ -/ theorem real : True := trivial'
    plain = masked(text)
    assert len(plain) == len(text) and plain.count("\n") == 1
    assert "theorem real" in plain and plain.count("theorem") == 1


def test_header() -> None:
    imports, body = split_header(
        "/- c -/\nmodule\npublic import Std.Data\nimport all Init.Core -- why\n\ntheorem t : True := trivial"
    )
    assert imports == ("Init", "Std.Data", "Init.Core")
    assert body.split("\n")[:4] == [" " * 7, " " * 6, " " * 22, " " * 20 + " -- why"]
    assert split_header("prelude\nimport Init.Core\n")[0] == ("Init.Core",)
    assert split_header("theorem t : True := trivial")[0] == ("Init",)


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
    names = [name for name, _ in declarations(masked(text))]
    assert names == ["A.B.one", "A.B.two", "A.three", "four", "five'", "A.six"]


def test_statement_ends_outside_brackets() -> None:
    place = find_theorem(SOURCE, "Logic.twice_zero")
    assert place is not None and len(place.statement_ends) == 1
    assert place.with_proof().endswith("(h : n = 0) : ⟪n⟫ = 0 := by\n  sorry\n")
    let = find_theorem("theorem t : let x := 1\n  x = 1 := rfl\ntheorem u : True := trivial", "t")
    assert let is not None and len(let.statement_ends) == 2
    cases = find_theorem("theorem t : ∀ n : Nat, n = n\n  | 0 => rfl\n  | _ + 1 => rfl\n", "t")
    assert cases is not None and cases.with_proof().startswith("theorem t : ∀ n : Nat, n = n := by")
    assert find_theorem(SOURCE, "Logic.decoy") is None
