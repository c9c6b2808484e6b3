"""The learner of pretrained models: packed policy-gradient steps of random models, memory, resume. Needs no Lean.

Measures tokens per second, model FLOPs utilisation and peak memory, and checks that training continues from a saved model. Needs no
download.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

from prover.errors import UserError
from prover.models.base import Sampled
from prover.models.tokenizer import train_tokenizer
from rl.algorithms.gradient_settings import PRESETS
from rl.trajectory import Trajectory

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    | {"intermediate_size": 128, "vocab_size": 1024},
    "0.5b": {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2}
    | {"intermediate_size": 4864, "vocab_size": 151_936},
    "1.5b": {"hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2}
    | {"intermediate_size": 8960, "vocab_size": 151_936},
}
"""Shapes of Qwen2 models."""
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40": 181e12}
"""Dense bfloat16 FLOPs per second by a part of the device's name (NVIDIA's data sheets)."""
PROMPT, ANSWER = 384, 128
GROUP = 8


def bench_learner(
    *, device: Literal["cpu", "cuda"] = "cpu", sizes: tuple[str, ...] = (), groups: int = 8
) -> dict[str, Any]:
    """Figures by size. Raises UserError for a missing device or an unknown size.

    Args:
        device: where to train.
        sizes: tiny, 0.5b or 1.5b. Default: tiny on a CPU, the others on a GPU.
        groups: groups per step, each of 8 trajectories of 512 tokens.
    """
    import torch  # not above: it takes seconds, and `--help` reads this file

    if groups < 1:
        raise UserError(f"--groups {groups}: must be at least 1")
    sizes = sizes or (("tiny",) if device == "cpu" else ("0.5b", "1.5b"))
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: torch finds no GPU here; use --device cpu")
    unknown = [s for s in sizes if s not in SIZES]
    if unknown:
        raise UserError(f"--sizes {unknown[0]}: choose from {', '.join(SIZES)}")
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    figures: dict[str, Any] = {"device": name, "torch": torch.__version__, "prompt": PROMPT, "answer": ANSWER}
    for size in sizes:
        figures[size] = _figures(size, device, name, groups)
    return figures


def _figures(size: str, device: str, name: str, groups: int) -> dict[str, Any]:
    import torch

    from rl.learner import policy_gradient
    from rl.learner.learner import Learner
    from rl.learner.settings import LearnerConfig

    with tempfile.TemporaryDirectory(prefix="turnstile-bench-") as scratch:
        folder = Path(scratch) / "model"
        parameters = _write_model(folder, SIZES[size])
        config = LearnerConfig(
            learning_rate=1e-6,
            dtype="bfloat16" if device == "cuda" else "float32",
            gradient_checkpointing=device == "cuda",
            max_length=PROMPT + ANSWER,
        )
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        learner = Learner.load(folder, config, template="bfs-prover", device=device)
        data = _trajectories(groups, SIZES[size]["vocab_size"])
        first = policy_gradient.train(learner, data, PRESETS["dapo"], batch=len(data))
        began = time.perf_counter()
        second = policy_gradient.train(learner, data, PRESETS["dapo"], batch=len(data))
        seconds = time.perf_counter() - began
        tokens = len(data) * (PROMPT + ANSWER)
        # A step computes the old log-probabilities (2 FLOPs a weight and token), and forward and backward passes (6).
        peak = next((flops for part, flops in PEAK_FLOPS.items() if part in name), None)
        flops = 8 * parameters * tokens / seconds
        learner.save(Path(scratch) / "saved")
        again = Learner.load(Path(scratch) / "saved", config, device=device)
        resumed = policy_gradient.train(again, data, PRESETS["dapo"], batch=len(data))
        return {
            "parameters": parameters,
            "packs": learner.batching == "trees",
            "tokens_per_step": tokens,
            "tokens_per_second": round(tokens / seconds, 1),
            "flops_utilisation": round(flops / peak, 4) if peak else None,
            "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if device == "cuda" else None,
            "first_step_seconds": round(first["seconds"], 2),
            "loss_after_resume_minus_before": abs(resumed["loss"] - second["loss"]),
            "resumed_steps": resumed["steps"],
        }


def _write_model(folder: Path, shape: dict[str, int]) -> int:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    settings: dict[str, Any] = {**shape, "max_position_embeddings": 4096, "tie_word_embeddings": True}
    model: Any = Qwen2ForCausalLM(Qwen2Config(**settings))
    model.to(torch.bfloat16)
    model.save_pretrained(folder)
    train_tokenizer(["simp", "rfl", "⊢ p"] * 20, 300).save_pretrained(folder)
    return sum(p.numel() for p in model.parameters())


def _trajectories(groups: int, vocabulary: int) -> list[Trajectory]:
    rng = random.Random(0)

    def ids(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(vocabulary) for _ in range(n))

    return [
        Trajectory((Sampled(ids(PROMPT), ids(ANSWER), (-8.0,) * ANSWER),), float(k % 2), group)
        for group in range(groups)
        for k in range(GROUP)
    ]
