"""The tactic ranker: its features, learning from tried tactics, and its predictions."""

from __future__ import annotations

import math

import pytest

from prover.errors import UserError
from prover.lean.theorem import Goal, ProofState
from prover.models.base import Query
from prover.models.fresh_names import NameObfuscator
from prover.models.ranker import Reader, TacticRanker
from prover.models.tactic_templates import Explorer
from prover.premises.index import Premise
from prover.search.examples import Example
from rl.algorithms.tactic_ranking import KIND, RankingConfig, collect_tried, first_goal, train_ranker

TACTICS = ("simp", "omega", "induction {x} <;> simp_all", "cases {x} <;> simp", "simp_all", "decide")


def row(x: str, type_: str, target: str, worked: str, constants: tuple[str, ...]) -> dict:
    said = [t.format(x=x) for t in TACTICS]
    return {
        "state": f"{x} : {type_}\n⊢ {target}",
        "constants": list(constants),
        "premises": [],
        "tried": said,
        "worked": [worked.format(x=x)],
    }


def rows() -> list[dict]:
    """Lists go by induction, numbers by `omega` or else by cases; names of variables say nothing."""
    found = []
    for i, x in enumerate("abcdefghijkl"):
        found.append(
            row(x, "List Nat", f"{x}.length = {i}", "induction {x} <;> simp_all", ("List", "List.length", "Nat"))
        )
        found.append(row(x, "Nat", f"{x} + {i} = 7", "omega", ("Nat", "HAdd.hAdd")))
        found.append(row(x, "Nat", f"{x} * {i} * {x} = 7", "cases {x} <;> simp", ("Nat", "HMul.hMul")))
    return found


@pytest.fixture(scope="module")
def ranker() -> TacticRanker:
    learned, metrics = train_ranker(rows(), {}, RankingConfig(seconds=30.0, epochs=40))
    assert learned is not None and metrics["goals"] == 36 and metrics["loss"] < 0.5
    return learned


def order(ranker: TacticRanker, text: str, constants: tuple[str, ...], x: str) -> list[str]:
    goal = first_goal(text, constants)
    said = [t.format(x=x) for t in TACTICS]
    reader = Reader(goal, [], {})
    return [said[i] for i, _ in ranker.rank(goal, [reader.read(t) for t in said], 6)]


def test_tactics_that_worked_on_similar_goals_come_first(ranker):
    assert (
        order(ranker, "zs : List Nat\n⊢ zs.length = 99", ("List", "List.length", "Nat"), "zs")[0]
        == "induction zs <;> simp_all"
    )
    assert order(ranker, "w : Nat\n⊢ w + 99 = 7", ("Nat", "HAdd.hAdd"), "w")[0] == "omega"
    assert order(ranker, "w : Nat\n⊢ w * 99 * w = 7", ("Nat", "HMul.hMul"), "w")[0] == "cases w <;> simp"


def test_the_next_tactic_depends_on_the_failed_ones():
    """Two tactics that work on the same goals: where one has failed, the third comes before the other."""
    data = []
    for i in range(40):
        worked = ["simp", "simp_all"] if i % 5 else ["decide"]
        data.append(
            {
                "state": f"n : Nat\n⊢ n = {i}",
                "constants": ["Nat"],
                "premises": [],
                "worked": worked,
                "tried": ["simp", "simp_all", "decide"],
            }
        )
    learned, _ = train_ranker(data, {}, RankingConfig(seconds=30.0, epochs=40))
    assert learned is not None
    goal = first_goal("n : Nat\n⊢ n = 77", ["Nat"])
    reader = Reader(goal, [], {})
    said = ["simp", "simp_all", "decide"]
    names = [said[i] for i, _ in learned.rank(goal, [reader.read(t) for t in said], 3)]
    assert names[0] in ("simp", "simp_all") and names[1] == "decide"


def test_probabilities_fall_and_make_at_most_one(ranker):
    goal = first_goal("w : Nat\n⊢ w + 99 = 7", ("Nat", "HAdd.hAdd"))
    reader = Reader(goal, [], {})
    probabilities = [p for _, p in ranker.rank(goal, [reader.read(t.format(x="w")) for t in TACTICS], 6)]
    assert probabilities == sorted(probabilities, reverse=True) and 0 < sum(probabilities) <= 1 + 1e-9
    assert ranker.rank(goal, [], 6) == []


