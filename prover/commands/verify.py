"""Judge proofs: a .lean file, a project, a run, a statement and its proof, or a .jsonl file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from prover.console import answer, plain, say
from prover.errors import UserError
from prover.lean.audit import Auditor
from prover.lean.checkers.nanoda import Nanoda, find_nanoda
from prover.lean.project import is_project
from prover.lean.theorem import Verdict
from prover.solve.judge import Claim, jsonl_proofs, judged, judged_files, run_proofs
from prover.solve.statements import script_of, theorem_of


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
    """Judge proofs from their source in fresh Lean processes: same statement, standard axioms, everything through the kernel.

    Args:
        target: a .lean file, the folder of a Lake project (every file of it), or the folder of a run.
        statement: a statement as it stands after `theorem NAME`: binders, colon, type.
        proof: its proof: tactics, or `by …`, or `:= …`.
        name: what to call it in the verdict.
        jsonl: a file with one JSON object a line: name, statement, proof, and optionally imports and context.
        against: for a .lean file or a project: the same with `sorry` where proofs were asked for. Statements must be the
            same, and every theorem in it must be proved.
        imports: modules to import, for what does not name its own.
        kernel: nanoda: a second, independent kernel must accept too what Lean's accepts (docs/security.md).
        all: list what Lean generated for other declarations too.
        json: print one JSON object a line and verdict.
    """
    given = [k for k, v in (("a file or run", target), ("--statement", statement), ("--jsonl", jsonl)) if v is not None]
    if len(given) != 1:
        what = f"not {' and '.join(given)} together" if given else "nothing to verify was given"
        raise UserError(f"{what}: give a .lean file, a run's folder, --statement with --proof, or --jsonl FILE")
    if (statement is None) != (proof is None):
        raise UserError("--statement and --proof go together")
    second = find_nanoda() if kernel == "nanoda" else None
    if target is not None and (not Path(target).is_dir() or is_project(Path(target))):
        return asyncio.run(_files(Path(target), against, imports, json, all, second))
    if against is not None:
        raise UserError("--against ORIGINAL needs a .lean file or a Lake project to compare with it")
    if target is not None:
        claims: Iterable[Claim] = run_proofs(Path(target))
    elif statement is not None and proof is not None:
        theorem = theorem_of({"name": name, "statement": statement}, "--statement", imports)
        claims = [Claim(name, theorem, script_of(proof))]
    else:
        assert jsonl is not None
        claims = list(jsonl_proofs(jsonl, imports))
    return asyncio.run(_proofs(claims, json, second))


def verdict_line(verdict: Verdict) -> dict[str, Any]:
    """What `--json` prints for a verdict."""
    return {
        "name": verdict.name,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "axioms": list(verdict.axioms),
        "line": verdict.line,
        "lean": verdict.lean,
    }


class Tally:
    """How many verdicts there were of each kind."""

    def __init__(self) -> None:
        self.counts = {"proved": 0, "rejected": 0, "error": 0}

    @property
    def judged(self) -> int:
        return sum(self.counts.values())

    def finish(self, json: bool, lean: str) -> int:
        """Say the totals, for people. The exit code."""
        if not json:
            errors = f", {self.counts['error']} could not be judged" if self.counts["error"] else ""
            say(f"{self.counts['proved']} proved, {self.counts['rejected']} rejected{errors} by {lean}")
        return 0 if self.counts["proved"] == self.judged > 0 else 1


async def _proofs(claims: Iterable[Claim], json: bool, second: Nanoda | None) -> int:
    tally = Tally()
    async with Auditor(kernel=second) as auditor:
        async for verdict in judged(auditor, claims):
            show(verdict, json, tally)
    return tally.finish(json, _judges(auditor))


def _judges(auditor: Auditor) -> str:
    """Who judged, for people. Says the second kernel's notes."""
    if auditor.kernel is None:
        return auditor.runtime.name
    for note in auditor.kernel.notes:
        say(f"note: {plain(note)}")
    return f"{auditor.runtime.name} and {auditor.kernel.name}"


async def _files(
    target: Path, against: Path | None, imports: Sequence[str], json: bool, every: bool, second: Nanoda | None
) -> int:
    tally = Tally()
    async with Auditor(kernel=second) as auditor:
        async for judgement in judged_files(auditor, target, against, imports):
            for verdict in judgement.verdicts:
                if every or not verdict.generated or verdict.verdict != "proved":
                    show(verdict, json, tally)
            for note in judgement.notes:
                say(f"note: {plain(note)}")
    if not tally.judged:
        raise UserError(f"{target}: declares nothing to verify")
    return tally.finish(json, _judges(auditor))


def show(verdict: Verdict, json: bool, tally: Tally) -> None:
    tally.counts[verdict.verdict] += 1
    if json:
        answer(verdict_line(verdict), indent=None)
    else:
        # A name may hold a line break and a reason what a proof made Lean say: neither may look like another verdict.
        name, reason = plain(verdict.name), plain(verdict.reason)
        print(f"{verdict.verdict:<8} {name}" + (f"  {reason}" if reason else ""), flush=True)
