"""The assessors: their rows are every Lean call of training searches, they know what Lean will refuse, and searches ask accordingly."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from curricula.library import HeldOutLeak, split_of
from curricula.sampler import MatchConfig
from curricula.worlds.spec import world_of
from prover.errors import UserError
from prover.lean.pool import LeanPool
from prover.lean.server import Limits
from prover.lean.theorem import Goal, ProofState, StepResult, Theorem
from prover.models.assessor import CALL_BINS, HORIZON, OUTCOMES, STEP_BINS, AssessedValue, Assessment, Assessor
from prover.models.base import Query, Suggestion
from prover.models.ranker import Reader
from prover.models.tactic_templates import Explorer
from prover.premises.index import library_index
from prover.search.examples import Example
from prover.solve.job import Trace
from prover.solve.ledger import Attempt, Ledger
from prover.solve.statements import goal_of
from rl import buffer
from rl.algorithms.assessing import KIND, AssessingConfig, collect_assessed, is_held_out, train_assessor
from rl.algorithms.tactic_ranking import first_goal
from rl.attempt import Task, Workbench, collect, premise_source
from rl.config import LearnConfig, ProverConfig, RunConfig
from rl.curriculum import Curriculum
from rl.learned import Learned
from rl.metrics import compute
from rl.training_examples import rows as training_rows

SLOW = "have : (List.replicate 1000000000 0).length = 1000000000 := by decide +kernel"
CONFIG = ProverConfig(in_flight=1, actions="elementary", temperature=1.0, root_breadth=1e9)
WORLD = [w.theorem for w in world_of("world:logic?count=36&seed=1&difficulty=3-5&split=train")]
TRAIN = next(f"t{i}" for i in range(99) if split_of(f"t{i}") == "train" and not is_held_out(f"t{i}"))


class WithSlow:
    """The explorer, which says a slow tactic first on a theorem's first goal, once."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer, self.said = explorer, False

    def suggest(self, queries: Sequence[Query], n: int) -> list[list[Suggestion]]:
        found = self.explorer.suggest(queries, n)
        if self.said:
            return found
        self.said = True
        return [[Suggestion(SLOW, 0.0), *row] for row in found]


@dataclass
class Lean:
    """Real Lean, which records what it was asked."""

    pool: LeanPool
    asked: list[tuple[str, str]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)

    async def step(self, state: ProofState, tactics: Sequence[str]) -> list[StepResult]:
        found = await self.pool.step(state, tactics)
        self.asked += [(t, r.status) for t, r in zip(tactics, found, strict=True)]
        return found


@dataclass
class Collected:
    run: asyncio.Runner
    bench: Workbench
    lean: Lean
    rows: list[dict[str, Any]]
    calls: int
    assessor: Assessor
    metrics: dict[str, float]


@pytest.fixture(scope="module")
def collected() -> Iterator[Collected]:
    """Searches of a small world by real Lean, and the assessor that they teach."""
    index = library_index()
    explorer = Explorer(index, actions="elementary")
    policy: Any = WithSlow(explorer)
    with asyncio.Runner() as run:
        pool = LeanPool(1, limits=Limits(seconds=0.5), constants=True, terse=True)
        run.run(pool.start())
        lean = Lean(pool, [])
        bench = Workbench(lean, premise_source(index, CONFIG), CONFIG, 0, policy, explorer)  # type: ignore[arg-type]
        rows, calls = [], 0
        for theorem in WORLD:
            found = run.run(collect(Task(theorem, "explorer", 32, learn=True), bench))
            calls += found.lean_calls
            made = training_rows(theorem, found.trace, found.outcome == "found", 1.0, LearnConfig(assessor_seconds=1.0))
            rows += [data for kind, data in made if kind == KIND]
        assessor, metrics = train_assessor(rows, {}, AssessingConfig(seconds=60.0))
        assert assessor is not None
        yield Collected(run, bench, lean, rows, calls, assessor, metrics)
        run.run(pool.close())


@pytest.mark.lean
def test_every_lean_call_gives_a_label(collected: Collected) -> None:
    counts = Counter[str]()
    for row in collected.rows:
        counts.update({kind: len(tactics) for kind, tactics in row["outcomes"].items()})
    assert set(counts) == set(OUTCOMES) and counts["timeout"] == 1
    assert sum(counts.values()) == collected.calls
    assert counts["error"] + counts["timeout"] >= sum(status != "ok" for _, status in collected.lean.asked)
    solved = {row["theorem"] for row in collected.rows if row["steps"] is not None and "statement" in row}
    assert 0 < len(solved) < len(WORLD) and any(row["steps"] is None for row in collected.rows)


