"""A command starts quickly and quietly: heavy packages load only for a model, and the model loads while Lean starts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from prover.errors import UserError
from prover.models.base import Query, Suggestion
from prover.models.loading import LoadingModel
from prover.models.manifest import read_manifest
from prover.solve.policies import provers_named
from tests.rl.test_evaluation import make_checkpoint

HEAVY = ("torch", "transformers", "ray", "vllm", "plotly", "openai", "wandb")


@pytest.mark.parametrize("policy", ["portfolio", "explorer"])
def test_policies_without_a_model_load_no_heavy_package(policy: str) -> None:
    code = f"""
import sys
import prover.commands.prove
from prover.solve.policies import provers_named
provers_named({policy!r})
print([m for m in {HEAVY!r} if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "[]\n"


def test_the_driver_of_a_run_loads_no_torch() -> None:
    code = "import sys, rl.loop, rl.commands.train; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "[]\n"


def test_a_model_loads_in_the_background() -> None:
    go = threading.Event()

    class Model:
        def suggest(self, queries: list[Query], n: int) -> list[list[Suggestion]]:
            return [[Suggestion("simp", 0.0)] * n for _ in queries]

    def load() -> Model:
        assert go.wait(60)
        return Model()

    model = LoadingModel(load)  # returns before the model is loaded
    go.set()
    assert [s.tactic for s in model.suggest([Query("⊢ True")], 2)[0]] == ["simp", "simp"]


def test_what_stops_the_load_is_raised_by_every_method() -> None:
    def load() -> None:
        raise UserError("no weights")

    model = LoadingModel(load)
    for call in (model.wait, lambda: model.suggest([], 1), lambda: model.evaluate([])):
        with pytest.raises(UserError, match="no weights"):
            call()


def test_a_checkpoint_loads_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = make_checkpoint(tmp_path / "run")
    capfd.readouterr()
    (prover,) = provers_named(str(folder))
    assert prover.loading is not None and prover.loading.wait().version == read_manifest(folder).version == 1
    assert capfd.readouterr() == ("", "")
    import torch

    assert torch.get_num_threads() == 1  # with two, each waits for the other whenever Lean has a core


def test_a_checkpoint_searches_with_the_settings_of_its_run(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "run")
    settings = folder / "turnstile.json"
    said = json.loads(settings.read_text())
    settings.write_text(json.dumps({**said, "prover": {"rule": "puct", "temperature": 1.0, "root_breadth": 1e9}}))
    (prover,) = provers_named(str(folder))
    assert (prover.config.temperature, prover.config.root_breadth) == (1.0, 1e9)
    settings.write_text(json.dumps({**said, "prover": {"temperature": "hot"}}))
    with pytest.raises(UserError, match="temperature='hot' is not a positive number"):
        provers_named(str(folder))


def test_a_server_searches_with_the_settings_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the run apply however its model is served, unless the command names others."""
    folder = tmp_path / "run" / "checkpoints" / "1"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").touch()
    prover = {"rule": "best_first", "temperature": 1.0, "root_breadth": 16.0, "actions": "elementary", "strict": True}
    (folder / "turnstile.json").write_text(json.dumps({"version": 1, "prover": prover}))
    served = SimpleNamespace(format=SimpleNamespace(template=None, bins=()))
    monkeypatch.setattr("prover.models.backends.openai.ServerPolicy", lambda *_, **__: served)
    name = f"openai:http://localhost/v1?folder={tmp_path / 'run'}"
    [found] = provers_named(name)
    config = found.config
    assert (config.selection, config.temperature, config.root_breadth) == ("best_first", 1.0, 16.0)
    assert found.actions == "elementary" and provers_named(f"{name}&actions=full")[0].actions == "full"
