"""The actor that prepares learning: examples go from the ledger through it to the learners, not through the driver."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import ray

from prover.logs import ActorLog
from prover.premises.index import library_index
from prover.solve.ledger import Ledger
from rl import buffer
from rl.actors.recorder import beside_the_ledger
from rl.config import RunConfig
from rl.learned import Learned
from rl.learning import Learning


class Prepared(NamedTuple):
    """Summary of a prepared round for the driver."""

    metrics: dict[str, float]
    said: list[str]
    models: Learned


class PreparationBody:
    """Holds a run's Learning and works through its rounds in order."""

    def __init__(self, config: RunConfig, path: str, log: ActorLog | None = None) -> None:
        if log is not None:
            log.open()
        self.config, self.ledger = config, Ledger(Path(path))
        self.said: list[str] = []
        self.learning = Learning(config, Path(path).parent, self.ledger, library_index(), self.said.append)

    def models(self) -> Learned:
        """The newest models beside the language model."""
        return self.learning.models

    def prepare(self, r: int) -> tuple[Prepared, list[Any], list[Any]]:
        """Prepare round `r` (Learning.prepare). Returns (summary, policy examples, value examples), each as a Ray object of its own."""
        self.said.clear()
        policy, value, metrics = self.learning.prepare(r)
        return Prepared(metrics, list(self.said), self.models()), policy, value

    def trim(self, r: int) -> int:
        """Bound the replay buffer after round `r`."""
        return buffer.trim(self.ledger, self.config.replay, r)


PreparationActor = ray.remote(PreparationBody)


def newest_models(preparation: Any) -> Learned:
    """The newest models of a run beside the language model, from its PreparationActor."""
    return ray.get(preparation.models.remote())


def start_preparation(config: RunConfig, path: Path, log: ActorLog | None) -> Any:
    """Start the actor on this machine, which has the ledger. Ray restarts it after a death and repeats its calls."""
    return PreparationActor.options(**beside_the_ledger()).remote(config, str(path.absolute()), log)
