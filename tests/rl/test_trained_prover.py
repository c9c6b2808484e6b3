"""A trained run as a prover: its newest checkpoint, with the value and the retriever that it learned."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from prover.errors import UserError
from prover.lean.theorem import Goal, ProofState, Theorem
from prover.models.assessor import SHAPES, AssessedValue, Assessor
from prover.models.loading import LoadingModel
from prover.models.manifest import SETTINGS, find_checkpoint
from prover.premises.dense import DenseWeights
from prover.solve.attempt import attempt
from prover.solve.policies import provers_named
from rl import candidate as c
from rl.config import ProverConfig
from rl.evaluation_results import Test, key_of
from tests.models.small_server import SmallServer, completion
from tests.rl.test_evaluation import place

__all__ = ["place"]


@pytest.mark.parametrize(
    ("settings", "uses"), [("", True), ("[prover]\nuse_value = false", False), ('[learn]\nvalue = "none"', False)]
)
def test_a_value_that_the_run_did_not_use_is_not_used_by_its_prover(place, tmp_path, settings: str, uses: bool):
    run = tmp_path / "run"
    shutil.copytree(place / "runs/one", run)
    (run / "config.toml").write_text(settings)
    assert c.candidate(str(run)).config.use_value is uses
    (prover,) = provers_named(str(run))
    assert (prover.value is not None) is uses
    server = SmallServer(lambda k, body: completion(["simp"]))
    try:
        (served,) = provers_named(f"openai:{server.address}?folder={run}")
    finally:
        server.shutdown()
        server.server_close()
    assert (served.value is not None) is uses, "whoever serves it"


def test_a_checkpoint_outside_of_its_run_keeps_its_search_settings(place, tmp_path):
    """Before, `turnstile eval` measured it with the defaults."""
    checkpoint = tmp_path / "copied"
    shutil.copytree(place / "runs/one/checkpoints/000001", checkpoint)
    about = json.loads((checkpoint / SETTINGS).read_text())
    own = ProverConfig(
        actions="elementary", strict=True, temperature=1.0, root_breadth=9.0, premises=3, use_value=False
    )
    (checkpoint / SETTINGS).write_text(json.dumps({**about, "prover": asdict(own)}))
    assert c.candidate(str(checkpoint)).config == own
    (prover,) = provers_named(str(checkpoint))
    assert (prover.actions, prover.config.temperature, prover.config.root_breadth) == ("elementary", 1.0, 9.0)
    (checkpoint / SETTINGS).write_text(json.dumps({**about, "prover": {"in_flight": 0}}))
    with pytest.raises(UserError, match="copied: its search settings: in_flight must be"):
        c.candidate(str(checkpoint))


def test_a_run_proves_with_the_settings_that_an_evaluation_measures(place, tmp_path):
    """Its explorer's weight and premises, its suggestions, and whether it has a ranker; a run from before keeps the defaults."""

    def prover(settings: str) -> Any:
        (run / "config.toml").write_text(f"[prover]\n{settings}")
        return provers_named(str(run))[0]

    run = tmp_path / "run"
    shutil.copytree(place / "runs/one", run)
    old, own = prover(""), prover("eval_explorer_weight = 0.25\nsuggestions = 4\npremises = 3\nuse_ranker = false\n")
    for found, expected in ((old, (0.5, 16, 8, True)), (own, (0.25, 4, 3, False))):
        explorer = found.policy.explorer
        assert (
            found.policy.weight,
            found.config.suggestions,
            explorer.premises,
            explorer.ranker is not None,
        ) == expected
    assert isinstance(prover("eval_explorer_weight = 0.0").policy, LoadingModel), "the model alone"
    with pytest.raises(UserError, match="premises=-1 is not a number of at least 0"):
        prover("premises = -1")


def test_the_newest_checkpoint_may_be_in_several_files(tmp_path):
    for version, name in ((1, "model.safetensors"), (2, "model-00001-of-00002.safetensors")):
        folder = tmp_path / f"checkpoints/{version:06d}"
        folder.mkdir(parents=True)
        (folder / name).touch()
        os.utime(folder / name, (version, version))
    (folder / "model.safetensors.index.json").write_text("{}")
    assert find_checkpoint(tmp_path) == folder
    assert find_checkpoint(folder) == folder


def test_a_run_proves_with_the_retriever_that_it_learned(place, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(place / "runs/one", run)
    (run / "config.toml").write_text('[prover]\nretriever = "hybrid"\npremises = 3\n')
    (prover,) = provers_named(str(run))
    assert prover.source is not None and (prover.source.name, prover.source.k) == ("symbols", 3), (
        "nothing was learned yet"
    )
    (checkpoint,) = (run / "checkpoints").iterdir()
    (run / "retrievers").mkdir()
    DenseWeights.initial().save(run / f"retrievers/{checkpoint.name}.npz")
    (prover,) = provers_named(str(run))
    assert prover.source is not None and (prover.source.name, prover.source.k) == ("hybrid", 3)
    root = ProofState(1, "k", (Goal("⊢ p", (), "p", ("List.length", "List.map")),))
    asked: list[tuple[str, ...]] = []

    class Silent:
        def suggest(self, queries, n):
            asked.extend(tuple(q.premises) for q in queries)
            return [[] for _ in queries]

    class NoLean:
        async def free(self, states):
            assert not states

    asyncio.run(
        attempt(
            Theorem("t", ": p"),
            root,
            NoLean(),
            [replace(prover, policy=Silent(), value=None)],
            4,
            lambda state: ("other",),
        )
    )  # type: ignore[arg-type]
    assert asked and len(asked[0]) == 3 and "other" not in asked[0]


def test_a_run_proves_with_the_assessor_that_it_learned(place, tmp_path):
    """For the uses that its settings name; a run from before has none."""
    run = tmp_path / "run"
    shutil.copytree(place / "runs/one", run)
    uses = '[prover]\nuse_value = false\nassess = ["tactics", "goals", "batches"]\n'
    (run / "config.toml").write_text(uses)
    (old,) = provers_named(str(run))
    assert (old.assessor, old.value, old.policy.explorer.assessor) == (None, None, None)
    key = key_of(some_test(), replace(c.candidate(str(run)), config=ProverConfig()))
    (run / "assessors").mkdir()
    weights = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    Assessor(**weights).save(run / "assessors/000001.npz")
    (prover,) = provers_named(str(run))
    assert isinstance(prover.value, AssessedValue) and prover.assessor is not None
    assert prover.policy.explorer.assessor is prover.assessor
    found = c.candidate(str(run))
    assert found.assessor.endswith("assessors/000001.npz") and found.config.assess == ("tactics", "goals", "batches")
    assert key_of(some_test(), replace(found, config=ProverConfig())) == key, "without effect on earlier results"
    assert key_of(some_test(), found) != key_of(some_test(), replace(found, assessor=""))
    shutil.rmtree(run / "rankers")
    (alone,) = provers_named(str(run))
    assert alone.policy.explorer.assessor is alone.assessor and alone.policy.weight == 0, (
        "without a ranker, the model alone"
    )
    shutil.copytree(place / "runs/one/rankers", run / "rankers")
    (run / "config.toml").write_text("")
    (unused,) = provers_named(str(run))
    assert (unused.assessor, unused.policy.explorer.assessor) == (None, None)


def some_test() -> Test:
    return Test("five", "hash", 5, 6, 0, 1.0, "Lean")
