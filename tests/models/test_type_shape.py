"""The outer structure of types, which the ranker's features are made of."""

from __future__ import annotations

import pytest

from prover.models.type_shape import shape_of


@pytest.mark.parametrize(
    ("type_", "binders", "premises", "head", "arguments"),
    [
        ("p", 0, (), "p", ()),
        ("(p → q) → Both p (q → r) → r", 0, ("p → q", "Both p (q → r)"), "r", ()),
        ("((p → q))", 0, ("p",), "q", ()),
        ("∀ (n : Nat), n + 0 = n", 1, (), "=", ("n + 0", "n")),
        ("∀ (p : Nat → Prop), p 0 → ∀ n, p n", 2, ("p 0",), "p", ("n",)),
        ("Both p (Either q r)", 0, (), "Both", ("p", "Either q r")),
        ("p ∧ q ∨ r", 0, (), "∨", ("p ∧ q", "r")),
        ("¬(p ∧ q)", 0, (), "¬", ("p ∧ q",)),
        ("xs.length = [a, b].length", 0, (), "=", ("xs.length", "[a, b].length")),
        ("f\n    (g x)\n    y", 0, (), "f", ("g x", "y")),
        ("(a) = (b)", 0, (), "=", ("a", "b")),
        ("", 0, (), "", ()),
        ("(p → ", 0, (), "(", ()),
    ],
)
def test_shapes(type_, binders, premises, head, arguments):
    shape = shape_of(type_)
    assert (shape.binders, shape.premises, shape.head, shape.arguments) == (binders, premises, head, arguments)
