"""Replay: duplicates merged, rejected proofs and held-out theorems kept out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from curricula.library import HeldOutLeak, split_of
from prover.lean.theorem import Theorem
from prover.premises.dense import DenseRetriever
from prover.search.examples import Example
from prover.solve.job import Trace
from prover.solve.ledger import Attempt, Ledger
from rl import buffer
from rl import training_examples as making
from rl.algorithms import td_lambda
from rl.algorithms.expert_iteration import (
    HEAVIEST_OPEN,
    NEGATIVE_VISITS,
    collect_examples,
    policy_examples,
    value_examples,
)
from rl.algorithms.premise_selection import SelectionConfig, train_retriever
from rl.attempt import Task
from rl.config import LearnConfig, ReplayConfig
from tests.premises.test_dense import library, row


def example(solved: bool = True, visits: int = 5, text: str = "⊢ True") -> Example:
    best = (("trivial", 1), ("simp", 1), ("skip", 5)) if solved else ()
    return Example(text, "k", (), (), visits, solved, False, 1 if solved else None, 1.0, best, (), 0)


def named(split: str) -> str:
    return next(f"X.t{i}" for i in range(1000) if split_of(f"X.t{i}") == split)


def test_policy_examples_come_only_from_audited_proofs():
    assert [k for k, _ in collect_examples([example()], proved=True)] == ["policy", "value"]


def test_solved_subgoals_of_unproved_theorems_are_value_examples() -> None:
    ((kind, row),) = collect_examples([example()], proved=False)
    assert kind == "value" and row["steps"] == example().steps


def test_visit_targets_leave_out_what_failed():
    e = Example(
        "⊢ p",
        "k",
        (),
        (("simp", 0.5), ("omega", 0.3), ("skip", 0.2)),
        9,
        True,
        False,
        1,
        1.0,
        (("simp", 1),),
        (("omega", "error"),),
        0,
    )
    (_, row), _ = collect_examples([e], proved=True)
    assert {x.tactic for x in policy_examples([row], "visits")} == {"simp", "skip"}
    assert {x.tactic for x in policy_examples([row], "proofs")} == {"simp"}


def test_open_goals_that_took_search_are_negatives_for_the_value():
    kinds = list(collect_examples([example(False, NEGATIVE_VISITS), example(False, NEGATIVE_VISITS - 1)], proved=False))
    assert kinds == [("value", {"state": "⊢ True", "constants": (), "premises": (), "steps": None})]


def test_long_ways_round_are_not_taught():
    (_, data), _ = collect_examples([example()], proved=True)
    assert [t for t, _ in data["tactics"]] == ["trivial", "simp"]


def test_duplicates_are_merged_and_weights_bounded():
    rows = [{"state": "s", "premises": [], "tactics": [[f"t{i}", 1.0] for i in range(8)]}] * 3
    found = policy_examples(rows)
    assert len(found) == 8
    assert sum(e.weight for e in found) == pytest.approx(2.0)


def test_the_best_known_value_of_a_goal_counts():
    rows = [{"state": "s", "premises": [], "steps": n} for n in (None, 3, 2, None)]
    (found,) = value_examples(rows)
    assert found.bin == 1 and found.weight == 1.0


def test_negatives_are_a_sample_of_all_and_no_more_than_proofs():
    rows = [{"state": f"n{i}", "premises": [], "steps": None} for i in (0, 1, 2, 3, 0)]
    rows += [{"state": f"s{i}", "premises": [], "steps": 1} for i in range(2)]
    found = value_examples(rows)
    assert {e.state for e in found if e.weight == 1.0} == {"s0", "s1"}
    drawn = {e.state for e in found if e.weight == 2.0}
    assert len(drawn) == 2 and drawn < {"n0", "n1", "n2", "n3"}, "two of four open goals stand for all four"
    assert {e.state for e in value_examples(rows[::-1])} == {e.state for e in found}, "not those met first or last"


def test_few_proofs_do_not_make_open_goals_weigh_without_bound():
    rows = [{"state": f"n{i}", "premises": [], "steps": None} for i in range(100)]
    rows.append({"state": "s", "premises": [], "steps": 1})
    assert sorted(e.weight for e in value_examples(rows)) == [1.0, HEAVIEST_OPEN]


def filled(tmp_path, attempts) -> Ledger:
    """A ledger of (name, outcome, model version, calls to solve), one policy example each."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for i, (name, outcome, version, calls) in enumerate(attempts):
        data = {"state": f"⊢ {i}", "premises": [], "tactics": [["trivial", 1.0]]}
        attempt = Attempt(
            f"round {i}", Theorem(name, library=name), outcome, 9, calls, 0.1, "trivial", model_version=version
        )
        ledger.record(attempt, [("policy", data)])
    return ledger