@pytest.mark.lean
def test_the_assessor_knows_what_lean_will_refuse(collected: Collected) -> None:
    """On theorems that it did not learn from."""
    m = collected.metrics
    assert compute.undocumented({f"assessor/{name}" for name in m}) == []
    assert m["error_of"] > 50 and m["error_auc"] > 0.8 and m["error_ece"] < 0.1
    assert m["progress_auc"] > 0.8 and m["provable_of"] == m["stated_of"] > 0
    assert m["tactics"] < collected.calls, "the held-out theorems' calls do not train"
    guess = Assessor(**{n: np.zeros_like(a) for n, a in vars(collected.assessor).items()})
    goal = first_goal(collected.rows[0]["state"], collected.rows[0]["constants"])
    assert guess.outcomes(goal, [Reader(goal, (), {}).read("rfl")]) == pytest.approx(1 / len(OUTCOMES))


@pytest.mark.lean
def test_the_switch_changes_what_lean_is_asked(collected: Collected) -> None:
    refused: dict[str, float] = {}
    asked: dict[str, list[str]] = {}
    theorems = [t for t in WORLD if is_held_out(t.name)]
    for name, uses in {"off": (), "on": ("tactics",)}.items():
        config: Any = replace(CONFIG, assess=uses)
        learned = Learned(assessor=collected.assessor)
        said = [learned.explorer(library_index(), 0, config).instances]

        class Model:
            """Says the elementary moves, all alike."""

            version = 1

            async def suggest(self, queries: Sequence[Query], n: int, moves: Any = said[0]) -> list[list[Suggestion]]:
                return [[Suggestion(t, -3.0, "model") for t, _ in moves(q.state, q.premises)] for q in queries]

        explorer = learned.explorer(library_index(), 0, config)
        bench = replace(
            collected.bench, config=config, trained_explorer=explorer, model=Model(), assessor=collected.assessor
        )
        collected.lean.asked.clear()
        for t in theorems:
            found = collected.run.run(collect(Task(t, "model", 8, explorer_weight=0.0, value=False), bench))
            assert 0 <= found.trace.stats["expected"] <= 1
        refused[name] = sum(s != "ok" for _, s in collected.lean.asked) / len(collected.lean.asked)
        asked[name] = [t for t, _ in collected.lean.asked]
    assert asked["on"] != asked["off"]
    assert refused["on"] < refused["off"] / 2


def rows(cost: int = 8) -> list[dict[str, Any]]:
    """Goals about lists cost `cost` calls and fail with `omega`; those about numbers are closed by it; those about functions stay open
    for 8 calls."""
    found = []
    for i, x in enumerate("abcdefghijklmnopqrstuvwxyz"):
        place = {"theorem": f"t{i}", "premises": [], "root": True, "statement": f"({x} : Nat) : {x} + {i} = {i} + {x}"}
        number = {"state": f"{x} : Nat\n⊢ {x} + {i} = {i} + {x}", "constants": ["Nat"], "steps": 1, "calls": 1}
        list_ = {"state": f"{x} : List Nat\n⊢ {x}.length = {i}", "constants": ["List"], "steps": 3, "calls": cost}
        never = {"state": f"{x} : Nat → Nat\n⊢ ∃ y, {x} y = {i}", "constants": ["Exists"], "steps": None, "calls": 8}
        found.append({**place, **number, "outcomes": {"closes": ["omega"], "progress": ["simp"]}})
        found.append({**place, **list_, "statement": None, "outcomes": {"error": ["omega"], "timeout": ["simp"]}})
        found.append({**place, **never, "statement": None, "outcomes": {"error": ["omega"]}})
    return found


@pytest.fixture(scope="module")
def assessor() -> Assessor:
    learned, metrics = train_assessor(rows(), {}, AssessingConfig(seconds=60.0, epochs=40))
    assert learned is not None and metrics["goals"] + sum(map(is_held_out, (f"t{i}" for i in range(26)))) * 4 == 26 * 4
    return learned


