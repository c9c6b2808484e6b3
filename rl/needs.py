"""Resources that a run needs on this machine or its cluster: disk, GPUs, and roughly how much time."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.solve.ray_start import check_cluster, start_ray
from rl.candidate import BASELINES
from rl.config import RunConfig

CHECKPOINT_BYTES = 16
"""Bytes of a checkpoint per weight trained in float32: the weight as served and as trained, and Adam's two moments."""
ATTEMPT_BYTES = 8_000
"""Bytes of an attempt with its examples in the ledger: two thousand in a run of the demonstration, and about four thousand of the
assessor's rows after 48 Lean calls in the world `logic`."""
OTHER_BYTES = 64 * 2**20
"""Logs, wandb, rankers."""
RAY_BYTES = 256 * 2**20
"""Ray's session folder."""
EXPLORER_CALLS, MODEL_CALLS = 60.0, 18.0
"""Lean calls per second of one prover on one core, with the explorer and with the small model, in a run of the demonstration."""
SPENT = 0.7
"""Share of the allowed Lean calls that attempts at held-out theorems made in that run. An attempt ends early at a proof."""


@dataclass(frozen=True)
class Space:
    """Disk space needed in a folder, which may not exist yet."""

    folder: Path
    bytes: int
    what: str


def checkpoint_bytes(config: RunConfig, parameters: int) -> int:
    """Size of a checkpoint in bytes. A checkpoint of a pretrained model has no optimizer."""
    if not config.serve.start:
        return parameters * CHECKPOINT_BYTES
    return parameters * (2 if config.serve.train == "lora" and config.learn.dtype == "bfloat16" else 4)


def spaces(config: RunConfig, parameters: int, download: int, attempts: int) -> list[Space]:
    """Disk space that the run, or the rest of it, needs. `download`: bytes of a model from the hub. `attempts`: number of attempts."""
    learned = max((int(p.parent.name) for p in config.folder.glob("checkpoints/[0-9]*/learner.pt")), default=0)
    left, keep = max(0, config.learn.rounds - learned), config.learn.keep
    kept = min(left, max(2, keep) + 1) if keep else left
    found = [
        Space(config.folder, kept * checkpoint_bytes(config, parameters), f"{kept} checkpoints"),
        Space(config.folder, attempts * ATTEMPT_BYTES + OTHER_BYTES, "attempts and logs"),
        Space(Path(tempfile.gettempdir()), RAY_BYTES, "Ray's session"),
    ]
    if download:
        from huggingface_hub.constants import HF_HUB_CACHE

        found.append(Space(Path(HF_HUB_CACHE), download, f"{config.serve.start} from the hub"))
    return found


def disks(needed: Iterable[Space]) -> list[dict[str, Any]]:
    """The needs of each disk: `disk` (its mount point), `needed_gb`, `free_gb`, `for`."""
    found: dict[int, dict[str, Any]] = {}
    for space in needed:
        folder = next(p for p in (space.folder.absolute(), *space.folder.absolute().parents) if p.exists())
        mount = next(p for p in (folder, *folder.parents) if os.path.ismount(p))
        row = found.setdefault(
            os.stat(folder).st_dev,
            {
                "disk": str(mount),
                "needed_gb": 0.0,
                "free_gb": round(shutil.disk_usage(folder).free / 1e9, 3),
                "for": [],
            },
        )
        row["needed_gb"] = round(row["needed_gb"] + space.bytes / 1e9, 3)
        row["for"].append(f"{space.what} in {space.folder}")
    return list(found.values())


def short_of_disk(needed: Iterable[Space]) -> str:
    """A line about the first disk that has too little space, or the empty string."""
    for row in disks(needed):
        if row["needed_gb"] > row["free_gb"]:
            return (
                f"no space: the disk {row['disk']} has {row['free_gb']:g} GB free, and about {row['needed_gb']:g} GB are needed "
                f"({', '.join(row['for'])}); free some, set learn.keep, or choose another disk with runs="
            )
    return ""


@contextmanager
def room_for(folder: Path, bytes: int, what: str) -> Iterator[None]:
    """Raise UserError if the folder's disk has too little space, before the block or after an error in it."""

    def check() -> None:
        if short := short_of_disk([Space(folder, bytes, what)]):
            raise UserError(short)

    check()
    try:
        yield
    except Exception:
        check()
        raise


def short_of_gpus(config: RunConfig) -> str:
    """A line about GPUs that the run will request from Ray and that are missing, or the empty string. Counts those of the cluster, which it
    joins briefly, or of this machine. An elastic run waits for GPUs. Raises UserError if the cluster does not answer."""
    r = config.ray
    wanted = r.model_servers * r.server_gpus + r.learner_gpus * config.learn.ranks
    check_cluster(config.ray.address, "ray.address")
    if not wanted or config.ray.elastic:
        return ""
    if config.ray.address:
        import ray

        start_ray(config.ray.address)
        there = ray.cluster_resources().get("GPU", 0.0)
        ray.shutdown()
        where = f"the cluster {config.ray.address}"
    else:
        from ray._private.accelerators import get_all_accelerator_managers

        there = sum(
            m.get_current_node_num_accelerators()
            for m in get_all_accelerator_managers()
            if m.get_resource_name() == "GPU"
        )
        where = "this machine"
    if there >= wanted:
        return ""
    return f"the run needs {wanted:g} GPUs and {where} has {there:g}; change ray.server_gpus and ray.learner_gpus, or ray.address"


def attempts(config: RunConfig, train: int, held_out: int, validation: int) -> int:
    """Number of attempts of a whole run."""
    measured = held_out * (1 + len(BASELINES) * config.eval.baselines + bool(config.eval.rollouts))
    return config.learn.rounds * (_of_a_round(config, train) + validation) + measured


def _of_a_round(config: RunConfig, train: int) -> int:
    return min(train, config.learn.theorems or train)


def minutes(config: RunConfig, train: int, held_out: int, validation: int) -> float:
    """Rough duration, at the speed of the small model: Lean calls and training."""
    c, e = config.learn, config.eval
    train = _of_a_round(config, train)
    test = SPENT * held_out * e.calls
    explorer, model = 2 * test * e.baselines, test + held_out * e.rollouts * c.max_tactics
    if config.has_model:
        model += train * c.first_calls
    else:
        explorer += train * c.first_calls
    model += (c.rounds - 1) * train * c.calls + c.rounds * validation * e.validation_calls
    training = c.seconds + c.ranker_seconds * config.prover.use_ranker + c.assessor_seconds
    return ((explorer / EXPLORER_CALLS + model / MODEL_CALLS) / config.prover.provers + c.rounds * training) / 60
