"""A folder as the learner writes it, one engine on it and one server: starting either takes a minute, so all tests share them.

Run by `make test-vllm`, in an environment of its own.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

_vllm = importlib.util.find_spec("vllm")  # this folder has its name: as a package it has no origin
if _vllm is None or _vllm.origin is None:
    collect_ignore_glob = ["test_*.py"]


def pytest_report_header() -> str | None:
    if "collect_ignore_glob" in globals():
        return "vLLM is not installed here: `make test-vllm` runs tests/vllm in an environment of its own"
    return None


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that has learned to end its tactics. Heads of 32: vLLM's CPU attention takes no smaller ones."""
    from dataclasses import replace

    import torch
    from sample_goals import make_pairs

    from prover.models.prompt import PromptConfig
    from prover.models.tokenizer import train_tokenizer
    from prover.models.transformer import LanguageModelPolicy, new_model
    from rl.examples import PolicyExample
    from rl.learner.small_model import SMALL, small_learner
    from rl.learner.supervised import train

    torch.set_num_threads(1)
    tokenizer = train_tokenizer([t for pair in make_pairs(300) for t in pair], 1024)
    model = new_model(len(tokenizer), hidden=64, layers=2, heads=2, intermediate=128, positions=160)
    prompt = PromptConfig(max_prompt=96)
    learner = small_learner(model, tokenizer, prompt, replace(SMALL, batch_tokens=512, warmup=5))
    train(learner, [PolicyExample(g, t) for g, t in make_pairs(60)], steps=80)
    path = tmp_path_factory.mktemp("served") / "model"
    LanguageModelPolicy(learner.model, tokenizer, prompt, version=1).save(path)
    return path


@pytest.fixture(scope="session")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A vLLM server of the folder; it starts while the engine does."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "server.log"
    settings = {
        "CPU_KVCACHE_SPACE": "1",
        "LOGGING_LEVEL": "WARNING",
        "NO_USAGE_STATS": "1",
        "ENABLE_V1_MULTIPROCESSING": "0",
    }
    environment = {**os.environ, **{f"VLLM_{key}": value for key, value in settings.items()}}
    arguments = [
        "--model",
        str(folder),
        "--served-model-name",
        "tiny",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--gpu-memory-utilization",
        "0.2",
        "--dtype",
        "float32",
        "--enforce-eager",
        "--max-logprobs",
        "64",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments],
            stdout=out,
            stderr=out,
            env=environment,
        )
    try:
        for _ in range(600):
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except (urllib.error.URLError, OSError):
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def engine(folder: Path) -> Iterator[Any]:
    from prover.models.backends.vllm import VLLMConfig, VLLMPolicy

    policy = VLLMPolicy(folder, VLLMConfig(memory=0.2))
    yield policy
    policy.close()


@pytest.fixture
def reference(folder: Path) -> Any:
    from prover.models.transformer import LanguageModelPolicy

    return LanguageModelPolicy.load(folder)


@pytest.fixture
def served(engine: Any, folder: Path) -> Iterator[Any]:
    """The engine with the folder's weights, whatever a test does to them."""
    yield engine
    if engine.version != 1:
        engine.load_folder(folder, 1)
