"""What commands share: answers on standard output, progress on standard error, files written whole or not at all."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from prover.errors import UserError


def one_line(message: str, limit: int = 600) -> str:
    """A message as a single line."""
    text = " ".join(message.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def answer(document: Any, indent: int | None = 2) -> None:
    """A JSON document on standard output. One line where `indent` is None."""
    print(json.dumps(document, ensure_ascii=False, indent=indent), flush=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there complete or as it was. Raises UserError."""
    target = path.resolve() if path.is_symlink() else path
    scratch = None
    try:
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
