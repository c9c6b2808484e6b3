"""The search benchmark: shared answers change no result, results are kept, totals match the lines."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings

from curricula.library import library_set
from prover.cli import main
from prover.errors import UserError
from prover.lean.theorem import Goal, ProofState, Theorem
from prover.models.base import Query
from prover.models.size_value import SizeValue
from prover.premises.index import library_index
from prover.search import RULES, Search, SearchConfig
from prover.solve.ledger import Attempt
from rl.answers import Answers
from rl.bench.curves import curves
from rl.bench.search import Comparison, compared
from rl.bench.variants import variant, variants
from tests.cli.conftest import warm_lean
from tests.search.synthetic import Problem, Tactics, World, problems

__all__ = ["warm_lean"]

BASE = SearchConfig(in_flight=1, model_thread=False)


class Opens(World):
    """A synthetic world as a Lean environment."""

    async def open(self, theorem: Theorem) -> ProofState:
        return self.state(0)


def searched(env: Any, root: ProofState, problem: Problem, rule: str) -> tuple[Any, ...]:
    config = SearchConfig(selection=rule, in_flight=1, model_thread=False, suggestions=3)

    async def run() -> tuple[Any, ...]:
        search = Search(root, env, Tactics(problem), config=config)
        result = await search.run()
        tree = [(e.tactic, e.status, e.visits) for n in search.graph.nodes.values() for e in n.edges]
        await search.close()
        return result.outcome, result.lean_calls, result.lean_calls_to_solve, tree

    return asyncio.run(run())


@given(problems())
@settings(max_examples=40, deadline=None)
def test_shared_answers_change_no_search_and_nothing_is_asked_twice(problem: Problem) -> None:
    world = Opens(problem)
    answers = Answers(Theorem("t", ": True"), cast(Any, world))
    root = asyncio.run(answers.root())
    for rule in RULES:
        alone = Opens(problem)
        assert searched(answers, root, problem, rule) == searched(alone, alone.state(0), problem, rule)
    assert len(world.steps) == len(set(world.steps)) == answers.asked
    asyncio.run(answers.close())
    assert not world.held


@given(problems())
@settings(max_examples=25, deadline=None)
def test_stored_answers_come_back_and_new_ones_are_asked_by_replay(tmp_path_factory: Any, problem: Problem) -> None:
    path = tmp_path_factory.mktemp("answers") / "sub" / "a.gz"
    first = Answers(Theorem("t", ": True"), cast(Any, Opens(problem)))
    expected = searched(first, asyncio.run(first.root()), problem, "best_first")
    first.save(path)
    world = Opens(problem)
    again = Answers(Theorem("t", ": True"), cast(Any, world))
    again.load(path)
    assert not again.changed
    assert searched(again, asyncio.run(again.root()), problem, "best_first") == expected
    assert again.holds_proof() == (expected[0] == "proved")
    assert again.asked == 0 and not world.steps and not again.changed
    alone = Opens(problem)
    other = searched(again, asyncio.run(again.root()), problem, "uniform")
    assert other == searched(alone, alone.state(0), problem, "uniform")
    asyncio.run(again.close())
    assert not world.held


def test_a_broken_file_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(b"\x1f\x8bnot gzip at all")
    answers = Answers(Theorem("t", ": True"), cast(Any, Opens(Problem(((),)))))
    answers.load(path)
    assert asyncio.run(answers.root()).key == "k0"


def test_totals_are_what_the_lines_say() -> None:
    def attempts(**solved_at: int | None) -> list[Attempt]:
        return [
            Attempt("search", Theorem(name, ": True"), "found" if at else "budget", at or 100, at, 0.0)
            for name, at in solved_at.items()
        ]

    results = {
        ("puct", 0): attempts(a=10, b=None),
        ("puct", 1): attempts(a=60, b=5),
        ("best_first", 0): attempts(a=40, b=None),
        ("best_first", 1): attempts(a=40, b=None),
    }
    figures = curves(results, (16, 100))
    assert figures["total"] == 4
    puct = figures["solved"]["puct"]
    assert [puct["16"]["solved"], puct["100"]["solved"]] == [2, 3]
    assert puct["16"]["low"] < 0.5 < puct["16"]["high"]
    assert figures["calls_per_solved"]["puct"] == {
        "16": (10 + 16 + 16 + 5) / 2,
        "100": round((10 + 60 + 100 + 5) / 3, 1),
    }
    assert (
        figures["solved"]["best_first"]["16"]["solved"] == 0 and figures["calls_per_solved"]["best_first"]["16"] is None
    )
    assert figures["against"]["puct"]["100"]["difference"] == 0.25


def test_searches_by_what_people_type() -> None:
    v = variant("puct_size:c_init=0.5:combine=sum:suggestions=8", BASE)
    assert (v.value, v.config.selection, v.config.c_init, v.config.combine, v.config.suggestions) == (
        "size",
        "puct",
        0.5,
        "sum",
        8,
    )
    assert variant("best_first", BASE).value == "none" and variant("puct_value", BASE).value == "model"
    for wrong in ("pct", "puct:c=1", "puct:c_init=x", "puct:discount=2", "puct:combine=median", "puct:temperature=0"):
        with pytest.raises(UserError, match="--searches"):
            variant(wrong, BASE)
    with pytest.raises(UserError, match="--searches"):
        variants(["", " "], BASE)


@pytest.mark.parametrize("length", [0, 10, 40, 400, 10**9])
def test_longer_goals_take_longer(length: int) -> None:
    def steps(n: int, goals: int = 1) -> float:
        state = ProofState(0, "k", tuple(Goal("", target="x" * n) for _ in range(goals)))
        [estimate] = SizeValue().evaluate([Query(state)])
        assert sum(estimate.probs) == pytest.approx(1.0) and min(estimate.probs) >= 0.0
        return sum((i + 1) * p for i, p in enumerate(estimate.probs))

    n = min(length, 10**6)
    assert 1.0 <= steps(n) <= steps(2 * n) <= 16.0
    assert steps(n) <= steps(n, 2)


@pytest.mark.lean
def test_a_comparison_is_kept_and_goes_on(tmp_path: Path) -> None:
    index = library_index()
    theorems = library_set(index, "validation", ("Init.Data.Bool",), limit=4)

    def run(searches: tuple[str, ...], count: int, **options: Any) -> dict[str, Any]:
        c = Comparison(
            theorems[:count], index, None, searches, (4, 12), (0,), tmp_path, overlap_theorems=0, processes=1, **options
        )
        return asyncio.run(compared(c))

    first = run(("puct", "best_first"), 2)
    assert first["total"] == 2 and first["lean_calls"] > first["lean_steps"] > 0
    again = run(("puct", "best_first"), 2)
    assert again["lean_steps"] == 0 and again["solved"] == first["solved"]
    more = run(("puct", "best_first", "puct_size"), 4)
    assert more["total"] == 4 and more["lean_steps"] > 0
    assert set(more["solved"]) == {"puct", "best_first", "puct_size"}
    none = run(("breadth",), 4, minutes=0.0)
    assert none["total"] == 0 and none["left_out"] == 4
    (tmp_path / "ledger.sqlite").unlink()  # the answers alone give the same results
    replayed = run(("puct", "best_first", "puct_size"), 4)
    assert replayed["lean_steps"] == 0 and replayed["solved"] == more["solved"]
    closed = run(("puct", "rollout:c_uct=2"), 4, recorded=True)
    provable = replayed["solved"]["puct"]["12"]["solved"]
    assert closed["utilisation"] == closed["orchestration_share"] == {}  # Lean did nothing, but the keys are there
    assert closed["lean_steps"] == 0 and closed["total"] + closed["left_out"] == 4 and closed["total"] >= provable
    with pytest.raises(UserError, match="needs a model"):
        run(("puct_value",), 2)


@pytest.mark.lean
@pytest.mark.slow
def test_how_busy_lean_is(tmp_path: Path) -> None:
    index = library_index()
    c = Comparison(
        library_set(index, "validation", limit=3), index, None, ("puct",), (16,), (0,), overlap_theorems=3, processes=1
    )
    figures = asyncio.run(compared(c))
    assert 0 < figures["utilisation"]["puct"]["lean"] <= 1.05
    assert 0 < figures["search_share"]["puct"] < 1 and 0 < figures["orchestration_share"]["puct"] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "nowhere"], "--checkpoint nowhere: no checkpoint in it"),
        (["--checkpoint", "empty"], "--checkpoint empty: no config.json; give a checkpoint folder"),
        (["--minutes", "0"], "--minutes 0: must be more than 0"),
        (["--record", "empty/model.safetensors"], "is a file; name a folder"),
        (["--recorded"], "give its --record FOLDER"),
        (["--searches", "puct_value"], "needs a model"),
        (["--searches", "alphabeta"], "available: puct_value, puct_size, puct"),
        (["--budgets", "16,many"], "--budgets 16,many: must be numbers of Lean calls"),
        (["--seeds", "0"], "must be at least 1"),
    ],
)
def test_bad_options_are_named(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "model.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="^2$"):
        main(["bench", "search", "--quick", "--json", *options])
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1, said.err
