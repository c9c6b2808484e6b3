"""Audit the proofs of a .lean file, a project, a run, a statement, or a .jsonl file."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from prover.console import answer, plain, say
from prover.errors import UserError
from prover.lean.audit import Auditor
from prover.lean.checkers.known_holes import kernel_todo, open_reports
from prover.lean.checkers.nanoda import Nanoda, find_nanoda
from prover.lean.mathlib import use_mathlib
from prover.lean.project import is_project
from prover.lean.text import read
from prover.lean.theorem import Verdict
from prover.lean.toolchain import obey
from prover.solve.judge import Claim, jsonl_proofs, judged, judged_files, run_proofs
from prover.solve.statements import script_of, script_of_term, theorem_of


def verify(
    target: Annotated[str | None, tyro.conf.Positional] = None,
    *,
    statement: str | None = None,
    proof: str | None = None,
    name: str = "statement",
    jsonl: Path | None = None,
    against: Path | None = None,
    imports: tuple[str, ...] = (),
    kernel: Literal["lean", "nanoda"] = "lean",
    all: bool = False,
    json: bool = False,
) -> int:
    """Audit proofs from their source in fresh Lean processes: same statement, standard axioms, kernel-checked.

    Args:
        target: a .lean file, a Lake project (all its files), or a run folder.
        statement: a statement, as written after `theorem NAME`: binders, colon, type.
        proof: its proof: tactics, `by …`, `:= …`, or a term.
        name: the name of the statement in the verdict.
        jsonl: a file with one JSON object per line: name, statement, proof, and optional imports and context.
        against: the original of a .lean file or project, with `sorry` in place of the proofs. Statements must be equal,
            and every theorem of the original must be proved.
        imports: modules to import for inputs that specify none.
        kernel: nanoda: a second, independent kernel must accept the proofs too (docs/security.md).
        all: also list declarations that Lean generated.
        json: print one JSON object per verdict, one per line.
    """
    given = [k for k, v in (("a file or run", target), ("--statement", statement), ("--jsonl", jsonl)) if v is not None]
    if len(given) != 1:
        what = f"{' and '.join(given)} exclude each other" if given else "nothing to verify was given"
        raise UserError(f"{what}; give a .lean file, a run folder, --statement with --proof, or --jsonl FILE")
    if (statement is None) != (proof is None):
        raise UserError("--statement and --proof must be given together")
    obey(path for path in (target and Path(target), against, jsonl) if path and path.exists())
    second = find_nanoda() if kernel == "nanoda" else None
    if target is not None and not Path(target).is_dir():
        use_mathlib((*read(Path(target)).imports, *imports), Path(target))
    if target is not None and (not Path(target).is_dir() or is_project(Path(target))):
        file = Path(target)
        return asyncio.run(_report(lambda auditor: _declared(auditor, file, against, imports, all), json, second))
    if against is not None:
        raise UserError("--against needs a .lean file or a Lake project to compare with the original")
    if target is not None:
        claims: Iterable[Claim] = run_proofs(Path(target))
    elif statement is not None and proof is not None:
        theorem = theorem_of({"name": name, "statement": statement}, "--statement", imports)
        claims = [Claim(name, theorem, script_of(proof), script_of_term(proof))]
    else:
        assert jsonl is not None
        claims = list(jsonl_proofs(jsonl, imports))
    if isinstance(claims, list):  # the claims of a run are not kept in memory
        use_mathlib({module for claim in claims for module in claim.theorem.imports}, jsonl)
    return asyncio.run(_report(lambda auditor: judged(auditor, claims), json, second))


def verdict_line(verdict: Verdict) -> dict[str, Any]:
    """The JSON object of a verdict."""
    return {
        "name": verdict.name,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "axioms": list(verdict.axioms),
        "line": verdict.line,
        "lean": verdict.lean,
        "open_reports": open_reports(verdict.lean),
    }


Tally = Counter[str]
"""Number of verdicts of each kind."""


async def _report(verdicts: Callable[[Auditor], AsyncIterator[Verdict]], json: bool, second: Nanoda | None) -> int:
    """Print the verdicts and the totals, and return the exit code."""
    tally: Tally = Counter()
    async with Auditor(kernel=second) as auditor:
        async for verdict in verdicts(auditor):
            show(verdict, json, tally)
    lean = _judges(auditor)
    if not json:
        errors = f", {tally['error']} could not be judged" if tally["error"] else ""
        say(f"{tally['proved']} proved, {tally['rejected']} rejected{errors} by {lean}")
    return 0 if tally["proved"] == tally.total() > 0 else 1


def _judges(auditor: Auditor) -> str:
    """The names of the kernels, for display. Prints the notes of the second kernel."""
    if auditor.kernel is None:
        if note := kernel_todo(auditor.runtime.version):
            say(f"note: the kernel of {auditor.runtime.name} has public weaknesses {note}")
        return auditor.runtime.name
    for note in auditor.kernel.notes:
        say(f"note: {plain(note)}")
    return f"{auditor.runtime.name} and {auditor.kernel.name}"


async def _declared(
    auditor: Auditor, target: Path, against: Path | None, imports: Sequence[str], every: bool
) -> AsyncIterator[Verdict]:
    """The verdicts on a file or project. Prints the notes. Raises UserError if there is no verdict."""
    empty = True
    async for judgement in judged_files(auditor, target, against, imports):
        for verdict in judgement.verdicts:
            if every or not verdict.generated or verdict.verdict != "proved":
                empty = False
                yield verdict
        for note in judgement.notes:
            say(f"note: {plain(note)}")
    if empty:
        raise UserError(f"{target}: declares nothing to verify; name a file with theorems")


def show(verdict: Verdict, json: bool, tally: Tally) -> None:
    tally[verdict.verdict] += 1
    if json:
        answer(verdict_line(verdict), indent=None)
    else:
        # Escaped, so that a name or Lean's output cannot imitate another verdict.
        name, reason = plain(verdict.name), plain(verdict.reason)
        print(f"{verdict.verdict:<8} {name}" + (f"  {reason}" if reason else ""), flush=True)
