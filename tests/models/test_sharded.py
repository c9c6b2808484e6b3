"""A model split over two processes, or one in each, learns as a whole one does, and what it writes is an ordinary folder.

Run by the test as a script too, in each of two processes under torch's launcher.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sample_goals import make_pairs
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from prover.errors import UserError
from prover.models.transformer import new_model
from rl.examples import PolicyExample, ValueExample
from rl.learner.learner import Learner
from rl.learner.settings import LearnerConfig
from rl.learner.small_model import SMALL, small_learner
from rl.learner.supervised import train

ROOT = Path(__file__).parents[2]
PAIRS = [PolicyExample(g, t) for g, t in make_pairs(20)]
STEPS = 5
# Batches of 9: the processes have unequal shares, and the last micro-batches differ.
CASES = {
    "all": LearnerConfig(learning_rate=2e-3, batch_size=9, micro_tokens=96, warmup=0, gradient_checkpointing=True),
    "lora": LearnerConfig(learning_rate=1e-2, batch_size=9, micro_tokens=96, warmup=0, lora_rank=4),
}


def learn(start: Path, out: Path, config: LearnerConfig, template: str | None) -> list[float]:
    """The loss of each step; the model goes to `out`."""
    tuner = Learner.load(start, config, template=template, device="cpu")
    losses = [train(tuner, PAIRS, epochs=config.batch_size / len(PAIRS))["loss"] for _ in range(STEPS)]
    tuner.save(out)
    return losses


def curves(folder: Path, name: str, shard: bool) -> dict[str, list[float]]:
    """Losses of learning and, from what that wrote, of going on."""
    torch.set_num_threads(1)
    found = {}
    for case, config in CASES.items():
        first, second = (folder / f"{name}-{case}-{k}" for k in (1, 2))
        config = LearnerConfig(**{f: getattr(config, f) for f in config.__slots__} | {"shard": shard})
        found[case] = learn(folder / "start", first, config, "names") + learn(first, second, config, None)
    return found


def small(folder: Path, name: str, batch_tokens: int) -> list[float]:
    """Losses of the small model with renamed hypotheses, without sharding, and the number of updates of a pass; the model goes to a
    folder."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "start")
    config = replace(SMALL, batch_tokens=batch_tokens, warmup=1, ema=0.5)
    learner = small_learner(new_model(len(tokenizer), 64, 2, 2, 128, 256, seed=4), tokenizer, None, config, "cpu")
    examples = [*PAIRS, *(ValueExample(e.state, k % 3) for k, e in enumerate(PAIRS))]
    losses = [train(learner, examples, steps=1)["loss"] for _ in range(STEPS)]
    learner.save(folder / f"{name}-small")
    return [*losses, train(learner, examples, epochs=1)["steps"]]


def main(folder: Path) -> None:
    found = curves(folder, "two", shard=True) | {"small": small(folder, "two", 256)}
    if torch.distributed.get_rank() == 0:
        (folder / "two.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def test_two_processes_with_a_part_each(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    new_model(len(tokenizer), 64, 2, 2, 128, 256, seed=4).save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launcher, __file__, str(tmp_path)], env=environment, check=True, timeout=500)
    two, one = json.loads((tmp_path / "two.json").read_text()), curves(tmp_path, "one", shard=False)
    # Two processes with the whole model each compute a batch twice as large together.
    expected = small(tmp_path, "one", 512)
    assert two.pop("small") == pytest.approx(expected, abs=1e-4)
    whole, shared = (load_file(tmp_path / f"{n}-small/model.safetensors") for n in ("one", "two"))
    assert all(torch.allclose(w, shared[k], atol=1e-4) for k, w in whole.items())
    assert two.keys() == one.keys() and one
    for case, expected in one.items():
        assert two[case] == pytest.approx(expected, abs=2e-3), case
        assert expected[-1] < expected[0] - 0.3, "little was learned, so little was compared"
        for k in (1, 2):
            whole, split = (load_file(tmp_path / f"{n}-{case}-{k}/model.safetensors") for n in ("one", "two"))
            assert whole.keys() == split.keys()
            for name in whole:
                torch.testing.assert_close(split[name], whole[name], atol=2e-3, rtol=1e-2)
        config = (tmp_path / f"two-{case}-2/config.json").read_text()
        assert config == (tmp_path / f"one-{case}-2/config.json").read_text()
        assert isinstance(AutoModelForCausalLM.from_pretrained(tmp_path / f"two-{case}-2"), torch.nn.Module)
        settings = json.loads((tmp_path / f"two-{case}-2/turnstile.json").read_text())
        assert settings == {"version": 2, "template": "names"}


def test_one_process_has_nothing_to_split(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    new_model(len(tokenizer), 64, 2, 2, 128, 256, seed=4).save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    with pytest.raises(UserError, match="several processes"):
        Learner.load(tmp_path / "start", LearnerConfig(shard=True), template="names", device="cpu")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
