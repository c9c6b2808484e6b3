"""Templates for a theorem with surroundings."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

from prover.lean.surroundings import Declaration, Number, Surroundings
from prover.lean.theorem import Goal, HypothesisKind, ProofState
from prover.models.base import Query
from prover.models.goal_names import names_of
from prover.models.local_templates import local_context
from prover.models.tactic_templates import Explorer
from prover.models.witness_templates import witness_terms
from prover.premises.local import local_premises

NONE = ("[anonymous]", "[anonymous]")


def declared(name: str, kind: str, head: str = "", constants: tuple[str, ...] = (), **more) -> Declaration:
    fields = {"sides": NONE, "explicit": 1, "value": (), "conditional": False, "fields": (), "number": None, **more}
    return Declaration(name=name, kind=kind, head=head, constants=constants, **fields)  # type: ignore[arg-type]


PLUS = ("T", "Eq", "HAdd.hAdd", "instHAdd", "T.instAdd")
FILE = Surroundings(
    (
        declared("T", "recursive", "Sort"),
        declared("T.zero", "constructor", "T", ("T",), explicit=0),
        declared("T.plus", "definition", "T", ("T",), value=("T.zero",)),
        declared("T.instAdd", "instance", "Add", ("Add", "T"), value=("Add.mk", "T.plus"), fields=("add",)),
        declared(
            "T.instNum",
            "instance",
            "OfNat",
            ("OfNat", "T"),
            number=Number("0", "T.zero", "T", "T", True),
            fields=("ofNat",),
        ),
        declared("T.Even", "recursive", "Prop", ("T",)),
        declared("T.Even.zero", "rule", "T.Even", ("T.Even",), explicit=0),
        declared("T.plus_comm", "theorem", "Eq", PLUS, sides=("HAdd.hAdd", "HAdd.hAdd")),
        declared("T.plus_zero", "theorem", "Eq", PLUS, sides=("HAdd.hAdd", NONE[0])),
        declared("T.unrelated", "theorem", "Eq", ("Eq", "Bool")),
    )
)
A = HypothesisKind("a", "recursive", "T", "T")


def tactics(target: HypothesisKind, *kinds: HypothesisKind, constants: tuple[str, ...] = PLUS) -> dict[str, float]:
    goal = Goal("⊢", tuple((k.name, "") for k in kinds), "", constants, kinds=(*kinds, target))
    state = ProofState(1, "k", (goal,), FILE)
    (found,) = Explorer().suggest([Query(state)], 2000)
    return {s.tactic: s.logprob for s in found}


def test_functions_behind_notation_and_lemmas_are_used_together():
    found = tactics(HypothesisKind("⊢", "target", "Eq", "Eq"), A)
    sets = [t for t in found if t.startswith("induction a <;> first | rfl")]
    assert any("HAdd.hAdd, Add.add, T.plus, T.plus_zero, T.plus_comm" in t for t in sets)
    assert any("show T.zero = (0 : T) from rfl" in t for t in sets)
    assert not any("T.unrelated" in t for t in sets)


def test_the_last_lemma_comes_first_among_equals():
    local = local_premises(FILE)
    assert local.lemmas(PLUS, 2) == ["T.plus_zero", "T.plus_comm"]
    assert local.functions(PLUS) == ["T.plus"]
    assert local.lemmas(("Bool",), 5) == ["T.unrelated"]


def test_constructors_of_a_predicate_are_applied():
    found = tactics(HypothesisKind("⊢", "target", "T.Even", "T.Even"), A, constants=("T.Even", "T"))
    assert "apply T.Even.zero" in found
    assert any(t.startswith("first | rfl | assumption | contradiction") and "apply T.Even.zero" in t for t in found)


def test_derivations_are_taken_apart_and_data_of_other_kinds_is_not():
    hypothesis = HypothesisKind("h", "proof", "T.Even", "T.Even")
    found = tactics(HypothesisKind("⊢", "target", "Eq", "Eq"), A, hypothesis, HypothesisKind("f", "function", "∀", "∀"))
    assert {"cases h", "induction h", "nomatch h"} <= set(found)
    assert not any(t.startswith(("cases f", "induction f")) for t in found)


def test_an_existential_behind_a_definition_gets_witnesses():
    found = tactics(HypothesisKind("⊢", "target", "T.le", "Exists"), A)
    tries = [t for t in found if t.startswith("first | (refine ⟨a, ?_⟩ <;>")]
    assert tries and all("⟨T.zero, ?_⟩" in t for t in tries) and "refine ⟨a, ?_⟩" in found


def test_a_structured_hypothesis_is_opened():
    found = tactics(
        HypothesisKind("⊢", "target", "Eq", "Eq"),
        HypothesisKind("h", "proof", "T.le", "Exists"),
        HypothesisKind("k", "proof", "Or", "Or"),
    )
    assert "obtain ⟨x, hx⟩ := h" in found and "rcases k with h | h" in found


def test_a_witness_comes_from_a_hypothesis_or_from_unification():
    h, k = (HypothesisKind(name, "proof", "T.le", "Exists") for name in "hk")
    found = tactics(HypothesisKind("⊢", "target", "T.le", "Exists"), A, h, k)
    opened = [t for t in found if "obtain ⟨x1, rfl⟩ := k" in t and "obtain ⟨x2, rfl⟩ := h" in t]
    (unified,) = (t for t in opened if "\nrepeat apply Exists.intro\n" in t)
    assert "rw [← T.plus_comm]" in unified
    assert any("⟨(T.plus x1), ?_⟩" in t and "⟨x1, ?_⟩" in t for t in opened)
    assert "apply Exists.intro" in found and not any("⟨x1, ?_⟩" in t for t in set(found) - set(opened))


def test_two_variables_are_taken_apart_together_and_so_is_an_opened_witness():
    b = HypothesisKind("b", "recursive", "T", "T")
    found = tactics(HypothesisKind("⊢", "target", "Or", "Or"), A, b, HypothesisKind("h", "proof", "T.le", "Exists"))
    assert any(t.startswith("induction a generalizing b <;> cases b <;> first | rfl") for t in found)
    assert any("obtain ⟨x1, rfl⟩ := h" in t and "\ncases x1 <;> first | rfl" in t for t in found)


def test_small_witnesses_come_first_and_those_of_hypotheses_before_others():
    makers = [("zero", 0), ("succ", 1), ("add", 2)]
    terms = witness_terms(["x1"], ["a"], makers)
    assert terms[:2] == ["x1", "a"] and terms.index("(succ x1)") < terms.index("(add x1 a)")
    assert "(succ zero)" in terms and "(succ a)" not in terms
    assert "(x1 * a)" in witness_terms(["x1"], ["a"], [], numbers=["Nat"]) and "(x1 * a)" not in terms


def test_a_name_with_braces_is_a_witness_as_it_stands():
    makers = [("T.«{}»", 0), ("T.«{0:>99}»", 1), ("T.«a{1}»", 2)]
    terms = witness_terms([], ["a", "b"], makers, ["f"])
    assert {"T.«{}»", "(T.«{0:>99}» a)", "(T.«a{1}» b a)", "(f a)"} <= set(terms)


def test_many_constructors_cost_no_more_than_the_witnesses_that_are_tried():
    makers = [(f"T.c{i}", i % 3) for i in range(1500)]
    tracemalloc.start()
    found = witness_terms(["x1"], ["a"], makers)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == witness_terms(["x1"], ["a"], makers[:90]) and peak < 5e6


def test_a_hypothesis_that_gives_witnesses_is_used_at_variables():
    onto = declared("T.onto", "definition", "Prop", ("T",), value=("T", "Exists", "Eq"))
    h, g = (HypothesisKind(name, "proof", "T.onto", "∀") for name in "hg")
    goal = Goal("⊢", (), "", ("T",), kinds=(A, h, g, HypothesisKind("⊢", "target", "Eq", "Eq")))
    state = ProofState(1, "k", (goal,), Surroundings((*FILE.declarations, onto)))
    (found,) = Explorer().suggest([Query(state)], 2000)
    said = [s.tactic for s in found]
    assert any(t.startswith("(first | obtain ⟨x1, rfl⟩ := h a") for t in said)
    assert any("obtain ⟨x1, rfl⟩ := h a" in t and "obtain ⟨x2, rfl⟩ := g x1" in t for t in said)


def test_lemmas_about_what_a_predicate_hides_are_offered():
    below = declared("T.below", "definition", "Prop", ("T",), value=("Exists", "Bool"))
    surroundings = Surroundings((*FILE.declarations, below))
    goal = Goal("⊢", (), "", ("T.below", "T"), kinds=(HypothesisKind("⊢", "target", "T.below", "Exists"),))
    assert "T.unrelated" in local_context(goal, surroundings).lemmas, "it is about Bool"


def test_kinds_decide_and_not_the_text_of_a_type():
    goal = Goal(
        "",
        kinds=(
            A,
            HypothesisKind("h", "proof", "T.Rel", "T.Rel"),
            HypothesisKind("x✝", "proof", "", ""),
            HypothesisKind("⊢", "target", "", ""),
        ),
    )
    names = names_of(goal)
    assert names.recursive == ["a"] and names.facts == ["h"] and names.derivations == ["h"]


def test_without_surroundings_nothing_is_added():
    goal = Goal("⊢", (("a", ""),), "", PLUS, kinds=(A, HypothesisKind("⊢", "target", "Eq", "Eq")))
    (found,) = Explorer().suggest([Query(ProofState(1, "k", (goal,)))], 2000)
    assert not any("T.plus" in s.tactic for s in found)


def test_tactics_that_exist_are_filled_and_others_are_not_offered():
    """`linarith` as a library has it, and `crunch` as the file declares it."""
    kinds = (A, HypothesisKind("b", "data", "T", "T"), HypothesisKind("h", "proof", "T.le", "T.le"))
    goal = Goal("⊢", (), "", PLUS, kinds=(*kinds, HypothesisKind("⊢", "target", "T.le", "T.le")))
    state = ProofState(1, "k", (goal,), Surroundings((), ("linarith", "nlinarith", "crunch")))
    (found,) = Explorer().suggest([Query(state)], 2000)
    offered = {s.tactic for s in found}
    assert {
        "linarith",
        "nlinarith [sq_nonneg (a - b), sq_nonneg (a + b)]",
        "crunch",
        "induction a <;> crunch",
    } <= offered
    assert not any("{" in t or "positivity" in t or "mul_pos" in t for t in offered)  # one fact makes no product
    (elementary,) = Explorer(actions="elementary").suggest([Query(state)], 2000)
    assert not any("crunch" in s.tactic or "linarith" in s.tactic for s in elementary)


def test_disjunctions_of_existential_statements_are_opened_and_proved_on_either_side():
    even = declared("T.even", "definition", "Prop", ("Nat",), value=("Exists", "Eq", "Nat"))
    surroundings = Surroundings((*FILE.declarations, even))
    n = HypothesisKind("n", "recursive", "Nat", "Nat")
    kinds = (n, HypothesisKind("h", "proof", "Or", "Or"), HypothesisKind("⊢", "target", "Or", "Or"))
    goal = Goal("⊢", (("n", "Nat"),), "", ("Nat", "Or", "T.even"), kinds=kinds)
    (found,) = Explorer().suggest([Query(ProofState(1, "k", (goal,), surroundings))], 2000)
    opened = [s.tactic for s in found if s.tactic.startswith("rcases h with ⟨x1, y1⟩ | ⟨x1, y1⟩ <;>")]
    assert opened and all("(left; first | (refine ⟨x1, ?_⟩;" in t and "(right; first |" in t for t in opened)
    plain = replace(goal, constants=("Nat", "Or"))
    (found,) = Explorer().suggest([Query(ProofState(1, "k", (plain,), surroundings))], 2000)
    assert not any("⟨x1, y1⟩ | ⟨x1, y1⟩" in s.tactic for s in found), "nothing there is existential"


def test_grind_is_a_closer_without_lemmas_or_definitions():
    """As for an induction on a derivation whose hypotheses close every case."""
    kinds = (A, HypothesisKind("h", "proof", "T.Rel", "T.Rel"), HypothesisKind("⊢", "target", "", ""))
    goal = Goal("⊢", (("a", "T"),), "", ("T",), kinds=kinds)
    bare = Surroundings(tuple(d for d in FILE.declarations if d.kind != "theorem"))
    (found,) = Explorer().suggest([Query(ProofState(1, "k", (goal,), bare))], 2000)
    assert any(s.tactic.startswith("induction h <;> grind") for s in found)


def test_operations_of_a_structure_are_equations_between_its_fields():
    def file(parameters: int) -> Surroundings:
        made = {"explicit": 2}
        return Surroundings(
            (
                declared("V", "inductive", "Sort", explicit=parameters, fields=("x", "y")),
                declared("V.mk", "constructor", "V", ("Int", "V"), **made),
                declared("V.add", "instance", "Add", ("Add", "V"), value=("Add.mk",), fields=("add",)),
                declared("V.zero", "instance", "Zero", ("Zero", "V"), value=("Zero.mk",), fields=("zero",)),
            )
        )

    goal = Goal("⊢", (), "", ("V", "V.add", "V.zero"), kinds=(A,))
    plus = "show ∀ a b : V, a + b = V.mk _ _ from fun _ _ => rfl"
    assert local_context(goal, file(0)).records == [plus, "show (0 : V) = V.mk _ _ from rfl"]
    assert local_context(goal, file(1)).records == []
