"""Questions to Lean such as `exact?`: the answer is tried like any tactic, and the question proves nothing."""

from __future__ import annotations

import pytest

from prover.errors import UserError
from prover.lean.theorem import Goal, ProofState, StepResult, Theorem
from prover.models.base import Suggestion
from prover.search import Budget, Search, SearchConfig, to_script
from prover.search.lean_queries import answers, parse_questions, premises_in, with_questions

SAID = (
    "Try this:\n  [apply] rw [List.length_append]\n  -- xs.length + ys.length = ys.length + xs.length",
    "Try these:\n  [apply] exact Nat.add_comm a\n      b\n  [apply] exact Nat.le_refl _",
    "Try this: simp only [h]",
)


def test_answers_are_tactics_without_comments():
    assert answers(SAID) == [
        "rw [List.length_append]",
        "exact Nat.add_comm a b",
        "exact Nat.le_refl _",
        "simp only [h]",
    ]
    assert answers(["Try this:\n"]) == []


def test_premises_are_constants_not_fields_of_hypotheses():
    state = ProofState(1, "k", (Goal("⊢ p", (("xs", "List Nat"), ("h_1", "p")), "p"),))
    found = premises_in(["rw [List.length_append, ← h_1]", "simp_all only [xs.foo, add_comm]"], state)
    assert found == ["List.length_append", "add_comm"]


def test_a_question_stands_after_the_likeliest_tactics():
    offered = [Suggestion(f"t{i}", -float(i)) for i in range(20)]
    asked = with_questions(offered, ["exact?"])
    order = [s.tactic for s in sorted(asked, key=lambda s: -s.logprob)]
    assert order.index("exact?") == 8 and len(order) == 21
    assert [s.tactic for s in with_questions([], ["exact?"])] == ["exact?"]


def test_an_unknown_question_is_named():
    assert parse_questions(" exact?, rw? ") == ("exact?", "rw?") and parse_questions("") == ()
    with pytest.raises(UserError, match=r"'hint\?' is unknown"):
        SearchConfig(questions="exact?,hint?")


class Answering:
    """An environment (no Lean) in which `exact?` closes the goal and says how, to show what a search makes of that."""

    def __init__(self, said: tuple[str, ...]) -> None:
        self.said = said
        self.asked: list[str] = []

    async def step(self, state, tactics):
        self.asked += tactics
        return [self._one(t) for t in tactics]

    def _one(self, tactic: str) -> StepResult:
        if tactic == "exact?":
            return StepResult("ok", said=self.said)
        return StepResult("ok" if tactic == "exact A.b h" else "error")

    async def free(self, states):
        pass


class Useless:
    def suggest(self, queries, n):
        return [[Suggestion("simp", -1.0), Suggestion("rfl", -2.0)] if not q.attempt else [] for q in queries]


ROOT = ProofState(1, "k", (Goal("h : p\n⊢ p", (("h", "p"),), "p"),))
SETTINGS = {"in_flight": 1, "model_thread": False}


def test_the_answer_proves_what_the_question_closed(loop):
    env = Answering(("Try this:\n  [apply] exact A.b h",))
    search = Search(ROOT, env, Useless(), config=SearchConfig(**SETTINGS, questions="exact?"))
    result = loop.run(search.run(Budget(lean_calls=10)))
    assert result.outcome == "proved" and result.proof is not None and to_script(result.proof) == "exact A.b h"
    # Question and answer are a call each.
    assert result.lean_calls == len(env.asked) and {"exact?", "exact A.b h"} <= set(env.asked)
    assert search.graph.root.premises == ("A.b",)


@pytest.mark.parametrize("said", [(), ("Try this: exact wrong",)])
def test_a_question_alone_proves_nothing(loop, said):
    search = Search(ROOT, Answering(said), Useless(), config=SearchConfig(**SETTINGS, questions="exact?"))
    assert loop.run(search.run(Budget(lean_calls=10))).outcome == "exhausted"


def test_without_the_setting_nothing_is_asked(loop):
    env = Answering(("Try this: exact A.b h",))
    loop.run(Search(ROOT, env, Useless(), config=SearchConfig(**SETTINGS)).run(Budget(lean_calls=10)))
    assert env.asked == ["simp", "rfl"]


@pytest.mark.lean
def test_lean_finds_the_lemma_in_the_library(loop):
    from prover.lean.pool import LeanPool
    from prover.lean.server import Limits

    async def go():
        async with LeanPool(1, limits=Limits(seconds=120), constants=True) as pool:
            root = await pool.open(Theorem("t", "(a b c : Nat) (h : a ≤ b) : a + c ≤ b + c"))
            search = Search(root, pool, Useless(), config=SearchConfig(**SETTINGS, questions="exact?"))
            result = await search.run(Budget(lean_calls=12))
            await search.close()
            return result, search.graph.root.premises

    result, premises = loop.run(go())
    assert (
        result.outcome == "proved"
        and to_script(result.proof).startswith("exact Nat.")
        and "?" not in to_script(result.proof)
    )
    assert any(p.startswith("Nat.") for p in premises)
