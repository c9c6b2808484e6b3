"""Read regular files with size limits, write files atomically, and find files of a run."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from prover.errors import UserError

MAX_LINE_BYTES = 64 * 2**20
"""Limit on a line, in bytes."""
MAX_SETTINGS_BYTES = 2**20
"""Limit on a configuration file, in bytes."""

_KINDS = {"d": "a folder", "p": "a pipe", "s": "a socket", "c": "a device", "b": "a device"}
"""The first letter of `stat.filemode` -> the kind of file."""


def cache_dir() -> Path:
    """The folder for downloads: $TURNSTILE_CACHE, else the XDG cache folder. An absolute path without links, because the embedded Lean may
    read only the folders that it is given by name. Raises UserError if there is no home folder."""
    if custom := os.environ.get("TURNSTILE_CACHE"):
        return Path(custom).resolve()
    try:
        around = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise UserError("this user has no home folder: set TURNSTILE_CACHE to a folder for downloads") from None
    return around.resolve() / "turnstile"


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next((p for p in (path, *path.parents) if p.exists()), Path("/"))


@contextmanager
def making(target: Path) -> Iterator[None]:
    """Hold the lock of a file or folder of the cache while the caller makes it, and make the folder around it.

    Raises UserError if the cache lacks it and cannot be written to.
    """
    from filelock import FileLock  # here, because `turnstile doctor` works without it

    lock = FileLock(f"{target}.lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        held = lock.acquire()
    except OSError as e:
        raise UserError(
            f"{e.filename or target}: {e.strerror or e}: the cache lacks {target.name}; let its owner run the same command once, or set "
            "TURNSTILE_CACHE to a folder of your own"
        ) from None
    with held:
        yield


def open_file(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading.

    Raises UserError for anything else: a pipe or device may be endless, and opening a pipe waits for a writer.
    """
    check_regular(path)  # opening a device may have an effect
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb")
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from None
    try:
        _must_be_file(path, os.fstat(file.fileno()).st_mode)
    except BaseException:
        file.close()
        raise
    return file


def check_regular(path: Path) -> None:
    """Raise UserError unless `path` is a regular file or a link to one. The file is not opened."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        raise UserError(f"{path}: {getattr(e, 'strerror', None) or e}") from None
    _must_be_file(path, mode)


def _must_be_file(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.filemode(mode)[0], "something else")
        raise UserError(f"{path}: is {kind}, not a file; name a file")


def read_file(path: Path, limit: int) -> bytes:
    """The bytes of a regular file. Raises UserError if there are more than `limit`, even if the file grows during the read."""
    with open_file(path) as file:
        try:
            data = file.read(limit + 1) if os.fstat(file.fileno()).st_size <= limit else None
        except OSError as e:
            raise UserError(f"{path}: {e.strerror or e}") from None
    if data is None or len(data) > limit:
        raise UserError(f"{path}: larger than {limit >> 20} MiB")
    return data


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(1-based number, line) of a regular file, up to its size when it was opened. Raises UserError."""
    with open_file(path) as file:
        left = os.fstat(file.fileno()).st_size
        number = 0
        while left > 0:
            number += 1
            try:
                line = file.readline(min(left, MAX_LINE_BYTES + 1))
            except OSError as e:
                raise UserError(f"{path}: {e.strerror or e}") from None
            if not line:
                return
            if len(line) > MAX_LINE_BYTES:
                raise UserError(f"{path}:{number}: the line is longer than {MAX_LINE_BYTES >> 20} MiB")
            left -= len(line)
            yield number, line


def first_byte(path: Path) -> bytes:
    """The first byte of a regular file after a byte order mark and white space; empty if there is none. Raises UserError."""
    with open_file(path) as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            try:
                chunk = file.read(min(left, 1 << 16))
            except OSError as e:
                raise UserError(f"{path}: {e.strerror or e}") from None
            if not chunk:
                break
            if found := chunk.removeprefix(BOM_UTF8).lstrip()[:1]:
                return found
            left -= len(chunk)
    return b""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically: it is complete or unchanged. Raises UserError."""
    target = path.resolve() if path.is_symlink() else path
    scratch = target.parent / f".{target.name}.{secrets.token_hex(4)}"
    try:
        if _is_special(path):  # write to it instead of replacing it
            path.write_bytes(data)
            return
        with scratch.open("xb") as f:
            if target.exists():
                shutil.copymode(target, scratch)
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        scratch.replace(target)
    except OSError as e:
        with suppress(OSError):
            scratch.unlink()
        raise UserError(f"{path}: cannot be written: {e.strerror or e}") from None


def check_writable(path: Path) -> None:
    """Raise UserError if `write_whole` would fail, before hours of work."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")
    if _is_special(path):
        if not os.access(path, os.W_OK):
            raise UserError(f"{path}: is not writable")
        return
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"{path}: the folder {path.parent} is not writable")


def check_new_folder(folder: Path, option: str) -> None:
    """Raise UserError if a folder exists or cannot be made, before hours of work. `option`: names it."""
    if folder.exists():
        raise UserError(f"{option} {folder}: already exists; name a new folder")
    if not os.access(existing(folder), os.W_OK):
        raise UserError(f"{option} {folder}: {existing(folder)} cannot be written to; name another folder")


def _is_special(path: Path) -> bool:
    """Whether a path is that of a pipe or device. `/dev/stdout` may be one that has no other path (`/proc/1/fd/pipe:[1]`)."""
    return path.exists() and not path.is_file()


def holds_model(folder: Path) -> bool:
    """Whether a folder has a model's weights, in one file or (from 50 GB) in several files with an index."""
    return any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json"))
