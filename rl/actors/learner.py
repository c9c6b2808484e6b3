"""The actor that owns the trained model, its optimizer and the checkpoints."""

from __future__ import annotations

import copy
import logging
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray

from prover.logs import ActorLog
from prover.models.manifest import find_checkpoint, search_settings
from rl.actors.model_server import Adapter, Published
from rl.config import DPO, RunConfig
from rl.needs import checkpoint_bytes, room_for

_log = logging.getLogger(__name__)


@ray.remote
class LearnerActor:
    """Trains the model. Each call of `learn` writes a checkpoint, and `resume` loads the newest one."""

    def __init__(self, config: RunConfig, folder: str, rank: int = 0, log: ActorLog | None = None) -> None:
        """`folder`: for checkpoints. `rank`: below `config.learn.ranks`; only rank 0 writes."""
        if log is not None:
            log.open()
        self.config = config
        self.folder = Path(folder)
        self.rank = rank
        self.learner: Any = None
        self._reference: Any = None
        self._base = ""
        """The folder of the weights that adapters are added to."""
        self.version = 0

    def join(self, address: str) -> None:
        """Join the process group of data-parallel learners. `address`: host:port of rank 0."""
        import os

        import torch

        # Set as by torchrun, because accelerate reads these variables.
        host, port = address.rsplit(":", 1)
        ranks = str(self.config.learn.ranks)
        os.environ |= {
            "RANK": str(self.rank),
            "WORLD_SIZE": ranks,
            "LOCAL_RANK": "0",
            "MASTER_ADDR": host,
            "MASTER_PORT": port,
        }
        backend = "nccl" if self._device() == "cuda" else "gloo"
        torch.distributed.init_process_group(
            backend, init_method=f"tcp://{address}", rank=self.rank, world_size=self.config.learn.ranks
        )

    def alive(self) -> bool:
        """Health check. Answers when no other call is running."""
        return True

    def address(self) -> str:
        """A free host:port on this machine, for `join`."""
        import socket

        with socket.socket() as s:
            s.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{s.getsockname()[1]}"

    def _device(self) -> str:
        import torch

        return "cuda" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu"

    def _new_model(self, examples: list[Any]) -> None:
        """Create a model with random weights, and a tokenizer trained on `examples`."""
        from prover.models.prompt import PromptConfig
        from rl.learner.algorithms import learner_settings
        from rl.learner.small_model import small_learner, small_model

        m = self.config.model
        prompt = PromptConfig(
            max_prompt=m.max_prompt,
            max_premises=self.config.prover.premises,
            premise_tokens=m.premise_tokens,
            show_types=m.premise_types,
        )
        positions = max(512, prompt.max_prompt + prompt.max_target + 8)
        model, tokenizer = small_model(examples, m, positions, self.config.seed)
        self.learner = small_learner(model, tokenizer, prompt, learner_settings(self.config), self._device())

    def resume(self, limit: int | None = None) -> int:
        """Load the newest complete checkpoint, or the newest up to version `limit`. Returns its version, 0 if there is none."""
        import torch

        self._remove_unfinished()
        folders = [p for p in self._complete() if limit is None or int(p.name) <= limit]
        if folders:
            self.version = int(folders[-1].name)
            self._load(folders[-1])
            if not self.config.serve.start:
                self.learner.load_state_dict(torch.load(folders[-1] / "learner.pt", weights_only=True))
        elif self.config.has_model:
            self._load(None)
            self._save()
        return self.version

    def _remove_unfinished(self) -> None:
        """Remove what killed saves left: hidden folders (save_folder), each as large as a checkpoint."""
        for left in self.folder.glob(".[0-9]*.*") if self.rank == 0 else ():
            shutil.rmtree(left, ignore_errors=True)

    def _load(self, folder: Path | None) -> None:
        """Load the model of a checkpoint, or the start model if `folder` is None, with a new optimizer."""
        from rl.learner.algorithms import learner_settings
        from rl.learner.learner import Learner
        from rl.learner.value import add_head

        c = self.config
        first = c.serve.start or (find_checkpoint(Path(c.model.start), "model.start") if c.model.start else "")
        template = c.serve.template if c.serve.start and folder is None else None
        settings = learner_settings(c)
        self._base = str(folder or first)
        self.learner = Learner.load(self._base, settings, template=template or None, device=self._device())
        if folder is not None and self.config.learns_value:
            add_head(self.learner)  # for checkpoints of versions of Turnstile that had none

    def learn(self, policy: list[Any], value: list[Any], seconds: float, version: int) -> dict[str, float]:
        """Train and save checkpoint `version`. Returns metrics, or {} if that version exists already."""
        from rl.learner.algorithms import train

        if version <= self.version:
            return {}
        if self.config.retrains(version):  # back to the weights of the start, with a new optimizer
            self.learner = None
            if self.config.has_model:
                self._load(None)
        if self.learner is None:
            self._new_model(policy)
        assert self.learner is not None
        c = self.config.learn
        # The rate falls over the run, or until the weights go back to the start, and never jumps back in between.
        cycle = c.retrain_every or c.rounds
        done = (version - 1) % cycle
        part = (done / cycle, (done + 1) / cycle)
        metrics = train(self.learner, self.config, policy, value, seconds, part, self._reference_model(version))
        self.version = version
        self._save()
        _log.info("version %d: %s", version, {k: round(v, 4) for k, v in metrics.items()})
        return metrics

    def _reference_model(self, version: int) -> Any:
        """The frozen reference model of the loss: the start of the run, or for a small model its own weights before the round. None if
        the algorithm needs none."""
        from rl.algorithms.gradient_settings import PRESETS, settings_of

        c = self.config
        if not c.serve.start:
            held = c.learn.kl and (self.version or c.model.start) and not c.retrains(version)
            return copy.deepcopy(self.learner.accelerator.unwrap_model(self.learner.model)).eval() if held else None
        algorithm = c.learn.algorithm
        if algorithm != DPO and not (algorithm in PRESETS and settings_of(algorithm, c.gradient).kl_weight):
            return None
        if self._reference is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

            maker: Any = AutoModelForSeq2SeqLM if self.learner.seq2seq else AutoModelForCausalLM
            # In the dtype of the computation, whatever the folder's, so that it rounds as the policy does.
            dtype = torch.bfloat16 if c.learn.dtype == "bfloat16" else torch.float32
            model: Any = maker.from_pretrained(c.serve.start, dtype=dtype, trust_remote_code=False)
            self._reference = model.to(self.learner.accelerator.device).eval().requires_grad_(False)
        return self._reference

    def _complete(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(p for p in self.folder.glob("[0-9]*") if (p / "learner.pt").exists())

    def _save(self) -> None:
        """Write the checkpoint and remove old ones (`learn.keep`). Raises UserError if the disk is full."""
        import torch

        size = checkpoint_bytes(self.config, sum(p.numel() for p in self.learner.model.parameters()))
        with room_for(self.folder, size, f"checkpoint {self.version}"):
            target = self.folder / f"{self.version:06d}"
            self.learner.save(target, self.version, {"prover": search_settings(asdict(self.config))})
            if self.rank == 0:
                # A resumed pretrained model has new adapters and a new optimizer.
                torch.save({} if self.config.serve.start else self.learner.state_dict(), target / "learner.tmp")
                (target / "learner.tmp").rename(target / "learner.pt")  # marks the checkpoint as complete
        if self.rank == 0 and self.config.learn.keep:
            kept = max(2, self.config.learn.keep)  # the previous one is served until this one is loaded
            for old in self._complete()[:-kept]:
                (old / "learner.pt").unlink()  # first, so that a partly removed folder is not complete
                shutil.rmtree(old)

    def publish(self, base: bool = False) -> list[Any]:
        """Put the newest checkpoint into the object store. Returns [reference to a Published], or [] if there is none.

        `base`: add the base weights if only adapters are published.
        """
        if self.learner is None:
            return []
        folder = self.folder / f"{self.version:06d}"
        files = {
            p.name: p.read_bytes()
            for p in folder.iterdir()
            # Excludes the index of sharded weights, because the receiver writes one file.
            if p.is_file()
            and p.suffix not in (".safetensors", ".pt")
            and not p.name.endswith(".safetensors.index.json")
        }
        adapter = None
        if self.config.serve.across:
            weights = {}  # the replicas read the folder
        elif self.config.learn.shard:
            # Read from the newest checkpoint, because this process has only a part of the weights.
            weights = self.learner.written(folder)
        elif self.config.serve.adapters:
            from rl.learner.adapters import adapter_settings, adapter_weights, frozen_weights

            adapter = Adapter(adapter_weights(self.learner), adapter_settings(self.learner), self._base)
            weights = frozen_weights(self.learner) if base else {}
        else:
            weights = self.learner.weights()
        return [ray.put(Published(self.version, files, weights, str(folder.absolute()), adapter))]
