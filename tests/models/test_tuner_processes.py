"""Two processes train as one does: the same weights come out of the same pairs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sample_goals import make_pairs
from transformers import PreTrainedTokenizerFast

from prover.models.transformer import new_model

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("lora", [0, 4], ids=["all", "lora"])
def test_two_processes(tmp_path: Path, tokenizer: PreTrainedTokenizerFast, lora: int) -> None:
    new_model(len(tokenizer), 64, 2, 2, 128, 256, seed=4).save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")
    pairs = [json.dumps({"goal": g, "tactic": t}) for g, t in make_pairs(20)]
    (tmp_path / "p.jsonl").write_text("\n".join(pairs))
    # Batches of 9: the processes have unequal shares.
    tune = [
        "-m",
        "prover.cli",
        "tune",
        str(tmp_path / "m"),
        str(tmp_path / "p.jsonl"),
        "--template",
        "names",
        "--batch-size",
        "9",
        "--micro-tokens",
        "96",
        "--epochs",
        "2",
        "--learning-rate",
        "1e-3",
        "--lora-rank",
        str(lora),
        "--out",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    many = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([sys.executable, *tune, str(tmp_path / "one")], env=environment, check=True, timeout=500)
    subprocess.run([*many, *tune, str(tmp_path / "two")], env=environment, check=True, timeout=500)
    start, one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("m", "one", "two"))
    assert any(not torch.allclose(start[k], one[k], atol=1e-4) for k in one)
    for k in one:
        torch.testing.assert_close(one[k], two[k], atol=2e-4, rtol=1e-3)
