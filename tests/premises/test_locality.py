"""A learned retriever sees where a premise stands: in real Lean files, the lemmas that proofs use are the nearest, or the farthest."""

from __future__ import annotations

import numpy as np
import pytest

from prover.lean.project import SourceModule
from prover.lean.server import LeanServer, Limits
from prover.lean.theorem import ProofState, Theorem
from prover.premises.dense import DenseWeights
from prover.premises.index import LibraryIndex, ModuleInfo, Premise
from prover.premises.local import local_premises
from prover.premises.locality import FEATURES, Place, locality, near, shared
from prover.premises.retrieve import PremiseSource
from prover.search.examples import Example
from rl.algorithms.premise_selection import SelectionConfig, collect_premises, train_retriever

LEMMAS = 6
WORDS = ("ash", "birch", "cedar", "elm", "fir", "larch", "maple", "oak", "pine", "rowan")
LIBRARY = LibraryIndex(
    "test",
    {
        "Init.Data": ModuleInfo(
            (), tuple(Premise(f"Lib.l{i}", "Init.Data", "Eq", ("", ""), 1, True, ("Nat",)) for i in range(5))
        ),
        "Init": ModuleInfo(("Init.Data",), ()),
    },
)


def opened(word: str) -> Theorem:
    """A file with a function and lemmas about it that share all symbols."""
    lemmas = "\n".join(
        f"theorem {word}_{'abcdef'[i]} (n : Nat) : {word} n + {i} = {word} n + {i} := rfl" for i in range(LEMMAS)
    )
    context = f"namespace {word.upper()}\ndef {word} (n : Nat) := n\n{lemmas}\n"
    return Theorem(f"{word.upper()}.t", f"(n : Nat) : {word} n + 9 = {word} n + 9", context=context)


@pytest.fixture(scope="module")
def goals(loop) -> dict[str, tuple[Theorem, ProofState]]:
    async def states() -> dict[str, tuple[Theorem, ProofState]]:
        async with LeanServer(limits=Limits(seconds=30.0), constants=True) as lean:
            return {w: (t, await lean.open(t)) for w in WORDS for t in (opened(w),)}

    return loop.run(states())


def rows(goals: dict[str, tuple[Theorem, ProofState]], words: tuple[str, ...], which: int) -> list[dict]:
    """Ledger rows of proofs that each use one lemma, counted in the order of their file."""
    found = []
    for theorem, state in map(goals.__getitem__, words):
        (goal,) = state.goals
        names = [d.name for d in state.surroundings.theorems]
        tactic = f"exact {names[which]} _"
        local = local_premises(state.surroundings).candidates(goal.constants, names)
        e = Example(
            goal.text,
            state.key,
            tuple(names),
            (),
            1,
            True,
            False,
            1,
            1.0,
            ((tactic, 1),),
            (),
            0,
            constants=goal.constants,
            local=local,
        )
        found += [row for _, row in collect_premises([e], True, theorem)]
    return found


def first(goals: dict[str, tuple[Theorem, ProofState]], word: str, weights: DenseWeights, retriever: str) -> str:
    theorem, state = goals[word]
    source = PremiseSource(LIBRARY, LEMMAS, retriever, weights, definitions=0)
    return source.at(theorem.imports, name=theorem.name)(state)[0]


@pytest.mark.lean
@pytest.mark.parametrize("retriever", ["dense", "hybrid"])
@pytest.mark.parametrize("which", [-1, 0])
def test_training_shows_whether_near_lemmas_help(goals, which: int, retriever: str) -> None:
    trained, metrics = train_retriever(rows(goals, WORDS[:6], which), LIBRARY, SelectionConfig(seconds=60, epochs=60))
    assert metrics["examples"] == 6 and trained.locality is not None
    for word in WORDS[6:]:
        names = [d.name for d in goals[word][1].surroundings.theorems]
        assert first(goals, word, trained, retriever) == names[which]


@pytest.mark.lean
def test_weights_without_places_rank_as_before(goals) -> None:
    theorem, state = goals["oak"]
    offered = PremiseSource(LIBRARY, LEMMAS, "hybrid", DenseWeights.initial(), definitions=0).at(theorem.imports)(state)
    assert list(offered[:5]) == local_premises(state.surroundings).lemmas(state.goals[0].constants, 5)


@pytest.mark.lean
def test_files_of_a_project_and_namespaces_are_told_apart(loop) -> None:
    module = SourceModule("Own.Base", "Own/Base.lean", "theorem Far.base : 1 + 1 = 2 := rfl\n")
    theorem = Theorem("Near.t", ": 2 = 1 + 1", context="theorem Near.here : 1 + 2 = 3 := rfl", before=(module,))

    async def load() -> ProofState:
        async with LeanServer(constants=True) as lean:
            return await lean.open(theorem)

    local = local_premises(loop.run(load()).surroundings)
    assert [d.name for d in local.theorems] == ["Far.base", "Near.here"]
    assert local.features(Place.of("Near.t", LIBRARY)).tolist() == [[0.0, 0.5, 0.0, 0.5], [1.0, 1.0, 1.0, 1.0]]


def test_features_of_library_premises() -> None:
    index = LibraryIndex(
        "test",
        {
            m: ModuleInfo((), (Premise(n, m, "Eq", ("", ""), 1, True, ("Nat",)),))
            for m, n in (("Init.Data.List", "List.a"), ("Init.Data.Nat", "Nat.b"), ("Std", "c"))
        },
    )
    found = locality(index.select(), Place.of("List.a", index))
    assert np.allclose(found, [[0, 0, 1, 1], [0, 0, 0, 2 / 3], [0, 0, 0, 0]]) and found.shape == (3, len(FEATURES))
    assert shared((), ()) == 0.0 and near(3).tolist()[-1] == 1.0 and np.all(np.diff(near(9)) > 0)
