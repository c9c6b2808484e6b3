"""`python -m prover.lean.mentions [VERSION]`: list every constant of Lean's library that the native server of a release mentions.

The embedded Lean elaborates that source and reads the constants from its environment (lean_project/Tools/Mentions.lean), so the
list is the embedded release's. It also shows whether the source elaborates there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from prover.errors import UserError
from prover.lean.embedded import install
from prover.lean.runtime import embedded_command
from prover.lean.source import PINNED, project_dir, server_source, supported, supported_text

_SECONDS = 600
_NO_CODE = ("failed to compile definition", "Unknown constant", "aborting evaluation")
"""Errors about the compiled form of library functions, which the embedded library lacks, and not about elaboration."""


@dataclass(frozen=True)
class Mentions:
    constants: dict[str, tuple[str, ...]]
    """By module of Lean's library."""
    errors: tuple[str, ...]
    """Errors of the source's elaboration."""


def mentions(version: str = PINNED) -> Mentions:
    """Installs the embedded Lean if needed. Raises UserError for an unsupported version, or if Lean lists nothing."""
    if not supported(version):
        raise UserError(f"{version}: choose a Lean version from {supported_text()}")
    tool = (
        (project_dir() / "Tools" / "Mentions.lean").read_text(encoding="utf-8").replace("import Turnstile.Main\n", "")
    )
    # The embedded Lean takes a file for a module, whose `main` must be public.
    server = server_source(version, embedded=False).replace("\nunsafe def main ", "\npublic unsafe def main ")
    root = install.install()
    with tempfile.TemporaryDirectory(prefix="turnstile-") as scratch:
        folder = Path(scratch)
        (folder / "Server.lean").write_text(server + tool, encoding="utf-8")
        command, env = embedded_command(root, folder)
        done = subprocess.run(
            [*command, "/srv/Server.lean"],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_SECONDS,
            check=False,
        )
    lines = done.stdout.decode(errors="replace").splitlines()
    found: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith("MENTIONS "):
            _, module, constant = line.split(" ", 2)
            found.setdefault(module, set()).add(constant)
    if not found:
        raise UserError(f"the embedded Lean listed no constants: {lines[-1] if lines else 'no output'}")
    errors = [line for line in lines if line.startswith("/srv/") and ": error" in line]
    return Mentions(
        {module: tuple(sorted(found[module])) for module in sorted(found)},
        tuple(line for line in errors if not any(why in line for why in _NO_CODE)),
    )


def main() -> int:
    try:
        found = mentions(*sys.argv[1:2])
    except UserError as error:
        print(f"turnstile: {error}", file=sys.stderr)
        return 2
    pairs = [(module, constant) for module, constants in found.constants.items() for constant in constants]
    for module, constant in pairs:
        print(module, constant)
    print(f"{len(pairs)} constants of {len(found.constants)} modules", file=sys.stderr)
    for line in found.errors:
        print(f"does not elaborate: {line}", file=sys.stderr)
    return 1 if found.errors else 0


if __name__ == "__main__":
    sys.exit(main())