@pytest.mark.parametrize("split", ["held-out", "validation"])
def test_a_held_out_theorem_cannot_enter(tmp_path, split):
    ledger = filled(tmp_path, [(named("train"), "proved", 0, 1)])
    assert len(buffer.draw(ledger, "policy")) == 1
    (tmp_path / "b").mkdir()
    ledger = filled(tmp_path / "b", [(named("train"), "proved", 0, 1), (named(split), "proved", 0, 1)])
    with pytest.raises(HeldOutLeak, match=split):
        buffer.draw(ledger, "policy")


@pytest.mark.parametrize("split", ["held-out", "validation"])
def test_no_example_of_a_held_out_theorem_is_even_made(split):
    name = named(split)
    theorem, trace = Theorem(name, library=name), Trace(3, examples=[example()])
    for make in (
        lambda: Task(theorem, "explorer", 8, learn=True),
        lambda: making.rows(theorem, trace, True, 1.0, LearnConfig()),
        lambda: making.rollout_rows(theorem, trace, {}, {"proved": 1.0}, 8, None),
    ):
        with pytest.raises(HeldOutLeak, match=name):
            make()
    # Measuring it is no learning; and a training theorem gives examples.
    assert not Task(theorem, "explorer", 8).learn
    name = named("train")
    assert making.rows(Theorem(name, library=name), trace, True, 1.0, LearnConfig())


def test_a_rejected_proof_leaves_no_example(tmp_path):
    ledger = filled(tmp_path, [(named("train"), "rejected", 0, 1), (named("train"), "proved", 0, 1)])
    assert [r["state"] for r in buffer.draw(ledger, "policy")] == ["⊢ 1"]


def test_memory_is_bounded_and_the_same_seed_draws_the_same(tmp_path):
    ledger = filled(tmp_path, [(named("train"), "proved", 0, 5)] * 50)
    config = ReplayConfig(capacity=20)
    first = buffer.draw(ledger, "policy", config, 3, 1)
    assert len(first) == 20 and first == buffer.draw(ledger, "policy", config, 3, 1)
    assert first != buffer.draw(ledger, "policy", config, 3, 2)
    assert [r["state"] for r in first] == sorted((r["state"] for r in first), key=lambda s: int(s[2:]))


def states(ledger: Ledger, kind: str = "policy") -> list[str]:
    return [row.data["state"] for row in ledger.example_rows(kind)]


def test_the_disk_is_bounded_and_keeps_what_is_worth_most(tmp_path):
    train = [f"X.t{i}" for i in range(90) if split_of(f"X.t{i}") == "train"][:40]
    ledger = filled(tmp_path, [(n, "proved", 0, 100 if i % 4 == 0 else 1) for i, n in enumerate(train)])
    attempts = list(ledger.attempts())
    assert buffer.trim(ledger, ReplayConfig(on_disk=15), 1) == 25
    assert set(states(ledger)) >= {f"⊢ {i}" for i in range(0, 40, 4)}, "hard ones went before easy ones"
    assert [s for s in states(ledger) if int(s[2:]) % 4] == ["⊢ 34", "⊢ 35", "⊢ 37", "⊢ 38", "⊢ 39"], (
        "of equals the newest stay"
    )
    assert buffer.trim(ledger, ReplayConfig(on_disk=15), 1) == 0
    assert list(ledger.attempts()) == attempts and len(buffer.draw(ledger, "policy")) == 15


def test_the_file_takes_new_examples_in_the_place_of_old_ones(tmp_path):
    path = tmp_path / "ledger.sqlite"
    sizes = []
    for round in range(30):
        ledger = Ledger(path)
        rows = [("policy", {"state": f"⊢ {round} {i}" + "x" * 1000, "premises": [], "tactics": []}) for i in range(40)]
        ledger.record(Attempt(f"round {round}", Theorem(named("train"), ": True"), "proved", 1, 1, 0.1, "simp"), rows)
        buffer.trim(ledger, ReplayConfig(on_disk=100), round)
        assert len(states(ledger)) <= 100
        ledger.close()  # the write-ahead log goes into the file
        sizes.append(path.stat().st_size)
    assert sizes[-1] <= 1.2 * sizes[9], sizes


