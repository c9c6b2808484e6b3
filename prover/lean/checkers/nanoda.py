"""nanoda: an independent kernel in Rust that checks again the constants that Lean's kernel has accepted.

`nanoda_bin` of github.com/ammkrn/nanoda_lib reads an export file (format 3.1.0) with the accepted constants and all their
dependencies, imported ones included. It runs in the seal, where it can read the export file and write nothing.

The embedded Lean's library has no proofs. There nanoda takes library theorems as axioms, and checks everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prover.errors import UserError
from prover.lean.checkers.lean4export import Exported, axiom_names, export
from prover.lean.declared import NameParts
from prover.lean.sandbox.seal import Seal, Sealing
from prover.lean.server import LeanDied, LeanError

if TYPE_CHECKING:
    from prover.lean.judges import Judges

BINARY = "nanoda_bin"
SECONDS = 600.0
"""Time limit of one run."""
MEMORY_MB = 8192
_REFUSED = (1, 101)
"""nanoda's exit codes when it rejects a file: an error and a panic."""
_CHECKED = re.compile(r"Checked (\d+) declarations")

Fault = tuple[str, bool]
"""(reason why a constant does not count, whether that is a judgement and not an error)."""

Export = Callable[[list[NameParts]], Awaitable[Exported]]


class Nanoda:
    """The second kernel. `notes`: remarks on its judgements, for the user."""

    def __init__(self, binary: Path, version: str = "", seconds: float = SECONDS, reads: Sequence[str] = ()) -> None:
        """`reads`: files and folders that the binary needs besides the system's libraries."""
        self.binary = binary
        self.name = f"nanoda {version}".strip()
        self.seconds = seconds
        self.notes: list[str] = []
        self._reads = tuple(reads)
        self._stand_ins: set[NameParts] = set()

    async def judge_again(
        self,
        judges: Judges,
        imports: Sequence[str],
        entries: Sequence[Any],
        verdicts: Sequence[dict[str, Any]],
        allowed: Iterable[str],
    ) -> None:
        """Check the constants that the checker's `verdicts` accept, and change the verdicts that nanoda does not confirm.

        `entries`: the checker's input. `allowed`: axioms that a proof may use.
        """
        axioms = frozenset(allowed)

        async def exported(roots: list[NameParts]) -> Exported:
            """Constants with all their dependencies. Raises LeanDied, LeanError, ValueError."""
            runtime = judges.runtime
            deep = runtime.kind == "native"
            answer = await judges.check("everything", imports=tuple(imports), entries=entries, roots=roots, deep=deep)
            return export(answer["entries"], runtime.version, answer["githash"])

        asked = {tuple(v["name"]): v for v in verdicts if _accepted(v, axioms)}
        faults = await self._faults(exported, axioms, list(asked))
        for name, (reason, judged) in faults.items():
            asked[name] |= {"problem": reason, "judged": judged}
        if self._stand_ins:
            count = len(self._stand_ins)
            self.notes = [
                f"{self.name} took {count} library theorem{'s' * (count != 1)} as axioms: the embedded Lean's library has no proofs. "
                "With native Lean it checks them too"
            ]

    async def _faults(
        self, exported: Export, allowed: frozenset[str], roots: list[NameParts]
    ) -> dict[NameParts, Fault]:
        """The fault of each root that nanoda does not accept, found by bisection."""
        if not roots or (fault := await self._fault(exported, allowed, roots)) is None:
            return {}
        if len(roots) == 1:
            return {roots[0]: fault}
        half = len(roots) // 2
        first, second = roots[:half], roots[half:]
        return await self._faults(exported, allowed, first) | await self._faults(exported, allowed, second)

    async def _fault(self, exported: Export, allowed: frozenset[str], roots: list[NameParts]) -> Fault | None:
        try:
            file = await exported(roots)
        except LeanDied as e:
            return (
                f"{'time' if e.status == 'timeout' else 'memory'}: writing the export for {self.name} took over its limit",
                False,
            )
        except (LeanError, ValueError) as e:
            return f"crash: the export for {self.name} could not be written: {e}", False
        fault = await self.check(file, allowed)
        if fault is None:
            self._stand_ins.update(file.stand_ins)
        return fault

    async def check(self, exported: Exported, allowed: frozenset[str]) -> Fault | None:
        """Run nanoda on an export file. None: it accepts every declaration."""
        permitted = {n for name in exported.axioms for n in axiom_names(name) if axiom_names(name) & allowed}
        permitted |= {n for name in exported.stand_ins for n in axiom_names(name)}
        with tempfile.TemporaryDirectory(prefix="turnstile-nanoda-") as folder:
            file, config = Path(folder, "export.ndjson"), Path(folder, "config.json")
            file.write_bytes(exported.text)
            config.write_text(json.dumps(_config(file, sorted(permitted))), encoding="utf-8")
            try:
                code, said = await self._run(config, folder)
            except asyncio.TimeoutError:
                return f"time: {self.name} took over {self.seconds:g} s", False
            except (OSError, subprocess.SubprocessError) as e:
                return f"crash: {self.name} did not start: {e}", False
        return self._meaning(code, said, exported.constants)

    def _meaning(self, code: int, said: str, constants: int) -> Fault | None:
        if code in _REFUSED:
            return f"kernel: nanoda refuses: {_words(said)}", True
        if code != 0:
            how = f"died of {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
            return f"crash: {self.name} {how}: {_words(said)}", False
        if (m := _CHECKED.search(said)) is None:
            return f"crash: {self.name} does not say what it checked: {_words(said)}", False
        if int(m[1]) != constants:
            return f"crash: {self.name} checked {m[1]} of {constants} constants", False
        return None

    async def _run(self, config: Path, folder: str) -> tuple[int, str]:
        """(exit code, output). Raises OSError, SubprocessError, asyncio.TimeoutError."""
        seal = Seal((str(self.binary), str(self.binary.resolve()), folder, *self._reads))
        with contextlib.closing(Sealing(seal, (str(self.binary), str(config)), MEMORY_MB)) as sealing:
            process = await asyncio.create_subprocess_exec(
                *sealing.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={"LANG": "C.UTF-8"},
                cwd=sealing.cwd,
                pass_fds=sealing.fds,
                preexec_fn=sealing.apply,
                start_new_session=True,
            )
            sealing.started()
            try:
                out, _ = await asyncio.wait_for(process.communicate(), self.seconds)
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()
        assert process.returncode is not None
        return process.returncode, out[-20_000:].decode(errors="replace")


