"""Extension of vLLM's workers: replaces weights or adapters and reports their version, and answers with a value head.

vLLM imports it in each worker process (`worker_extension_cls`); `collective_rpc` calls its methods.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prover.models.manifest import VALUE_HEAD

MAX_LORA_RANK = 512
"""Maximum rank of adapters in vLLM."""
BY_HEAD = "value"
"""Prefix of the names of requests that the value head answers."""


class ServedWeights:
    """Mixed into vLLM's worker. Version and weights change together."""

    turnstile_version: int
    turnstile_digest: str
    turnstile_head: Any

    def serve_weights(self, folder: str, version: int, digest: str) -> list[Any]:
        """Load every weight from a folder in place and return [version, digest of the weights].

        Raises ValueError, and keeps the old weights, if the digest differs: a shared file system may be out of date.
        """
        read = _checked(folder, digest)
        tied = bool(getattr(self.model_config.hf_config, "tie_word_embeddings", False))  # type: ignore[attr-defined]
        self.reload_weights(weights_iterator=_tensors(folder, tied))  # type: ignore[attr-defined]
        self.load_head(folder)
        self.turnstile_version, self.turnstile_digest = version, read
        return [version, read]

    def serve_adapter(self, folder: str, version: int, digest: str, key: int) -> list[Any]:
        """Load LoRA adapters and the value head from a folder as peft writes it, and return [version, digest of the folder].

        `key`: vLLM's number of the adapters, different for each version. Returns [-1, reason] if vLLM rejects them, and raises
        ValueError if the digest differs; it then keeps the old ones.
        """
        from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]

        read = _checked(folder, digest)
        try:
            # The engine has room for one set of adapters, so that this removes the old one.
            self.add_lora(LoRARequest(f"version {version}", key, folder))  # type: ignore[attr-defined]
        except ValueError as error:
            return [-1, str(error)]
        self.load_head(folder)
        self.turnstile_version, self.turnstile_digest = version, read
        return [version, read]

    def served_weights(self) -> list[Any]:
        """[version, digest]; [-1, ""] before the first update."""
        return [getattr(self, "turnstile_version", -1), getattr(self, "turnstile_digest", "")]

    def load_head(self, folder: str) -> bool:
        """Load the value head of a folder. Returns whether it has one."""
        from prover.models.value_head import read_head

        head = read_head(folder)
        self.turnstile_head = head.to(self.device) if head is not None else None  # type: ignore[attr-defined]
        model = self.get_model()  # type: ignore[attr-defined]
        if head is not None and "compute_logits" not in model.__dict__:
            model.__dict__["compute_logits"] = self._with_values(model.compute_logits)
        return head is not None

    def _with_values(self, compute: Any) -> Any:
        """Wrap the model's `compute_logits`. For value requests, the logits are those of the head's bins, at the first token ids, and -inf
        elsewhere. vLLM does not return the hidden states of a model that generates. In this way values use its scheduler, prefix cache
        and parallelism."""
        names = _scheduled(self.model_runner)  # type: ignore[attr-defined]

        def compute_logits(states: Any, *args: Any, **more: Any) -> Any:
            logits = compute(states, *args, **more)
            rows = [i for i, name in enumerate(names()[: len(states)]) if name.startswith(BY_HEAD)]
            if rows and logits is not None:  # None where another worker samples
                bins = self.turnstile_head(states[rows])
                logits[rows] = float("-inf")
                logits[rows, : bins.shape[1]] = bins.to(logits.dtype)
            return logits

        return compute_logits


def _scheduled(runner: Any) -> Callable[[], list[str]]:
    """A function that returns the names of the requests in the current batch, a row of logits each."""
    if hasattr(runner, "input_batch"):
        return lambda: runner.input_batch.req_ids
    # The second version of the runner passes its batch to `sample`, which computes the logits.
    names: list[str] = []
    sample = runner.sample

    def noted(states: Any, batch: Any, *args: Any, **more: Any) -> Any:
        names[:] = batch.req_ids
        return sample(states, batch, *args, **more)

    runner.sample = noted
    return lambda: names


def _tensors(folder: str, tied: bool) -> Iterator[tuple[str, Any]]:
    """Every tensor of a folder by name. A tied output layer is also yielded under its own name, because vLLM's CPU build updates
    its packed copy only when that name is loaded."""
    from safetensors import safe_open

    names: set[str] = set()
    embedding = None
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as f:
            for name in f.keys():  # noqa: SIM118 - not a dict
                tensor = f.get_tensor(name)
                names.add(name)
                embedding = tensor if name == "model.embed_tokens.weight" else embedding
                yield name, tensor
    if tied and embedding is not None and "lm_head.weight" not in names:
        yield "lm_head.weight", embedding


def _checked(folder: str, digest: str) -> str:
    """The digest of a folder. Raises ValueError if another one is expected."""
    read = weights_digest(folder)
    if digest and read != digest:
        raise ValueError(f"{folder}: this worker reads weights {read}, but {digest} were written")
    return read


def weights_digest(folder: str | Path) -> str:
    """A digest of the safetensors files of a folder, with the value head's."""
    digest = hashlib.blake2b(digest_size=8)
    head = Path(folder) / VALUE_HEAD
    for path in [*sorted(Path(folder).glob("*.safetensors")), *([head] if head.is_file() else [])]:
        with path.open("rb") as f:
            while block := f.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