def test_hypotheses_and_premises_are_blanked_out():
    goal = Goal("", (("xs", "List Nat"), ("h", "xs = []")), "xs.length = 0", ("List.length",))
    reader = Reader(goal, ["List.length_nil", "List.length_cons", "List.length"], {})
    same = [
        ("simp [List.length_nil]", "simp [List.length_cons]"),
        ("cases xs <;> rfl", "cases h <;> rfl"),
        ("simp [List.length_nil, List.length_cons]", "simp [List.length_cons, List.length_nil, List.length_cons]"),
    ]
    for a, b in same:
        assert reader.read(a).skeleton == reader.read(b).skeleton
    assert reader.read("simp [List.length]").skeleton != reader.read("simp [List.length_nil]").skeleton
    assert reader.read("cases xs <;> rfl").features != reader.read("cases h <;> rfl").features


def test_the_explorer_says_all_it_has_in_the_learned_order(ranker):
    goal = first_goal("w : Nat\n⊢ w + 99 = 7", ("Nat", "HAdd.hAdd"))
    query = Query(ProofState(1, "k", (goal,)))
    plain, ranked = Explorer(), Explorer(ranker=ranker)
    (everything,) = plain.suggest([query], 1000)
    (ordered,) = ranked.suggest([query], 1000)
    assert {s.tactic for s in ordered} == {s.tactic for s in everything} and ordered[0].tactic == "omega"
    (first,), (second,) = ranked.suggest([query], 5), ranked.suggest([Query(query.state, (), 1)], 5)
    assert [s.tactic for s in [*first, *second]] == [s.tactic for s in ordered[:10]]
    (judged,) = ranked.suggest([query], 1000, [["omega_of_elsewhere", "omega"]])
    assert {s.tactic: s.source for s in judged}["omega_of_elsewhere"] == "" and judged[0].source == "explorer"


def test_progress_comes_before_errors():
    """Three levels: what starts a proof, what leaves open goals, and errors."""
    data = [{**r, "errors": ["omega", "simp_all", "decide"]} for r in rows() if r["worked"][0].startswith("induction")]
    learned, _ = train_ranker(data, {}, RankingConfig(seconds=20.0, epochs=40))
    assert learned is not None
    found = order(learned, "zs : List Nat\n⊢ zs.length = 99", ("List", "List.length", "Nat"), "zs")
    assert found[0].startswith("induction") and set(found[1:3]) == {"simp", "cases zs <;> simp"}


def test_a_tactic_that_often_fails_is_first_where_it_works():
    """Goals whose open ends were all tried first must not push the errors' scores down without end."""
    known = [f"{h} : {p}\n⊢ {p}" for h, p in zip("abcdefghij", "PQRSTPQRST", strict=True)]
    common = {"constants": [], "premises": []}
    closed = [
        {**common, "state": s, "tried": ["assumption", "intro x", "skip"], "worked": ["assumption"], "errors": ["skip"]}
        for s in known
    ]
    opened = [
        {
            **common,
            "state": f"{s.split()[0]} : {s[-1]}\n⊢ {s[-1]} → Z{i}",
            "tried": ["intro x", "skip", "assumption"],
            "worked": ["intro x"],
            "errors": ["assumption"],
        }
        for i, s in enumerate(known)
    ]
    learned, metrics = train_ranker([*closed, *opened], {}, RankingConfig(seconds=20.0, epochs=40))
    assert learned is not None and metrics["loss"] < 1.0
    said = ["skip", "assumption", "intro x"]
    for text, best in (("w : U\n⊢ U", "assumption"), ("w : U\n⊢ U → V", "intro x")):
        goal = first_goal(text, ())
        assert said[learned.rank(goal, [Reader(goal, [], {}).read(t) for t in said], 3)[0][0]] == best


def test_structure_of_unseen_hypotheses():
    """What is learned of implications and of own connectives holds for hypotheses and propositions never seen."""
    data = []
    for p, q, r in ("PQR", "QRP", "RPS", "STP", "TSQ", "PRT"):
        context = f"h0 : Both {p} {r}\nh1 : {r} → {q}\nh2 : {q} → {p}\nh3 : {p}"
        said = ["apply h1", "apply h2", "cases h0", "exact h3"]
        for target, worked in ((q, "apply h1"), (p, "exact h3"), (r, "cases h0")):
            data.append(
                {
                    "state": f"{context}\n⊢ {target}",
                    "constants": ["Both"],
                    "premises": [],
                    "tried": said,
                    "worked": [worked],
                }
            )
    learned, _ = train_ranker(data, {}, RankingConfig(seconds=20.0, epochs=40))
    assert learned is not None
    context = "u : V → W\nv : X → V\nw : W\nx : Both W X"
    said = ["apply u", "apply v", "cases x", "exact w"]
    for target, best in (("V", "apply v"), ("W", "exact w"), ("X", "cases x")):
        goal = first_goal(f"{context}\n⊢ {target}", ("Both",))
        ranked = learned.rank(goal, [Reader(goal, [], {}).read(t) for t in said], 4)
        assert said[ranked[0][0]] == best


