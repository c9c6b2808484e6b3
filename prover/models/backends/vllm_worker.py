"""What runs inside vLLM's workers: new weights with their version in one call, and which version is served.

Imported by vLLM in each worker process (`worker_extension_cls`); its methods are called by `collective_rpc`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class ServedWeights:
    """Mixed into vLLM's worker. Version and weights change together, so that one never speaks for the other."""

    turnstile_version: int
    turnstile_digest: str

    def serve_weights(self, folder: str, version: int, digest: str) -> list[Any]:
        """Load every weight from a folder in place; [version, digest of what was read].

        Raises ValueError, with the old weights still served, when the folder is not the one that was written (`digest`):
        on a cluster, a shared file system may still show an older one.
        """
        read = weights_digest(folder)
        if digest and read != digest:
            raise ValueError(f"{folder}: this worker reads other weights ({read}) than were written ({digest})")
        tied = bool(getattr(self.model_config.hf_config, "tie_word_embeddings", False))  # type: ignore[attr-defined]
        self.reload_weights(weights_iterator=_tensors(folder, tied))  # type: ignore[attr-defined]
        self.turnstile_version, self.turnstile_digest = version, read
        return [version, read]

    def served_weights(self) -> list[Any]:
        """[version, digest]; [-1, ""] before the first update."""
        return [getattr(self, "turnstile_version", -1), getattr(self, "turnstile_digest", "")]


def _tensors(folder: str, tied: bool) -> Iterator[tuple[str, Any]]:
    """Every tensor of a folder by name; the output layer by its own name too where a folder holds it once with the input's,
    because vLLM's CPU build keeps a packed copy of it that is made anew only when it is loaded."""
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
