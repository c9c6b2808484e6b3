"""The theorem around a `sorry` in a file, as a name, a statement and a context."""

from __future__ import annotations

import re

import pytest

from prover.lean import declarations
from prover.lean.brackets import closing, cut
from prover.lean.declarations import Declarations, full_names, scope_ends, with_universes
from prover.lean.leandojo.locate import find_theorem
from prover.lean.text import masked, parse
from prover.lean.theorem import Theorem
from prover.solve.negation import split_statement
from prover.solve.statements import FileTheorems, statement_of


def theorem_in(source: str) -> Theorem | None:
    """The theorem of the last `sorry`."""
    return FileTheorems(parse(source.encode())).at(source.encode().rindex(b"sorry"))


@pytest.mark.parametrize("errors", [(), (2, 4)])
def test_a_file_of_many_theorems_is_read_once(errors: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def counted(text: str) -> str:
        read.append(len(text))
        return masked(text)

    monkeypatch.setattr(declarations, "masked", counted)
    source = "\n".join(f"theorem t{i} : {i} = {i} := by sorry" for i in range(50))
    theorems = FileTheorems(parse(source.encode()), errors)
    found = [theorems.at(at.start()) for at in re.finditer("sorry", source)]
    assert [t.name for t in found if t is not None] == [f"t{i}" for i in range(50)]
    assert read == [len(source)]
    assert found[4] is not None and ("t1" in found[4].context, "t2" in found[4].context) == (not errors, True)


@pytest.mark.parametrize("literal", ['"foo"', 'r#"a " b"#', "'c'"])
def test_a_context_keeps_a_literal_at_its_end(literal: str) -> None:
    found = theorem_in(f'def a := {literal} -- c\n/-- "doc" -/\ntheorem t : 1 = 1 := by sorry\n')
    assert found is not None and found.context == f"def a := {literal}\n"


def test_a_context_omits_errors_and_keeps_the_commands_of_its_theorem() -> None:
    source = "def a := 1\ntheorem bad : x := y\nopen Nat in\ntheorem t : a = 1 := by sorry\n"
    found = FileTheorems(parse(source.encode()), [2]).at(source.rindex("sorry"))
    assert found is not None and found.context == "def a := 1\nopen Nat\n"


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


@pytest.mark.parametrize(
    "statement",
    [
        ": let f : Nat → Nat | 0 => 1 | _ => 2; f 0 = 1",
        ": let f : Nat → Nat | 0 => 1 | _ => 2; let y := 1; f 0 = y",
        ": let_fun y := 1; y = 1",
        "(x : S) : (x).class = (x).theorem",
        "(«(» : Nat) : «(» = «(»",
        "(«]» «:=» : Nat) : «:=» = «]»",
    ],
)
def test_a_statement_ends_at_the_last_sign_before_sorry(statement: str) -> None:
    for proof in (":=", ":= by"):
        found = theorem_in(f"def a := 1\ntheorem t {statement} {proof} sorry\n")
        assert found is not None and (found.name, found.statement, found.context) == ("t", statement, "def a := 1\n")


@pytest.mark.parametrize(
    "source",
    [
        "theorem t : let f : Nat → Nat | 0 => 1 | _ => 2; f 0 = 1 := rfl\ndef a : Nat := by sorry",
        "theorem t : 1 = 1 := by\n  have h : 2 = 2 := by sorry",
        "theorem t : let f : Nat → Nat | 0 => 1 | _ => 2; f 0 = 1 := by rw [sorry",
    ],
)
def test_another_sorry_is_not_that_of_the_theorem(source: str) -> None:
    assert theorem_in(source) is None


def test_brackets_and_colons_in_names_are_none() -> None:
    assert split_statement("(«]» : Nat) : P") == ("(«]» : Nat)", "P")
    assert split_statement("«a:b» (n : Nat) : P") == ("«a:b» (n : Nat)", "P")
    assert split_statement("«a:b» = 1") is None
    assert cut("«a, b», c", ",") == ("«a, b»", ",", " c")
    assert closing("(«)» : Nat)") == 10
    place = find_theorem(parse("theorem t («[» «a where b» «:=» : Nat) : «where :=» := rfl".encode()), "t")
    assert place is not None and place.theorem("x").statement == "(«[» «a where b» «:=» : Nat) : «where :=»"
    assert len(place.statement_ends) == 1


def test_only_brackets_of_binders_are_without_a_type() -> None:
    assert [statement_of(x) for x in ("⟦φ⟧", "⟦a : b⟧", "(⟦φ⟧)")] == [": ⟦φ⟧", ": ⟦a : b⟧", ": (⟦φ⟧)"]
    assert statement_of("(h : ⟦φ⟧)") is None and statement_of("/- c -/ {n : Nat}") is None
