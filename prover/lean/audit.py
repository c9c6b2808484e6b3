"""The audit decides whether a proof counts: same statement, allowed axioms, every constant checked again by the kernel.

It uses three processes, so that the process that decides never reads text that claims a proof:

- The *reference* elaborates the statement and exports its constants. It has read no proof and no text of another author.
- The *candidate* elaborates the proof, which may run any code, and exports the resulting constants. They are untrusted data.
- The *checker* elaborates no text. It adds the exported constants to a clean environment, each through a guard and the kernel,
  compares them with the reference's as terms, and lists the axioms that each depends on.

The audit does not parse text to find declarations: Lean reports what each command declared (`declared.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prover.lean.checkers.nanoda import Nanoda
from prover.lean.declared import NameParts, Report, declared, name_of, obligations
from prover.lean.judges import Judges, Place, died
from prover.lean.project import SourceModule
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.server import WHOLE_LIBRARY, LeanDied, LeanError, LeanServer, Limits, statement_source
from prover.lean.text import LAST_DOC
from prover.lean.theorem import Theorem, Verdict
from prover.lean.verdicts import Judgement, JudgementBuilder, Verdicts, command_trouble, one_line, trouble

__all__ = ["STANDARD_AXIOMS", "Auditor", "Judgement", "Source"]

FILES_KEPT = 2
"""Number of references whose reports are kept: a file with `sorry`, and with an axiom in place of each."""
STANDARD_AXIOMS = ("propext", "Classical.choice", "Quot.sound")


@dataclass(frozen=True)
class Source:
    """A text to judge, and the modules before it."""

    text: str
    imports: tuple[str, ...] = ("Init",)
    """Compiled modules before it."""
    file: str = "<source>"
    before: tuple[SourceModule, ...] = ()
    """Modules given as source. Their declarations are not judged, but the kernel checks those that the text uses."""
    header: tuple[str, ...] | None = None
    """Modules that the text's own header imports. None if the text has no header."""

    @property
    def place(self) -> Place:
        return Place(self.imports, self.before)

    def fields(self) -> dict[str, Any]:
        return {"source": self.text, "file": self.file, "trees": True, "header": self.header is not None}


class NotJudged(LeanError):
    """A statement was not judged, because of a limit."""


