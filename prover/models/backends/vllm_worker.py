"""Extension of vLLM's workers: replaces the weights and reports their version.

vLLM imports it in each worker process (`worker_extension_cls`); `collective_rpc` calls its methods.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class ServedWeights:
    """Mixed into vLLM's worker. Version and weights change together."""

    turnstile_version: int
    turnstile_digest: str

    def serve_weights(self, folder: str, version: int, digest: str) -> list[Any]:
        """Load every weight from a folder in place and return [version, digest of the weights].

        Raises ValueError, and keeps the old weights, if the digest differs: a shared file system may be out of date.
        """
        read = weights_digest(folder)
        if digest and read != digest:
            raise ValueError(f"{folder}: this worker reads weights {read}, but {digest} were written")
        tied = bool(getattr(self.model_config.hf_config, "tie_word_embeddings", False))  # type: ignore[attr-defined]
        self.reload_weights(weights_iterator=_tensors(folder, tied))  # type: ignore[attr-defined]
        self.turnstile_version, self.turnstile_digest = version, read
        return [version, read]

    def served_weights(self) -> list[Any]:
        """[version, digest]; [-1, ""] before the first update."""
        return [getattr(self, "turnstile_version", -1), getattr(self, "turnstile_digest", "")]


def _tensors(folder: str, tied: bool) -> Iterator[tuple[str, Any]]:
    """Every tensor of a folder by name. A tied output layer also comes under its own name, because vLLM's CPU build updates
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


def weights_digest(folder: str | Path) -> str:
    """A digest of the safetensors files of a folder."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(Path(folder).glob("*.safetensors")):
        with path.open("rb") as f:
            while block := f.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