def test_the_replays_priorities_reach_the_ranker():
    """Of two goals that look alike and contradict each other, the one with the higher priority decides."""
    state = {"state": "x : Nat\n⊢ x = 1", "constants": ["Nat"], "premises": [], "tried": ["simp", "omega"]}
    other = {**state, "state": "y : Nat\n⊢ y = 1"}
    for first, second, winner in ((4.0, 0.25, "simp"), (0.25, 4.0, "omega")):
        data = [{**state, "worked": ["simp"], "weight": first}, {**other, "worked": ["omega"], "weight": second}]
        learned, _ = train_ranker(data, {}, RankingConfig(seconds=20.0, epochs=40))
        assert learned is not None
        goal = first_goal("z : Nat\n⊢ z = 1", ("Nat",))
        ranked = learned.rank(goal, [Reader(goal, [], {}).read(t) for t in ("simp", "omega")], 2)
        assert ("simp", "omega")[ranked[0][0]] == winner


def test_only_audited_proofs_teach():
    example = Example(
        "⊢ p", "k", (), (), 3, True, False, 1, 0.9, (("simp", 1),), (("rfl", "error"),), 0, tried=("rfl", "simp")
    )
    assert list(collect_tried([example], proved=False)) == []
    ((kind, data),) = collect_tried([example], proved=True)
    assert kind == KIND and list(data["worked"]) == ["simp"] and list(data["tried"]) == ["rfl", "simp"]
    assert data["errors"] == ["rfl"]


def test_nothing_to_learn_from():
    assert train_ranker([], {})[0] is None
    assert train_ranker(rows(), {}, RankingConfig(seconds=0.0))[0] is None, "no time: random numbers are no ranker"
    assert (
        train_ranker([{"state": "⊢ p", "constants": [], "premises": [], "worked": ["simp"], "tried": ["simp"]}], {})[0]
        is None
    )