class Auditor:
    """Judges proofs. Use as an async context manager; its processes start on demand.

    `fresh_every`: shared processes are replaced after that many proofs, so that a proof's effects on one do not last.
    `forbidden`: constants that no proof may use. `seconds`: time limit for each command of a text and each declaration.
    `kernel`: a second kernel that must also accept every proof. `assumed`: an allowed axiom that a candidate may use only for what its
    reference uses it for (`Turnstile/Assume.lean`).
    """

    def __init__(
        self,
        runtime: LeanRuntime | None = None,
        allowed_axioms: Iterable[str] = STANDARD_AXIOMS,
        forbidden: Iterable[str] = (),
        fresh_every: int = 500,
        seconds: float = 120.0,
        kernel: Nanoda | None = None,
        assumed: str = "",
    ) -> None:
        self.runtime = runtime or find_runtime()
        self.allowed = frozenset((*allowed_axioms, assumed) if assumed else allowed_axioms)
        self.assumed = assumed
        self.forbidden = frozenset(forbidden)
        self.limits = Limits(heartbeats=400_000, seconds=seconds, open_seconds=seconds + 30)
        self.kernel = kernel
        self._verdicts = Verdicts(self.runtime.name, self.allowed)
        self.judges = Judges(self.runtime, self.limits, fresh_every)
        self._references: dict[tuple[Place, str], Report] = {}
        self._files: dict[Source, Report] = {}
        """Reports on the last references of `judge`, the least recently used first."""

    async def __aenter__(self) -> Auditor:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the processes."""
        await self.judges.close()

    @property
    def servers(self) -> list[LeanServer]:
        """Its processes that it keeps between proofs."""
        return self.judges.servers

    # -- one theorem -------------------------------------------------------------------------------------------------

    async def audit(self, theorem: Theorem, script: str) -> Verdict:
        """Judge a tactic script for a theorem."""
        try:
            if theorem.library is not None:
                return await self._library(theorem, script)
            return await self._statement(theorem, script)
        except LeanError as e:
            return self._verdicts.refused(theorem.name, one_line(str(e)), error=isinstance(e, NotJudged))
        except LeanDied as e:
            return self._verdicts.refused(theorem.name, died(e), error=True)

    async def _library(self, theorem: Theorem, script: str) -> Verdict:
        fields = {"name": theorem.library, "imports": theorem.imports, "whole": WHOLE_LIBRARY}
        proved = await self.judges.library_proof(script, **fields)
        checked = await self.judges.check("check_library", entries=proved["entries"], **self._rules, **fields)
        if self.kernel is not None:
            await self.kernel.judge_again(
                self.judges, theorem.imports, proved["entries"], [checked["verdict"]], self.allowed
            )
        return self._verdicts.judged(theorem.name, checked["verdict"])

    async def _statement(self, theorem: Theorem, script: str) -> Verdict:
        place = Place(theorem.imports, theorem.before, LAST_DOC.sub("", theorem.context))
        bare = replace(theorem, context="")
        async with self.judges.turn(place):
            reference, root = await self._asked(place, bare, theorem.source or theorem.name)
            source = statement_source(bare, script)
            candidate = await self.judges.proof(place, source=source, file=theorem.name, roots=[root])
        if (why := _trouble(candidate, theorem.name)) is not None:
            return self._verdicts.refused(theorem.name, why[0], error=why[1])
        asked = {"asked": root, "offered": [root]}
        answer = await self._check(place, candidate.entries, reference.entries, [asked], [])
        return self._verdicts.judged(theorem.name, answer[0])

    async def _asked(self, place: Place, theorem: Theorem, file: str) -> tuple[Report, NameParts]:
        """The report of a statement, and the full name of the theorem that it declares.

        Raises LeanError unless the text is exactly one theorem of that name with exactly that statement.
        """
        source = statement_source(theorem)
        key = (place, source)
        if key not in self._references:
            if len(self._references) > 1000:
                self._references.clear()
            self._references[key] = await self.judges.statement(place, source=source, file=file)
        report = self._references[key]
        if (why := _trouble(report, file)) is not None:
            if why[1]:
                self._references.pop(key, None)  # a later attempt may stay within the limit
                raise NotJudged(why[0])
            raise LeanError(f"statement: {why[0].removeprefix('elaboration: ')}")
        heads = [head for command in report.commands for head in command.heads]
        value = len(source.encode()) - len(b":= by\n  sorry\n")
        if len(report.commands) != 1 or len(heads) != 1 or heads[0].value != value or report.unread is not None:
            raise LeanError("statement: it goes on after its end")
        name = name_of(heads[0], report.commands[0].new)
        if heads[0].kind != "Lean.Parser.Command.theorem" or name is None or heads[0].name != _parts(theorem.name):
            raise LeanError(f"statement: it declares no theorem {theorem.name}")
        return report, name

    # -- a text ------------------------------------------------------------------------------------------------------

    async def judge(self, candidate: Source, reference: Source | None = None, lenient: bool = False) -> Judgement:
        """Judge everything that a text declares.

        `reference`: the same text with `sorry` for the proofs. The candidate must then declare everything that it declares, with
        the same meaning and without `sorry`. Raises LeanError if the reference has errors. `lenient`: commands of the reference
        may have errors, which the candidate then repeats. Their declarations are rejected, and so are all that depend on them.
        """
        wanted = await self._reference_report(reference, lenient) if reference is not None else None
        try:
            async with self.judges.fresh() as server:
                report = await self.judges.declare(server, candidate.place, candidate.fields())
                return await self._judge_report(candidate, report, wanted, reference.file if reference else "", server)
        except LeanDied as e:
            return Judgement([self._verdicts.refused(candidate.file, died(e), error=True)])

    async def _reference_report(self, reference: Source, lenient: bool) -> Report:
        """The report on the reference. Kept for the next candidate, because a file is audited again for each proof removed from it."""
        if (report := self._files.pop(reference, None)) is None:
            report = await self.judges.text(reference.place, types=True, assumed=self.assumed, **reference.fields())
        # After a limit, a later attempt may stay within it.
        if not any(part.stopped for part in (*report.errors, *report.commands)):
            self._files[reference] = report
        while len(self._files) > FILES_KEPT:
            del self._files[next(iter(self._files))]
        if nothing := next((c for c in report.commands if c.nothing), None):
            raise LeanError(f"statement: {reference.file}:{nothing.line}: this declaration leaves nothing behind")
        if (why := _trouble(report, reference.file, lenient)) is not None:
            raise LeanError(f"statement: {reference.file}: {why[0].removeprefix('elaboration: ')}")
        return report

    async def _judge_report(
        self, candidate: Source, report: Report, wanted: Report | None, original: str, server: LeanServer
    ) -> Judgement:
        if report.errors:
            why, unjudged = trouble(report.errors[0], candidate.file)
            return Judgement([self._verdicts.refused(candidate.file, why, error=unjudged)])
        header = tuple(dict.fromkeys(name.replace("«", "").replace("»", "") for name in report.header))
        if candidate.header is not None and header != candidate.header:
            reason = f"elaboration: line 1: Lean reads the imports {', '.join(header)} here"
            return Judgement([self._verdicts.refused(candidate.file, reason)])
        asked, besides = obligations(wanted, report) if wanted is not None else ([], declared(report))
        known = {name for o in asked for name in o.offered} | {d.name for d in besides}
        generated = [n for c in report.commands for n in c.new if n and n not in known]
        added = [*(d.name for d in besides), *generated]
        entries = wanted.entries if wanted is not None else None
        answer = await self._check(candidate.place, report.entries, entries, [o.message() for o in asked], added)
        answers, rest = answer[: len(asked)], answer[len(asked) :]
        return await JudgementBuilder(self._verdicts, candidate.file, report, original, server).judgement(
            asked, answers, besides, rest
        )

    async def audit_source(
        self,
        source: str,
        imports: Sequence[str] = ("Init",),
        reference: str | None = None,
        file: str = "<source>",
        before: Sequence[SourceModule] = (),
    ) -> list[Verdict]:
        """Judge text without a header (see `judge`). Leaves out verdicts on generated declarations that are proved."""
        candidate = Source(source, tuple(imports), file, tuple(before))
        wanted = None if reference is None else replace(candidate, text=reference)
        return [v for v in (await self.judge(candidate, wanted)).verdicts if not v.generated or v.verdict != "proved"]

    # -- the checker -------------------------------------------------------------------------------------------------

    async def _check(
        self, place: Place, entries: list[Any], reference: list[Any] | None, asked: list[Any], added: list[NameParts]
    ) -> list[dict[str, Any]]:
        """The checker's verdicts on the obligations, then on the added constants."""
        answer = await self.judges.check(
            "check",
            imports=place.imports,
            entries=entries,
            reference=reference,
            obligations=asked,
            added=added,
            **self._rules,
        )
        if self.kernel is not None:
            await self.kernel.judge_again(self.judges, place.imports, entries, answer["verdicts"], self.allowed)
        return answer["verdicts"]

    @property
    def _rules(self) -> dict[str, Any]:
        # The embedded library has no proofs for the deep search.
        return {"deep": self.runtime.kind == "native", "forbidden": sorted(self.forbidden), "assumed": self.assumed}


def _trouble(report: Report, file: str, lenient: bool = False) -> tuple[str, bool] | None:
    """(reason why the text as a whole fails, whether that is an error instead of a judgement), or None. `lenient`: commands may have errors."""
    if report.errors:
        return trouble(report.errors[0], file)
    commands = [c for c in report.commands if not (lenient and c.errors)]
    return next((why for c in commands if (why := command_trouble(c, file)) is not None), None)


def _parts(name: str) -> NameParts:
    """Components of a written name: `A.«b.c».d` has three."""
    parts: list[str | int] = []
    rest = name
    while rest:
        if rest.startswith("«"):
            part, _, rest = rest[1:].partition("»")
            rest = rest.removeprefix(".")
        else:
            part, _, rest = rest.partition(".")
        parts.append(part)
    return tuple(parts)
