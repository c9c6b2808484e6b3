"""The versions of the software that a run's results depend on."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib import metadata

PACKAGES = ("turnstile-prover", "torch", "transformers", "ray", "vllm")


def versions(lean: str) -> dict[str, str]:
    """Version by name: Lean, Python and the packages that are installed. `lean`: the runtime's name."""
    found = {"lean": lean, "python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found["turnstile" if name == "turnstile-prover" else name] = metadata.version(name)
    return found