NUMBER = first_goal("z : Nat\n⊢ z + 99 = 99 + z", ("Nat",))
LIST = first_goal("z : List Nat\n⊢ z.length = 99", ("List",))
FUNCTION = first_goal("z : Nat → Nat\n⊢ ∃ y, z y = 99", ("Exists",))


def test_what_goals_cost(assessor: Assessor) -> None:
    number, list_, function = (assessor.assess(g) for g in (NUMBER, LIST, FUNCTION))
    assert number.provable(1) > 0.8 and list_.provable(4) < 0.2 < 0.8 < list_.provable(8)
    assert function.provable(8) < 0.2, "it was not proved in 8 calls, and nothing says that it cannot be in more"
    assert number.steps.argmax() == 0 and list_.steps.argmax() == 2
    values = [v.value(0.9) for v in AssessedValue(assessor).evaluate([_query(NUMBER), _query(LIST)])]
    assert values[0] > values[1] > 0 and 0 < list_.provable(HORIZON) <= 1


def test_what_tactics_do(assessor: Assessor) -> None:
    number, list_ = (
        assessor.outcomes(g, [Reader(g, (), {}).read(t) for t in ("omega", "simp")]) for g in (NUMBER, LIST)
    )
    named = [[OUTCOMES[k] for k in found.argmax(1)] for found in (number, list_)]
    assert named == [["closes", "progress"], ["error", "timeout"]]
    assert number.sum(1) == pytest.approx(1.0)


def test_a_cost_between_doublings() -> None:
    calls = np.full(CALL_BINS, 1 / CALL_BINS)
    a = Assessment(calls, np.full(STEP_BINS, 1 / STEP_BINS))
    bins = [a.provable(n) * CALL_BINS for n in (0.5, 1, 2, 2**1.5, 4, 1024, 10**9)]
    assert bins == pytest.approx([0, 1, 2, 2.5, 3, 11, 11])


def test_the_order_of_a_mixture(assessor: Assessor) -> None:
    """What Lean would refuse keeps a rest of its probability."""
    said = [Suggestion("omega", -0.1, "model"), Suggestion("simp", -0.2, "model")]
    for goal, lost in ((NUMBER, (0.0, 0.2)), (LIST, (1.0, 4.7))):
        (found,) = Explorer(assessor=assessor).assessed([_query(goal)], [said])
        left = {s.tactic: s.logprob for s in found}
        assert [s.logprob for s in found] == sorted(left.values(), reverse=True)
        assert set(left) == {"omega", "simp"} and lost[0] <= -0.1 - left["omega"] <= lost[1]
        assert Explorer().assessed([_query(goal)], [said]) == [said]


def _query(goal: Goal) -> Query:
    return Query(ProofState(1, "k", (goal,)))