def test_duplicate_examples_are_kept_once(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    row = {"state": "⊢ p", "premises": [], "tactics": [["simp", 1.0]]}
    for i, (name, more) in enumerate([("a", {}), ("a", {}), ("a", {"tactics": [["omega", 1.0]]}), ("b", {})]):
        attempt = Attempt(f"round {i}", Theorem(name, ": True"), "proved", 1, 1, 0.1, "simp", model_version=i)
        ledger.record(attempt, [("policy", {**row, **more, "round": i, "reward": 1.0 + i})])
    assert buffer.trim(ledger, ReplayConfig(), 4) == 1
    assert [(row.theorem, row.data["round"]) for row in ledger.example_rows("policy")] == [("a", 1), ("a", 2), ("b", 3)]


def test_of_sampled_attempts_only_proofs_stay(tmp_path):
    """The tokens of every attempt would fill the disk, and each round would read them all."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    name = named("train")
    for r in (1, 2, 3):
        for k, ends in enumerate((("proved", "error"), ("error", "length"))):
            rows = [{"reward": float(e == "proved"), "ended": e, "calls": [((1, 2), (3,), (-0.5 * r,))]} for e in ends]
            attempt = Attempt(f"round {r}", Theorem(f"{name}{k}", ": True"), "proved", 1, 1, 0.1, model_version=r)
            ledger.record(attempt, [("rollouts", {"rollouts": rows, "round": r})])

    def left() -> list[tuple[int, list[str]]]:
        rows = [row.data for row in ledger.example_rows("rollouts")]
        return [(row["round"], [x["ended"] for x in row["rollouts"]]) for row in rows]

    whole = left()
    buffer.trim(ledger, ReplayConfig(), 1)
    assert left() == whole, "a run that is killed now learns from round 1 again"
    assert [buffer.trim(ledger, ReplayConfig(), 2) for _ in range(2)] == [1, 0]
    assert left() == [(1, ["proved"]), *whole[2:]], "round 3 is collected while the learner is at round 2"


def test_hard_and_fresh_proofs_come_first_and_weigh_more(tmp_path):
    train = [f"X.t{i}" for i in range(400) if split_of(f"X.t{i}") == "train"]
    ledger = filled(tmp_path, [(n, "proved", *((4, 30) if i % 2 else (0, 1))) for i, n in enumerate(train)])
    drawn = buffer.draw(ledger, "policy", ReplayConfig(capacity=100, exponent=1.0), version=4)
    hard = [r for r in drawn if int(r["state"][2:]) % 2]
    assert len(hard) > 65
    assert min(r["weight"] for r in hard) > max(r["weight"] for r in drawn if r not in hard)
    uniform = buffer.draw(ledger, "policy", ReplayConfig(capacity=100, prioritised=False), version=4)
    assert 35 < sum(int(r["state"][2:]) % 2 for r in uniform) < 65 and {r["weight"] for r in uniform} == {1.0}


def test_replay_weights_reach_the_learner(tmp_path):
    rows = [{"state": s, "premises": [], "tactics": [["t", 1.0]], "weight": w} for s, w in (("a", 2.0), ("b", 0.5))]
    assert {e.state: e.weight for e in policy_examples(rows)} == {"a": 2.0, "b": 0.5}


def test_replay_weights_reach_the_value_and_leave_the_share_of_solved_goals() -> None:
    found = {"a": (2.0, 1), "b": (0.5, 3), "c": (3.0, None), "d": (1.0, None), "e": (0.5, None), "f": (0.5, None)}
    rows = [{"state": s, "premises": [], "weight": w, "steps": n} for s, (w, n) in found.items()]
    rows.append(
        {"state": "b", "premises": [], "weight": 8.0, "steps": None}
    )  # drawn again in a later search that failed
    examples = {e.state: e.weight for e in value_examples(rows)}
    assert examples["b"] == 4 * examples["a"] and examples["a"] + examples["b"] == 2
    open_ = {s: w for s, w in examples.items() if s not in "ab"}
    assert len(open_) == 2 and sum(open_.values()) == pytest.approx(4)
    (s, w), (other, v) = open_.items()
    assert w / v == pytest.approx(found[s][0] / found[other][0])
    targets = [{**r, "td": 0.9 if r["steps"] else 0.0} for r in rows[:-1]]
    sums = dict.fromkeys(found, 0.0)
    for e in td_lambda.value_examples(targets, 0.95):
        sums[e.state] += e.weight
    assert {s: round(w, 6) for s, w in sums.items()} == {"a": 1.6, "b": 0.4, "c": 2.4, "d": 0.8, "e": 0.4, "f": 0.4}


@pytest.mark.parametrize("heavy", ["bound", "zero"])
def test_replay_weights_reach_the_retriever(heavy: str) -> None:
    def known(i: int) -> dict[str, Any]:
        good = "bound" if i % 2 else "zero"
        names = {x: f"T{i}.size_{x}" for x in ("bound", "zero", "one")}
        bad = [n for x, n in names.items() if x != good]
        return {**row(i), "good": [names[good]], "bad": bad, "weight": 4.0 if good == heavy else 0.25}

    trained, _ = train_retriever([known(i) for i in range(16)], library(), SelectionConfig(seconds=60, epochs=30))
    premises = library().select()
    retriever = DenseRetriever(premises, trained)
    first = [premises[int(np.argmax(retriever.score(row(i)["constants"])))].name for i in range(16, 24)]
    assert sum(name == f"T{i}.size_{heavy}" for i, name in enumerate(first, 16)) >= 7, first