def test_a_ranker_is_kept(ranker, tmp_path):
    ranker.save(tmp_path / "000001.npz")
    again = TacticRanker.load(tmp_path / "000001.npz")
    text = "w : Nat\n⊢ w + 99 = 7"
    assert order(again, text, ("Nat", "HAdd.hAdd"), "w") == order(ranker, text, ("Nat", "HAdd.hAdd"), "w")
    (tmp_path / "broken.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"broken\.npz: not a tactic ranker"):
        TacticRanker.load(tmp_path / "broken.npz")
    with pytest.raises(UserError, match="No such file"):
        TacticRanker.load(tmp_path / "none.npz")


def test_under_fresh_names_the_ranker_sees_none_of_the_library():
    """What was learned of a name is lost, and what was learned of shapes is kept; the tactics said are the true ones."""
    named = [
        {
            "state": f"n : Nat\n⊢ A{w}.len n = {i}",
            "constants": [f"A{w}.len"],
            "premises": [],
            "tried": ["simp", "omega"],
            "worked": [t],
        }
        for i in range(20)
        for w, t in (("xy", "simp"), ("vw", "omega"))
    ]
    learned, _ = train_ranker(named, {}, RankingConfig(seconds=30.0, epochs=40, fresh_names=0.0))

    def first(ranker, w: str, obfuscator) -> str:
        goal = first_goal(f"n : Nat\n⊢ A{w}.len n = 99", [f"A{w}.len"])
        explorer = Explorer(ranker=ranker, obfuscator=obfuscator)
        (found,) = explorer.suggest([Query(ProofState(1, "k", (goal,)))], 500)
        return next(s.tactic for s in found if s.tactic in ("simp", "omega"))

    assert first(learned, "xy", None) == "simp" and first(learned, "vw", None) == "omega"
    right = sum(
        first(learned, w, NameObfuscator(i)) == t for i in range(12) for w, t in (("xy", "simp"), ("vw", "omega"))
    )
    assert 4 < right < 20, "without the name the two cannot be told apart but by luck"


def test_training_under_fresh_names_too_generalises_to_other_libraries():
    """A lemma's name says always which one works, and whether it speaks of the goal says it mostly. Who sees names only leans on them;
    under other names the rest has to do. And no made-up word says anything: all vocabularies give the same."""
    functions = ("map", "zip", "take", "drop", "join", "sum")
    known = {
        f"A.{w}_{k}": Premise(f"A.{w}_{k}", "M", "Eq", (f"A.{w}", "Nat.add"), 1, True, ("Eq", f"A.{w}"))
        for w in functions
        for k in ("good", "bad")
    }
    rows = []
    for i in range(120):
        w, other = functions[i % 6], functions[(i + 1 + i // 6 % 5) % 6]
        right, wrong = (f"A.{w}_good", f"A.{other}_bad") if i % 4 else (f"A.{other}_good", f"A.{w}_bad")
        lemmas = [right, wrong][:: 1 if i % 2 else -1]
        said = [f"rw [{x}]" for x in lemmas]
        rows.append(
            {
                "state": f"n : Nat\n⊢ A.{w} n = {i}",
                "constants": [f"A.{w}"],
                "premises": lemmas,
                "tried": said,
                "worked": [f"rw [{right}]"],
            }
        )

    def fitting(ranker, obfuscator: NameObfuscator) -> float:
        """Mean probability of the lemma that speaks of the goal, where names say nothing."""
        total = 0.0
        for i, w in enumerate(functions):
            goal = first_goal(f"n : Nat\n⊢ A.{w} n = 99", [f"A.{w}"])
            lemmas = (f"A.{w}_bad", f"A.{functions[(i + 2) % 6]}_bad")[:: 1 if i % 2 else -1]
            query = Query(ProofState(0, "", (goal,)), lemmas)
            shown = obfuscator.obfuscate(query)
            reader = Reader(
                shown.state.goals[0], shown.premises, obfuscator.obfuscate_premises([known[x] for x in lemmas])
            )
            candidates = [reader.read(obfuscator.obfuscate_tactic(f"rw [{x}]", query)) for x in lemmas]
            (first, p), *_ = ranker.rank(shown.state.goals[0], candidates, 2)
            total += p if lemmas[first].startswith(f"A.{w}_") else 1 - p
        return total / len(functions)

    plain, learned = (
        train_ranker(rows, known, RankingConfig(seconds=60.0, epochs=30, fresh_names=share))[0] for share in (0.0, 0.8)
    )
    with_names, without = fitting(plain, NameObfuscator(1000)), fitting(learned, NameObfuscator(1000))
    assert without > with_names + 0.05, (without, with_names)
    assert [fitting(learned, NameObfuscator(seed)) for seed in (1001, 1002)] == pytest.approx([without] * 2)


def test_tactics_said_under_fresh_names_are_true_ones(ranker):
    goal = first_goal("xs : List Nat\n⊢ xs.length = 3", ("List", "List.length"))
    query = Query(ProofState(1, "k", (goal,)), ("List.length_cons", "List.length"))
    (plain,) = Explorer().suggest([query], 500)
    (masked,) = Explorer(ranker=ranker, obfuscator=NameObfuscator()).suggest([query], 500)
    assert {s.tactic for s in masked} == {s.tactic for s in plain}


def test_templates_keep_a_share_beside_a_ranker(monkeypatch: pytest.MonkeyPatch):
    """A tactic that never worked where the ranker learned is said with a probability, in its old place among its like."""
    rows = [
        {
            "state": f"n : Nat\n⊢ n + {i} = 3",
            "constants": ["Nat"],
            "premises": [],
            "tried": ["grind", "decide", "omega"],
            "worked": ["omega"],
        }
        for i in range(30)
    ]
    learned, _ = train_ranker(rows, {}, RankingConfig(seconds=30.0, epochs=40))
    query = Query(ProofState(1, "k", (first_goal("n : Nat\n⊢ n + 99 = 3", ("Nat",)),)))

    def said(floor: float) -> dict[str, float]:
        monkeypatch.setattr("prover.models.tactic_templates.FLOOR", floor)
        (found,) = Explorer(ranker=learned).suggest([query], 500)
        assert [s.logprob for s in found] == sorted((s.logprob for s in found), reverse=True)
        return {s.tactic: math.exp(s.logprob) for s in found}

    none, some, all_ = said(0.0), said(0.3), said(1.0)
    assert max(none, key=none.__getitem__) == max(some, key=some.__getitem__) == "omega"
    assert none["grind"] < 0.001 < 0.3 * all_["grind"] <= some["grind"]
    assert set(none) == set(some) == set(all_) and sum(some.values()) <= 1 + 1e-6