def test_an_assessor_is_kept(assessor: Assessor, tmp_path: Any) -> None:
    assessor.save(tmp_path / "000001.npz")
    again = Assessor.load(tmp_path / "000001.npz")
    assert again.assess(LIST).calls == pytest.approx(assessor.assess(LIST).calls, abs=1e-2)
    (tmp_path / "broken.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"broken\.npz: not an assessor"):
        Assessor.load(tmp_path / "broken.npz")


def test_nothing_to_learn_from() -> None:
    held = next(f"t{i}" for i in range(99) if is_held_out(f"t{i}"))
    assert train_assessor([], {})[0] is None
    assert train_assessor([{**r, "theorem": held} for r in rows()], {})[0] is None
    assert train_assessor(rows(), {}, AssessingConfig(seconds=0.0))[0] is None


EXAMPLE = Example(
    "⊢ p",
    "k",
    (),
    (),
    9,
    True,
    False,
    2,
    0.9,
    (("simp", 1), ("intro", 2)),
    (("rfl", "error"), ("decide", "timeout"), ("omega", "crash"), ("skip", "cycle")),
    0,
    tried=("rfl", "decide", "omega", "skip", "simp", "intro", "left"),
)


def test_the_label_of_a_tactic_is_what_lean_said_of_it() -> None:
    """A process that died says nothing about the tactic, and a tactic below which the search failed made progress."""
    ((kind, data),) = collect_assessed([EXAMPLE], True, Theorem(TRAIN, ": p"))
    assert kind == KIND and (data["steps"], data["calls"], data["statement"]) == (2, 9, ": p")
    wanted = {"error": ["rfl", "skip"], "timeout": ["decide"], "closes": ["simp"], "progress": ["intro", "left"]}
    assert data["outcomes"] == wanted
    assert not list(collect_assessed([EXAMPLE], False, Theorem(TRAIN, ": p"))), "a proof without a verdict"
    silent = replace(EXAMPLE, solved=False, best=(), errors=(("omega", "crash"),), tried=("omega",))
    assert not list(collect_assessed([silent], False, Theorem(TRAIN, ": p")))


def test_a_held_out_theorem_never_gives_rows(tmp_path: Any) -> None:
    outside = next(f"t{i}" for i in range(99) if split_of(f"t{i}") == "held-out")
    trace = Trace(examples=[EXAMPLE])
    with pytest.raises(HeldOutLeak):
        training_rows(Theorem(outside, ": p"), trace, True, 1.0, LearnConfig(assessor_seconds=1.0))
    made = training_rows(Theorem(TRAIN, ": p"), trace, True, 1.0, LearnConfig(assessor_seconds=1.0))
    assert [kind for kind, _ in made].count(KIND) == 1
    none = training_rows(Theorem(TRAIN, ": p"), trace, True, 1.0, LearnConfig(assessor_seconds=0.0))
    assert KIND not in {kind for kind, _ in none}
    for name, also in ((outside, ()), (TRAIN, (TRAIN,))):  # by its split, and by its set
        ledger = Ledger(tmp_path / f"{name}.sqlite")
        ledger.set("withheld", list(also))
        ledger.record(Attempt("round 1", Theorem(name, ": p"), "proved", 9, 9, 0.0), made)
        with pytest.raises(HeldOutLeak):
            buffer.draw(ledger, KIND)


def test_a_goal_from_a_statement() -> None:
    goal = goal_of("(a b : Prop) {h0 : Pair a b} [Inhabited α] (f : (y : α) → α) :\n  Either a b")
    assert goal is not None and goal.target == "Either a b"
    assert [n for n, _ in goal.hypotheses] == ["a", "b", "h0", "inst", "f"] and dict(goal.hypotheses)[
        "h0"
    ] == "Pair a b"
    assert {"Pair", "Either", "Inhabited"} <= set(goal.constants) and "a" not in goal.constants
    assert goal_of("(n : Nat") is None and goal_of(": p") == Goal("⊢ p", (), "p", ("p",))


def test_the_matchmaker_asks_the_assessor_about_new_theorems(assessor: Assessor, tmp_path: Any) -> None:
    """Of theorems that were tried it knows more; it uses the assessor of the version that a round needs, so that a resumed run plans the
    same; and an old run has none."""
    names = [n for i in range(99) if split_of(n := f"t{i}") == "train"][:6]
    new = [Theorem(n, f"(n : Nat) : n + {i} = {i} + n", source="f:1") for i, n in enumerate(names[:4])]
    theorems = [
        *new,
        Theorem(names[4], "(n : Nat) : n = n", source="f:1"),
        Theorem(names[5], None, "Nat.le", source="l"),
    ]
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.record(Attempt("round 1", theorems[4], "budget", 16, None, 0.0, stats={"calls_allowed": 16}))
    config = RunConfig(name="run", runs=str(tmp_path), matchmaker=MatchConfig(assess=True))
    assessor.save(tmp_path / "run/assessors/000001.npz")

    def estimates(config: RunConfig, r: int) -> dict[str, float]:
        curriculum = Curriculum(config, theorems, ledger)
        curriculum.read(r)
        return curriculum.sampler.estimates(curriculum._expected(r))

    plain = estimates(replace(config, matchmaker=MatchConfig()), 2)
    found = estimates(config, 2)
    assert {n for n in names if found[n] != plain[n]} == {t.name for t in new}
    goal = goal_of(new[0].statement or "")
    assert goal is not None and found[names[0]] == pytest.approx(assessor.assess(goal).provable(16), abs=0.01)
    assert estimates(config, 3)[names[0]] == found[names[0]], "round 2 has no assessor of its own"
    assert estimates(config, 1) == estimates(replace(config, matchmaker=MatchConfig()), 1)
    lagging = replace(config, learn=LearnConfig(max_staleness=1, assessor_seconds=1.0))
    assert estimates(lagging, 3)[names[0]] == found[names[0]]
    planned = Curriculum(config, theorems, ledger).tasks(2, "model", {}, True)
    assert planned == Curriculum(config, theorems, ledger).tasks(2, "model", {}, True)
