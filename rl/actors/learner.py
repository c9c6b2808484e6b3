"""The actor that owns the trained model, its optimizer and the checkpoints."""

from __future__ import annotations

import copy
import json
import logging
import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray

from prover.files import write_whole
from prover.logs import ActorLog
from prover.models.formats import SETTINGS
from prover.models.manifest import find_checkpoint, search_settings
from rl.actors.model_server import Published
from rl.config import RunConfig
from rl.needs import checkpoint_bytes, room_for

_log = logging.getLogger(__name__)


@ray.remote
class LearnerActor:
    """Trains the model. Each call of `learn` writes a checkpoint, and `resume` loads the newest one."""

    def __init__(self, config: RunConfig, folder: str, rank: int = 0, log: ActorLog | None = None) -> None:
        """`folder`: for checkpoints. `rank`: in `config.learn.ranks`; only rank 0 writes."""
        if log is not None:
            log.open()
        self.config = config
        self.folder = Path(folder)
        self.rank = rank
        self.learner: Any = None
        self.pretrained: Any = None
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

    def _learner_config(self) -> Any:
        from rl.learner.from_scratch import LearnerConfig

        c = self.config.learn
        return LearnerConfig(
            learning_rate=c.learning_rate,
            warmup=c.warmup,
            clip_norm=c.clip_norm,
            kl=c.kl,
            ema=c.ema,
            batch_tokens=c.batch_tokens,
            value_weight=c.value_weight,
            fresh_names=c.fresh_names,
            threads=c.threads,
            dtype=c.dtype,
            seed=self.config.seed,
        )

    def _device(self) -> str:
        import torch

        return "cuda" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu"

    def _new_model(self, texts: list[str]) -> None:
        """Create a model from scratch, with a tokenizer trained on `texts`."""
        from prover.models.prompt import PromptConfig
        from prover.models.tokenizer import train_tokenizer
        from prover.models.transformer import new_model
        from rl.learner.from_scratch import Learner

        m = self.config.model
        prompt = PromptConfig(
            max_prompt=m.max_prompt,
            max_premises=self.config.prover.premises,
            premise_tokens=m.premise_tokens,
            show_types=m.premise_types,
        )
        tokenizer = train_tokenizer(texts, m.vocabulary)
        positions = max(512, prompt.max_prompt + prompt.max_target + 8)
        model = new_model(
            len(tokenizer), m.hidden, m.layers, m.heads, m.intermediate, positions=positions, seed=self.config.seed
        )
        self.learner = Learner(model, tokenizer, prompt, self._learner_config(), device=self._device())

    def resume(self, limit: int | None = None) -> int:
        """Load the newest complete checkpoint, or the newest up to version `limit`. Returns its version, 0 if there is none."""
        import torch

        folders = [p for p in self._complete() if limit is None or int(p.name) <= limit]
        if self.config.serve.start:
            from rl.learner.pretrained import Pretrained

            self.pretrained = Pretrained(
                self.config, folders[-1] if folders else self.config.serve.start, self._device()
            )
            self.version = int(folders[-1].name) if folders else 0
            if not folders:
                self._save()
        elif folders:
            self._load(folders[-1])
            self.learner.load_state_dict(torch.load(folders[-1] / "learner.pt", weights_only=True))
            self.version = int(folders[-1].name)
        elif self.config.model.start:
            self._load(find_checkpoint(Path(self.config.model.start), "model.start"))
            self._save()
        return self.version

    def _load(self, folder: Path) -> None:
        """Take the small model of a checkpoint, with a new optimizer."""
        from prover.models.transformer import LanguageModelPolicy
        from rl.learner.from_scratch import Learner

        policy = LanguageModelPolicy.load(folder)
        self.learner = Learner(
            policy.model.train(),
            policy.tokenizer,
            policy.prompter.config,
            self._learner_config(),
            device=self._device(),
        )

    def learn(self, policy: list[Any], value: list[Any], seconds: float, version: int) -> dict[str, float]:
        """Train and save checkpoint `version`. Returns metrics, or {} if that version exists already.

        Policy examples with `old_logprob` nan get that of the current model. With `learn.kl` the current model is the
        reference.
        """
        if version <= self.version:
            return {}
        metrics = self._train(policy, value, seconds, version)
        _log.info("version %d: %s", version, {k: round(v, 4) for k, v in metrics.items()})
        return metrics

    def _train(self, policy: list[Any], value: list[Any], seconds: float, version: int) -> dict[str, float]:
        if self.config.retrains(version):
            self._start_again()
        if self.pretrained is not None:
            metrics = self.pretrained.train(policy, value, seconds)
            self.version = version
            self._save()
            return metrics
        if self.learner is None:
            self._new_model([e.state for e in policy] + [e.tactic for e in policy] * 3)
        assert self.learner is not None
        if self.config.learn.kl and (self.version or self.config.model.start) and not self.config.retrains(version):
            self.learner.reference = copy.deepcopy(self.learner.model).eval()
        asked = [e for e in policy if e.old_logprob is not None and math.isnan(e.old_logprob)]
        if asked:
            known = dict(zip(map(id, asked), self.learner.logprobs(asked), strict=True))
            policy = [replace(e, old_logprob=known[id(e)]) if id(e) in known else e for e in policy]
            policy = [e for e in policy if e.old_logprob is None or not math.isnan(e.old_logprob)]
        c = self.config.learn
        # The rate falls over the run, or until the weights go back to the start, and never jumps back in between.
        cycle = c.retrain_every or c.rounds
        done = (version - 1) % cycle
        part = (done / cycle, (done + 1) / cycle)
        metrics = self.learner.train([*policy, *value], seconds=seconds, epochs=c.max_epochs or None, part=part)
        self.version = version
        if self.rank == 0:
            self._save()
        return metrics

    def _start_again(self) -> None:
        """Go back to the weights of the start, with a new optimizer."""
        if self.config.serve.start:
            from rl.learner.pretrained import Pretrained

            self.pretrained = Pretrained(self.config, self.config.serve.start, self._device())
        elif self.config.model.start:
            self._load(find_checkpoint(Path(self.config.model.start), "model.start"))
        else:
            self.learner = None  # `_train` makes a new one

    def _complete(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(p for p in self.folder.glob("[0-9]*") if (p / "learner.pt").exists())

    def _save(self) -> None:
        """Write the checkpoint and remove old ones (`learn.keep`). Raises UserError if the disk is full."""
        model = self.learner.model if self.pretrained is None else self.pretrained.tuner.model
        size = checkpoint_bytes(self.config, sum(p.numel() for p in model.parameters()))
        with room_for(self.folder, size, f"checkpoint {self.version}"):
            self._write()
        if self.rank == 0 and self.config.learn.keep:
            kept = max(2, self.config.learn.keep)  # the previous one is served until this one is loaded
            for old in self._complete()[:-kept]:
                (old / "learner.pt").unlink()  # first, so that a partly removed folder is not complete
                shutil.rmtree(old)

    def _write(self) -> None:
        import torch

        from prover.models.transformer import save_folder

        target = self.folder / f"{self.version:06d}"
        search = search_settings(asdict(self.config))
        if self.pretrained is not None:
            self.pretrained.save(target, self.version)
            if self.rank == 0:
                path = target / SETTINGS
                write_whole(path, json.dumps({**json.loads(path.read_text()), "prover": search}, indent=1).encode())
                (target / "learner.pt").touch()  # marks the checkpoint as complete
            return
        settings = {"version": self.version, "prompt": asdict(self.learner.prompter.config), "prover": search}
        published = copy.deepcopy(self.learner.model)
        published.load_state_dict(self.learner.weights())
        save_folder(target, published, self.learner.tokenizer, settings)
        scratch = target / "learner.tmp"
        torch.save(self.learner.state_dict(), scratch)
        scratch.rename(target / "learner.pt")

    def publish(self) -> list[Any]:
        """Put the newest checkpoint into the object store. Returns [reference to a Published], or [] if there is none."""
        trained: Any = self.learner if self.pretrained is None else self.pretrained
        if trained is None:
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
        weights = trained.weights(folder) if self.pretrained is not None else trained.weights()
        return [ray.put(Published(self.version, files, weights, str(folder.absolute())))]
