"""Near-copies of held-out theorems are kept out of training."""

from __future__ import annotations

import random

from curricula.near_copies import ALIKE, near_copies, shingles, shingles_up_to_names
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


def test_bound_names_are_exchanged_and_no_others() -> None:
    kept = {"k": "(xs : Chain) : add xs.size (walk xs) = walk xs ∧ ∀ y ∈ xs, y = xs.last"}
    same = "(ys : Chain) : add ys.size (walk ys) = walk ys ∧ ∀ n ∈ ys, n = ys.last"
    near = near_copies({"same": same, "other": same.replace("add", "mul")}, kept, shingles_up_to_names)
    assert near == {"same": "k"}
    assert (
        near_copies({"other side": "(n : Nat) : n + 0 = n"}, {"k": "(n : Nat) : 0 + n = n"}, shingles_up_to_names) == {}
    )


def test_copies_are_those_that_comparing_all_pairs_finds() -> None:
    rng = random.Random(3)
    texts = {}
    for i in range(400):
        one = [f"name{rng.randrange(4)}" for _ in range(rng.randrange(1, 30))]
        for j in range(2):  # and a variant of it
            texts[f"t{i}_{j}"] = " ".join(one)
            one[rng.randrange(len(one))] = "other"
    names = sorted(texts, key=lambda _: rng.random())
    candidates, kept = ({n: texts[n] for n in part} for part in (names[:500], names[500:]))

    def alike(one: str, other: str) -> float:
        a, b = shingles(one), shingles(other)
        return len(a & b) / len(a | b)

    found = near_copies(candidates, kept)
    pairs = {n: max(alike(text, k) for k in kept.values()) for n, text in candidates.items()}
    assert set(found) == {n for n, most in pairs.items() if most >= ALIKE} and 20 < len(found) < 480
    assert all(alike(candidates[n], kept[k]) == pairs[n] for n, k in found.items())


def test_no_training_theorem_of_the_library_nearly_repeats_an_evaluated_one() -> None:
    index = library_index()
    known = index.by_name()
    found = theorems_of(TheoremsConfig(per_module=300, limit=3000), index, 40)
    said = [
        {t.name: known[t.name].type for t in split if t.name in known and known[t.name].type}
        for split in (found.train, [*found.held_out, *found.validation])
    ]
    assert len(said[0]) > 20 and len(said[1]) > 20 and found.near_copies > 0
    assert near_copies(said[0], said[1]) == {}
