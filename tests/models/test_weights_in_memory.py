"""Weights for vLLM go through memory where it has room."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from prover.models.backends.vllm import _written

WEIGHTS = {"a": torch.ones(1000), "b": torch.ones(10)}
SHARED = Path("/dev/shm")


@pytest.mark.skipif(not os.access(SHARED, os.W_OK), reason="no memory-backed files here")
@pytest.mark.parametrize(("free", "there"), [(1 << 30, True), (4096, False)])
def test_weights_that_do_not_fit_into_memory_go_to_the_disk(
    monkeypatch: pytest.MonkeyPatch, free: int, there: bool
) -> None:
    """A container has 64 MB of shared memory unless told otherwise."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=1 << 30, used=0, free=free))
    with _written(WEIGHTS, "model.safetensors") as folder:
        assert (folder.parent == SHARED) == there
        assert load_file(folder / "model.safetensors").keys() == WEIGHTS.keys()
