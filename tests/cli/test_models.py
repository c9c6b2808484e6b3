"""Models named on the command line, and one-line errors about them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STATEMENT = ("--statement", "(p : Prop) (h : p) : p")

POLICIES = [
    ("hf:/nowhere", "hf:/nowhere?template=NAME"),
    ("hf:?template=names", "the folder or address is missing"),
    ("hf:/nowhere?template=names", "/nowhere cannot be used as a policy: no such folder"),
    ("hf:/nowhere?colour=red", "unknown option 'colour'; the options of hf are actions, device"),
    ("hf:/nowhere?template=nonsense", "choose bfs-prover"),
    ("openai:http://127.0.0.1:9/v1?folder=/nowhere&template=nonsense#m", "nonsense"),
    ("openai:http://127.0.0.1:9/v1?template=names&timeout=soon", "invalid value of timeout; expected `float`"),
    ("openai:http://127.0.0.1:9/v1?template=names&retries=-1", "retries at least 0"),
    ("openai:http://127.0.0.1:9/v1?template=names&api_key=secret", "unknown option 'api_key'"),
    ("openai:http://127.0.0.1:9/v1?template=names&retries=0", "cannot be reached"),
    ("vllm:/nowhere?template=names&max_model_len=long", "invalid value of max_model_len; expected `int"),
    ("vllm:/nowhere?template=names&memory=1.5", "memory is in (0, 1]"),
    ("vllm:/nowhere?template=names&tensor_parallel=0", "tensor_parallel"),
]


@pytest.mark.parametrize(("policy", "message"), POLICIES)
def test_wrong_policies(turnstile: Callable[..., Any], policy: str, message: str) -> None:
    done = turnstile("prove", *STATEMENT, "--policy", policy)
    assert done.code == 2 and done.out == ""
    assert done.err.startswith("turnstile: ") and done.err.count("\n") == 1
    assert message in done.err
    assert done.err.count(": ") <= 2, "after `turnstile` and the policy"


@pytest.mark.skipif(
    getattr(importlib.util.find_spec("vllm"), "origin", None) is not None, reason="vLLM is installed here"
)
def test_without_vllm(turnstile: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    done = turnstile("prove", *STATEMENT, "--policy", f"vllm:{tmp_path}?template=names")
    assert done.code == 2 and "vLLM is not installed here" in done.err and "make test-vllm" in done.err


def test_tune_faults(turnstile: Callable[..., Any], tmp_path: Path) -> None:
    pairs = tmp_path / "p.jsonl"
    pairs.write_text('{"goal": "⊢ p", "tactic": "simp"}\n')
    for arguments, message in [
        (("/nowhere", pairs, "--out", tmp_path), "name a new folder"),
        (("/nowhere", tmp_path / "none.jsonl", "--out", tmp_path / "o"), "none.jsonl: no such file"),
        (("/nowhere", pairs, "--out", tmp_path / "o", "--epochs", "0"), "must be positive"),
        (("/nowhere", pairs, "--out", tmp_path / "o", "--learning-rate", "0"), "must be positive"),
        (("/nowhere", pairs, "--out", tmp_path / "o", "--learning-rate", "nan"), "must be positive"),
        (("/nowhere", pairs, "--out", tmp_path / "o", "--limit", "-1"), "must be positive"),
        (("/nowhere", pairs, "--out", tmp_path / "o", "--lora-rank", "-2"), "0 trains all weights"),
        (
            ("/nowhere", pairs, "--out", tmp_path / "o", "--template", "names"),
            "/nowhere: cannot load this model for training: no such folder",
        ),
    ]:
        done = turnstile("tune", *arguments)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    assert not (tmp_path / "o").exists()
