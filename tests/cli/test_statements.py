"""The theorem around a `sorry` in a file, as a name, a statement and a context."""

from __future__ import annotations

import pytest

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
