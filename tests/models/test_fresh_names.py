"""Fresh names hide the library's vocabulary from a model, and its answers are translated back."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from prover.lean.theorem import Goal, ProofState
from prover.models.base import Query, Suggestion
from prover.models.fresh_names import FreshNamesPolicy, Translation, fresh_word

CONSTANTS = ("List", "List.map", "List.length", "HAppend.hAppend", "Nat", "Option.isSome")
GOAL = Goal(
    "α : Type\nlength : Nat\nxs ys : List α\nf : α → Nat\n⊢ (List.map f (xs ++ ys)).length = xs.length + length",
    (("α", "Type"), ("length", "Nat"), ("xs", "List α"), ("ys", "List α"), ("f", "α → Nat")),
    "(List.map f (xs ++ ys)).length = xs.length + length",
    CONSTANTS,
)
QUERY = Query(ProofState(1, "k", (GOAL,)), ("List.length_map", "Option.isSome"))


class Echo:
    """Says what a model would that reads well: the shown premises, in a tactic."""

    def __init__(self, *more: str) -> None:
        self.more = more
        self.seen: list[Query] = []

    def suggest(self, queries, n):
        self.seen += queries
        return [
            [
                Suggestion(f"simp [{q.premises[0]}, ← {q.premises[1]}] at length", -1.0),
                *(Suggestion(t, -2.0) for t in self.more),
            ]
            for q in queries
        ]


def words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]+", text))


def test_no_name_of_the_library_is_shown():
    model = Echo()
    FreshNamesPolicy(model).suggest([QUERY], 4)
    (seen,) = model.seen
    shown = " ".join([seen.state.text, *seen.premises, *seen.state.goals[0].constants])
    assert not words(shown) & {"List", "map", "Nat", "HAppend", "Option", "isSome"}
    # `length` is a hypothesis here, and stays one; as a function it is hidden.
    assert "\nlength : " in seen.state.text and "xs.length" not in seen.state.text and ").length" not in seen.state.text
    assert seen.state.goals[0].hypotheses[2][0] == "xs" and "⊢" in seen.state.text and " ++ " in seen.state.text


@pytest.mark.lean  # the library's index is made by Lean
def test_types_of_premises_are_shown_in_the_same_words():
    model = Echo()
    query = replace(QUERY, premises=("List.length_append", "Not.there"))
    FreshNamesPolicy(model, types=True).suggest([query], 4)
    (seen,) = model.seen
    said, nothing = seen.types
    assert f".{fresh_word('length')}" in said and " ++ " in said and "= " in said and nothing == ""
    assert not words(said) & {"List", "length", "Nat"} and "\n" not in said


def test_one_word_is_one_word_everywhere():
    model = Echo()
    FreshNamesPolicy(model).suggest([QUERY], 4)
    (seen,) = model.seen
    length = fresh_word("length")
    assert f"xs.{length}" in seen.state.text and f").{length}" in seen.state.text
    assert seen.premises[0] == f"{fresh_word('List')}.{length}_{fresh_word('map')}"


def test_answers_come_back_with_true_names():
    (answers,) = FreshNamesPolicy(Echo()).suggest([QUERY], 4)
    assert answers[0] == Suggestion("simp [List.length_map, ← Option.isSome] at length", -1.0)


def test_memorised_names_do_not_work_under_fresh_names():
    (answers,) = FreshNamesPolicy(Echo("rw [List.map]", "cases xs <;> simp_all", "exact (foo).length")).suggest(
        [QUERY], 4
    )
    tactics = [a.tactic for a in answers]
    assert "cases xs <;> simp_all" in tactics
    assert not any("List.map" in t or t.endswith(").length") for t in tactics)


def test_a_seed_is_a_language():
    a, b = Translation(1), Translation(2)
    name = "List.length_map"
    assert a.name(name) != b.name(name) and a.back(a.name(name)) == name == b.back(b.name(name))


def test_words_never_collide():
    t = Translation()
    names = [f"Name{'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10 % 10]}{'uvwxyzabcd'[i // 100]}" for i in range(1000)]
    made = [t.name(n) for n in names]
    assert len(set(made)) == 1000 and [t.back(m) for m in made] == names


def test_other_parts_of_a_query_are_kept():
    model = Echo()
    FreshNamesPolicy(model).suggest([replace(QUERY, attempt=3)], 4)
    assert model.seen[0].attempt == 3 and model.seen[0].state.key == "k"


@pytest.mark.parametrize(
    "around", ["xs[i]?{}", "xs[i]!{}", "⟨i, h⟩{}", "{{x}}{}", '"ab"{}', "'a'{}", "5#8{}", "(xs ++ ys){}", "x'{}"]
)
def test_fields_of_anything_are_hidden_and_come_back(around: str):
    text = around.format(".length")
    translation = Translation()
    shown = translation.text(text, ("List.length",), ("x'",))
    assert "length" not in shown and translation.back(shown, ("x'",)) == text


@pytest.mark.lean  # the library's index is made by Lean
def test_a_name_known_by_heart_does_not_work_before_it_was_met_either():
    asked = FreshNamesPolicy(Echo("exact List.length_map ..", "rw [eq_comm]", "cases xs <;> simp_all"))
    plain = Query(ProofState(1, "k", (Goal("p : Prop\n⊢ p", (("p", "Prop"),), "p", ()),)), ("And.intro", "Or.inl"))
    (answers,) = asked.suggest([plain], 4)
    _, by_heart, language, tactic = (a.tactic for a in answers)
    assert "List.length_map" not in by_heart
    assert language == "rw [eq_comm]" and tactic == "cases xs <;> simp_all", (
        "what templates say belongs to the language"
    )
