"""A Ray that tests share: to start one and the processes of a command takes as long as a small run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import ray

from prover.solve.ray_start import start_ray


@pytest.fixture(scope="session")
def ray_ends() -> Iterator[None]:
    yield
    ray.shutdown()


def share_ray() -> None:
    """Start the shared Ray if it does not run. A fixture of a module that calls this requests `ray_ends`."""
    if not ray.is_initialized():
        start_ray("local", num_cpus=max(4, os.cpu_count() or 1), num_gpus=1, resources={"prover": 2.0})


@pytest.fixture
def local_ray(ray_ends: None) -> None:
    """One Ray for all tests that do not start a cluster of their own: a fleet, and so a run in this process, uses what runs."""
    share_ray()
