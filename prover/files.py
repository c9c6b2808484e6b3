"""Files written whole or not at all, and what stands beside what in a run's folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from prover.errors import UserError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there complete or as it was. Raises UserError."""
    target = path.resolve() if path.is_symlink() else path
    scratch = None
    try:
        if target.exists() and not target.is_file():  # a pipe or a device is written to and not replaced
            target.write_bytes(data)
            return
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as f:
            scratch = f.name
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(scratch, target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~umask)
        os.replace(scratch, target)
    except OSError as e:
        if scratch is not None:
            Path(scratch).unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {e.strerror or e}") from None


def check_writable(path: Path) -> None:
    """Raise UserError now, before hours of work, where `write_whole` would later."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: the folder {path.parent} may not be written to")


def learned_beside(checkpoint: Path, kind: str) -> Path | None:
    """What a run learned along with the model in RUN/checkpoints/VERSION: RUN/`kind`/VERSION.npz, if there is one."""
    path = checkpoint.resolve().parent.parent / kind / f"{checkpoint.name}.npz"
    return path if path.exists() else None


def holds_model(folder: Path) -> bool:
    """Whether a folder has a model's weights: large ones (50 GB) are saved as several files and an index."""
    return any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json"))
