"""A statement of several lines keeps its columns, by which Lean reads its blocks, wherever it is cut or edited."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from curricula.conjectures.bench import Place
from curricula.variants import TARGET, Maker, Variant
from prover.lean.extract import Declaration
from prover.lean.in_place import theorem_of
from prover.lean.leandojo.locate import find_theorem
from prover.lean.project import imports_of
from prover.lean.server import statement_source
from prover.lean.text import LeanText, parse
from prover.lean.theorem import Goal, ProofState, Theorem
from prover.solve.negation import negation
from prover.solve.remarks import auto_bound
from prover.solve.theorem_rows import theorem_of_row
from rl.test_time import _reads_back, _row

HEAD = "@[simp] theorem t "


def block(begin: str, end: str = "") -> str:
    """A theorem whose `do` has the steps `f` and `last`, each at the column after `begin`."""
    first = f"{HEAD}{begin} (Id.run do "
    return f"{first}f\n{' ' * len(first)}last){end}"


def columns(source: str, *words: str) -> list[int]:
    """The columns of the first occurrences of these words."""
    found = [next(line.find(w) for line in source.split("\n") if w in line) for w in words]
    assert all(column >= 0 for column in found)
    return found


@pytest.mark.parametrize("end", ["", " ∧ 2 = 2"])
@pytest.mark.parametrize(
    "begin",
    [
        ": answer(sorry) ↔",
        ": (answer(sorry)) ↔",
        ": ((answer( sorry ) : Prop) ↔ 1 = 1) ∧",
        ": 1 = answer(sorry) ∧",
        "(x : Nat) (h : x = answer(sorry)) :",
        "(x : Nat)\n (h : x = answer(sorry)) :",
        "(x : Nat)\n (h : x = 1) : 2 = answer(sorry) ∧",
        ": answer(True) ∧",
        ": answer(1 = 1) ∧ answer(sorry) = 1 ∧",
        ": answer(\n  sorry) ∧",
    ],
)
def test_open_answers_keep_columns(begin: str, end: str) -> None:
    text = block(begin, end)
    theorem = theorem_of_row({"formal_statement": f"{text} := by sorry"}, "x.jsonl:1")
    expected = columns(text, "do f", "last")
    assert columns(statement_source(theorem), "do f", "last") == expected
    if theorem.if_false is not None and (false := negation(theorem)) is not None:
        assert "_root_.False" in statement_source(false)
        assert columns(statement_source(false), "do f", "last") == expected


@pytest.mark.parametrize(
    "before", ["abbrev s : Prop := sorry", "def s : Nat := sorry", "def s (n :\n  Nat) :\n Nat := sorry"]
)
def test_code_after_an_open_definition_keeps_columns(before: str) -> None:
    line = f"{before} def g := (Id.run do f\n"
    source = f"{line}{' ' * 40}last)\ntheorem t : s ↔ 1 = 1 := by sorry"
    theorem = theorem_of_row({"formal_statement": source}, "x.jsonl:1")
    assert theorem.answer and columns(theorem.context, "def g", "last") == columns(source, "def g", "last")
    for false in [theorem.if_false] if theorem.if_false else []:
        assert columns(false[1], "def g", "last") == columns(source, "def g", "last")


def test_the_type_of_an_open_definition_keeps_columns() -> None:
    source = "def s (n : g fun\n x => 1) : (Id.run do f\n       last) := sorry\ntheorem t : s 1 = 1 := by sorry"
    theorem = theorem_of_row({"formal_statement": source}, "x.jsonl:1")
    assert theorem.answer == "data" and "variable (s : ∀\n" in theorem.context
    words = ("(n :", "x =>", "(Id.run", "last")
    assert columns(theorem.context, *words) == columns(source, *words)


def test_a_theorem_in_its_place_keeps_columns() -> None:
    source = f"/-- é -/\n{block(':')} := by sorry\n"
    text = parse(source.encode())
    begin, at = source.encode().index(b": (Id"), source.encode().index(b" := by")
    head = source.encode().index(b"@[simp]")
    d = Declaration(
        "theorem", ("t",), (head, at + 12), (begin - 2, begin - 1), (begin, at), (at + 1, at + 12), (at + 4, at + 12),
        False, False, False, (), False, "t", "t",
    )  # fmt: skip
    placed, located = theorem_of(text, d, imports_of(text)), find_theorem(text, "t")
    assert placed is not None and located is not None
    for theorem in (placed, located.theorem("t.lean")):
        assert theorem.column == len(HEAD)
        assert columns(statement_source(theorem), "do f", "last") == columns(source, "do f", "last")


@pytest.mark.parametrize("name", ["t", "_root_.A.t"])
def test_rows_of_targets_keep_columns(name: str) -> None:
    for column in (0, 7, None):
        theorem = Theorem(name, ": (Id.run do f\n   last)", context="def f := 1\nlemma a : f = 1 := rfl", column=column)
        row = _row(Variant(theorem, TARGET, name))
        assert _reads_back(row, theorem)
        assert not _reads_back(row, replace(theorem, column=5))


@pytest.mark.parametrize("column", [3, None])
def test_a_binder_before_a_statement_keeps_columns(column: int | None) -> None:
    theorem = Theorem("t", ": (Id.run do f\n   last) = n", column=column)
    opened: list[Theorem] = []

    async def open_(asked: Theorem) -> ProofState | None:
        opened.append(asked)
        return None

    asyncio.run(auto_bound(theorem, ProofState(0, "", (Goal("", (("n", "Nat"),)),)), open_))
    sources = [statement_source(t) for t in (theorem, *opened)]
    assert len(sources) == 2 and "{n : _}" in sources[1]
    assert columns(sources[0], "do f", "last") == columns(sources[1], "do f", "last")


def test_variants_are_made_from_the_target_at_its_column(monkeypatch: pytest.MonkeyPatch) -> None:
    theorem = Theorem("t", ": (Id.run do f\n   last)", context="def f := 1", column=3)
    sent: list[str] = []

    class Refusing:
        """Records the text and reads none."""

        spent = 0

        def __init__(self, executor: object, place: Place) -> None:
            self.place = place

        async def signature(self, text: LeanText) -> None:
            sent.append(text.body)
            raise ValueError

        def close(self) -> None:
            pass

    monkeypatch.setattr("curricula.variants.Bench", Refusing)
    with pytest.raises(ValueError):
        asyncio.run(Maker(None, 1)._variants(theorem, b""))  # type: ignore[arg-type]
    assert sent[0].strip() == statement_source(theorem).strip()
