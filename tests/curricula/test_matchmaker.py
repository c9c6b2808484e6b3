"""The matchmaker: retirement, growing budgets, disproving, and that its state is a fold of the history."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curricula.sampler import CurriculumSampler, MatchConfig, Try
from prover.lean.theorem import Theorem

THEOREMS = [Theorem(f"t{i}", f": {i} = {i}", source="a" if i % 2 else "b") for i in range(40)]


def maker(config: MatchConfig | None = None, tries: list[Try] | None = None, seed: int = 0) -> CurriculumSampler:
    m = CurriculumSampler(THEOREMS, config, seed)
    m.observe(tries or [])
    return m


def test_budgets_start_low_and_a_retry_gets_more_than_what_failed():
    m = maker(MatchConfig(base_calls=16, growth=2, max_calls=100))
    seen = []
    for r, calls in enumerate((20, 40, 16, 80), 1):  # the first round's budget is not the sampler's
        m.observe([Try("t0", r, "budget", calls=calls)])
        seen.append(m.budget("t0"))
    assert seen == [40, 80, 80, 100]
    m.observe([Try("t0", 9, "proved", 50, calls=100)])
    assert m.budget("t0") == 16


@pytest.mark.parametrize("adaptive", [True, False])
def test_some_are_tried_in_any_case(adaptive: bool):
    m = maker(MatchConfig(adaptive=adaptive, base_calls=16), [Try("t3", 1, "budget", calls=40)])
    plan = m.plan(2, 200, always=("t3", "t4"))
    assert [(x.theorem.name, x.lean_calls) for x in plan[:2]] == [("t4", 16), ("t3", 80)]
    assert len({x.theorem.name for x in plan}) == len(plan) > 2


def test_those_that_are_always_tried_take_turns_with_whole_budgets():
    tries = [Try("t3", 1, "budget", calls=40), Try("t4", 2, "budget", calls=100), Try("t5", 2, "budget", calls=20)]
    m = maker(MatchConfig(base_calls=16, max_calls=1000), tries)

    def first(calls: int) -> list[tuple[str, int]]:
        names = ("t3", "t4", "t5")
        return [(x.theorem.name, x.lean_calls) for x in m.plan(3, calls, always=names) if x.theorem.name in names]

    assert first(1000) == [("t3", 80), ("t4", 200), ("t5", 40)], "the one that was tried the longest ago comes first"
    assert first(280) == [("t3", 80), ("t4", 200)] and first(64) == [("t3", 80)], "at least one"


def test_easy_theorems_are_retired_and_revisited():
    m = maker(MatchConfig(trust=2, revisit=0.1), [Try(f"t{i}", r, "proved", 1) for r in (1, 2) for i in range(20)])
    assert [m.retired(f"t{i}") for i in (0, 19, 20)] == [True, True, False]
    plan = m.plan(3, 300)
    old = [x for x in plan if m.retired(x.theorem.name)]
    assert old and sum(m.cost(x.theorem.name, x.estimate) for x in old) <= 30 + 16
    never = maker(MatchConfig(trust=2, revisit=0.0), [Try(f"t{i}", r, "proved", 1) for r in (1, 2) for i in range(20)])
    assert not any(never.retired(x.theorem.name) for x in never.plan(3, 300))


def test_a_hard_proof_is_not_retired():
    assert not maker(tries=[Try("t0", 1, "proved", 9)]).retired("t0")


def test_a_failure_after_an_easy_proof_brings_it_back():
    m = maker(tries=[Try("t0", 1, "proved", 1), Try("t0", 2, "budget")])
    assert not m.retired("t0")


def test_errors_do_not_count_as_tries():
    m = maker(tries=[Try("t0", 1, "error")] * 5)
    assert m.records["t0"].tried == 0 and m.budget("t0") == 16


def test_a_disproved_theorem_is_never_tried_again():
    m = maker(tries=[Try("t0", 1, "disproved", 3, "disprove")])
    assert all(x.theorem.name != "t0" for r in range(1, 20) for x in m.plan(r, 10_000))


def test_only_what_resists_is_disproved_and_at_about_the_rate():
    tries = [Try(f"t{i}", r, "budget") for r in (1, 2, 3) for i in range(20)]
    m = maker(MatchConfig(resist=3, disprove=0.25, growth=1.0), tries)
    sides = [(x.theorem.name, x.side) for r in range(4, 60) for x in m.plan(r, 10_000)]
    assert all(int(name[1:]) < 20 for name, side in sides if side == "disprove")
    resisting = [side for name, side in sides if int(name[1:]) < 20]
    assert 0.2 < resisting.count("disprove") / len(resisting) < 0.3


def test_a_library_theorem_is_never_disproved():
    m = CurriculumSampler([Theorem("a", library="a")], MatchConfig(disprove=1.0))
    m.observe([Try("a", r, "budget") for r in range(1, 9)])
    assert [x.side for x in m.plan(9, 10_000)] == ["prove"]


def test_estimates_learn_from_the_source():
    m = maker(tries=[Try(f"t{i}", 1, "proved" if i % 2 else "budget", 9 if i % 2 else None) for i in range(20)])
    e = m.estimates()
    assert e["t31"] > 0.6 > 0.4 > e["t30"] and e["t1"] > e["t31"] and e["t0"] < e["t30"]


def test_informative_theorems_are_drawn_most():
    # t0 fails always, t1 half of the time, t2 never (but never easily either)
    tries = [
        Try(t, r, o, 9)
        for r in range(1, 13)
        for t, o in (("t0", "budget"), ("t2", "proved"), ("t1", "proved" if r % 2 else "budget"))
    ]
    m = maker(MatchConfig(growth=1.0, memory=1.0), tries)
    drawn = [x.theorem.name for r in range(13, 413) for x in m.plan(r, 48)]
    assert drawn.count("t1") > 1.5 * max(drawn.count("t0"), drawn.count("t2"))


def test_rollouts_count_by_the_share_that_proved():
    one, most = (maker(tries=[Try("t0", 1, "proved", 9, share=share)]).estimates()["t0"] for share in (1 / 8, 7 / 8))
    assert one < 0.5 < most
    easy = [Try("t0", 1, "proved", 1, share=share) for share in (7 / 8, 1.0)]
    assert [maker(tries=[t]).retired("t0") for t in easy] == [False, True]


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_round_may_have_a_number_of_theorems(adaptive: bool):
    m = maker(MatchConfig(adaptive=adaptive), [Try("t0", 1, "budget", calls=100)])
    assert len(m.plan(2, 1, theorems=7)) == 7
    assert len(m.plan(2, 1, ("t1",), 7)) == 8
    easy = maker(MatchConfig(adaptive=adaptive), [Try(t.name, 1, "proved", 1) for t in THEOREMS[:-2]])
    assert len(easy.plan(2, 1, theorems=7)) == 7, "also if most are retired"


def test_the_baseline_is_uniform():
    m = maker(MatchConfig(adaptive=False), [Try("t0", 1, "proved", 1)])
    plan = m.plan(2, 10_000)
    assert {x.theorem.name for x in plan} == {t.name for t in THEOREMS} and {x.lean_calls for x in plan} == {16}
    assert len(m.plan(2, 160)) == 10


tries = st.lists(
    st.builds(
        Try,
        st.sampled_from([t.name for t in THEOREMS[:6]]),
        st.integers(1, 9),
        st.sampled_from(["proved", "budget", "exhausted", "error", "rejected"]),
        st.integers(1, 64) | st.none(),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(tries, st.integers(1, 5000), st.integers(0, 5))
def test_a_plan_keeps_to_its_budget_and_is_a_fold(history, calls, seed):
    one, parts = maker(tries=history, seed=seed), maker(seed=seed)
    for t in history:
        parts.observe([t])
    plan = one.plan(10, calls)
    assert plan == parts.plan(10, calls)
    assert len({x.theorem.name for x in plan}) == len(plan)
    assert all(0 < x.estimate < 1 and 1 <= x.lean_calls <= one.config.max_calls for x in plan)
    last = max((one.cost(x.theorem.name, x.estimate) for x in plan), default=0)
    assert sum(one.cost(x.theorem.name, x.estimate) for x in plan) <= calls + last


@pytest.mark.parametrize("calls", [1, 100])
def test_there_is_always_something_to_do(calls):
    assert maker().plan(1, calls)
