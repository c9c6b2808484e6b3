"""Near-copies of held-out theorems are kept out of training."""

from __future__ import annotations

from curricula.near_copies import near_copies
from prover.premises.index import library_index
from rl.config import TheoremsConfig
from rl.theorem_splits import theorems_of

KEPT = {
    "List.map_map": "∀ {α β γ : Type} (f : β → γ) (g : α → β) (l : List α), List.map f (List.map g l) = List.map (f ∘ g) l"
}


def test_another_choice_of_variables_is_a_copy() -> None:
    again = "∀ {a b c : Type} (h : b → c) (k : a → b) (xs : List a), List.map h (List.map k xs) = List.map (h ∘ k) xs"
    assert near_copies({"again": again}, KEPT) == {"again": "List.map_map"}


def test_another_statement_is_not() -> None:
    other = "∀ {α : Type} (l : List α), List.length (List.reverse l) = List.length l"
    assert near_copies({"other": other, "empty": ""}, KEPT) == {}


def test_no_training_theorem_of_the_library_nearly_repeats_an_evaluated_one() -> None:
    index = library_index()
    known = index.by_name()
    found = theorems_of(TheoremsConfig(per_module=300, limit=3000), index, 40)
    said = [
        {t.name: known[t.name].type for t in split if t.name in known and known[t.name].type}
        for split in (found.train, [*found.held_out, *found.validation])
    ]
    assert len(said[0]) > 20 and len(said[1]) > 20 and found.near_copies > 0
    assert near_copies(*said) == {}