def _accepted(verdict: dict[str, Any], allowed: frozenset[str]) -> bool:
    axioms = set(verdict["axioms"])
    return not verdict["problem"] and not verdict["forbidden"] and verdict["kind"] != "an axiom" and axioms <= allowed


def _config(file: Path, permitted: list[str]) -> dict[str, Any]:
    return {
        "export_file_path": str(file),
        "use_stdin": False,
        "permitted_axioms": permitted,
        "unpermitted_axiom_hard_error": True,
        "nat_extension": True,
        "string_extension": True,
        "num_threads": 1,
        "print_success_message": True,
        "print_axioms": False,
    }


def _words(said: str) -> str:
    """One line of nanoda's output: the message of a panic, else the first line."""
    lines = [
        line.strip()
        for line in said.splitlines()
        if line.strip() and "RUST_BACKTRACE" not in line and "for help" not in line
    ]
    at = next((i + 1 for i, line in enumerate(lines) if "panicked at" in line), 0)
    return lines[min(at, len(lines) - 1)][:300] if lines else "it says nothing"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def find_nanoda() -> Nanoda:
    """The installed nanoda: $TURNSTILE_NANODA, else `nanoda_bin` on PATH. Raises UserError if there is none."""
    given = os.environ.get("TURNSTILE_NANODA")
    found = shutil.which(given or BINARY)
    if found is None:
        where = f"TURNSTILE_NANODA={given} is no program" if given else f"{BINARY} is not on PATH"
        raise UserError(
            f"{where}: build it from github.com/ammkrn/nanoda_lib with `cargo build --release`, and put target/release/{BINARY} on PATH "
            "or name it in TURNSTILE_NANODA"
        )
    binary = Path(found).absolute()
    return Nanoda(binary, _version(binary))


def _version(binary: Path) -> str:
    """The version in the first line of the binary's help, or empty. Raises UserError if the binary does not run."""
    try:
        done = subprocess.run([str(binary), "--help"], capture_output=True, text=True, errors="replace", timeout=20)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise UserError(f"{binary} does not run: {e}") from None
    m = re.match(rf"{BINARY} (\d[\w.+-]*)", done.stdout)
    return m[1] if m else ""
