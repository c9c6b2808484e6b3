"""The last word on a proof: same statement, allowed axioms, every constant through the kernel again, in fresh processes.

Three processes, so that no text that claims a proof is ever read by the process that judges it:

- the *reference* elaborates the statement and exports what it means. It has read no other owner's text and no proof;
- the *candidate* elaborates the proof, which may run any code, and exports the resulting constants. Its word counts for
  nothing: what it sends is data;
- the *checker* elaborates nobody's text. It rebuilds the exported constants on a clean environment, each through a guard and the
  kernel, compares them with the reference's as terms, and lists the axioms that each rests on.

What is judged is not read out of text: Lean reports what each command declared (`declared.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from prover.lean.declared import (
    EXAMPLE,
    TAKEN_BACK,
    Command,
    Declaration,
    LeanMessage,
    NameParts,
    Obligation,
    Report,
    declared,
    name_of,
    obligations,
    shown,
)
from prover.lean.judges import Judges, Place, died
from prover.lean.project import SourceModule
from prover.lean.runtime import LeanRuntime, find_runtime
from prover.lean.server import WHOLE_LIBRARY, LeanDied, LeanError, LeanServer, Limits, statement_source
from prover.lean.theorem import Theorem, Verdict

STANDARD_AXIOMS = ("propext", "Classical.choice", "Quot.sound")

_REASONS = {
    "sorryAx": "sorry: the proof rests on sorry",
    "Lean.ofReduceBool": "axiom: Lean.ofReduceBool (compiled evaluation)",
    "Lean.ofReduceNat": "axiom: Lean.ofReduceNat (compiled evaluation)",
    "Lean.trustCompiler": "axiom: Lean.trustCompiler (compiled evaluation)",
}


@dataclass(frozen=True)
class Source:
    """A text to be judged, and what stands before it."""

    text: str
    imports: tuple[str, ...] = ("Init",)
    """Compiled modules before it."""
    file: str = "<source>"
    before: tuple[SourceModule, ...] = ()
    """Modules given as source. Theirs are not judged, but what the text uses of them goes through the kernel with it."""
    header: tuple[str, ...] | None = None
    """Modules that the text's own header imports. None: the text has no header."""

    @property
    def place(self) -> Place:
        return Place(self.imports, self.before)

    def fields(self) -> dict[str, Any]:
        return {"source": self.text, "file": self.file, "trees": True, "header": self.header is not None}


@dataclass
class Judgement:
    """The verdicts on a text, in its order, and what else a reader should know of it."""

    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether everything that was judged is proved."""
        return all(v.verdict == "proved" for v in self.verdicts)


class Auditor:
    """Judges proofs. Use as an async context manager; its processes start when first needed.

    `fresh_every`: after that many proofs a process that several share is replaced, so that what one proof did to it cannot
    outlive a batch. `forbidden`: constants that no proof may use. `seconds`: for each command of a text and each declaration.
    """

    def __init__(
        self,
        runtime: LeanRuntime | None = None,
        allowed_axioms: Iterable[str] = STANDARD_AXIOMS,
        forbidden: Iterable[str] = (),
        fresh_every: int = 500,
        seconds: float = 120.0,
    ) -> None:
        self.runtime = runtime or find_runtime()
        self.allowed = frozenset(allowed_axioms)
        self.forbidden = frozenset(forbidden)
        self.limits = Limits(heartbeats=400_000, seconds=seconds, open_seconds=seconds + 30)
        self.judged = 0
        self._judges = Judges(self.runtime, self.limits, fresh_every)
        self._references: dict[tuple[Place, str], Report] = {}

    async def __aenter__(self) -> Auditor:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the processes."""
        await self._judges.close()

    @property
    def servers(self) -> list[LeanServer]:
        """Its processes that live on between two proofs."""
        return self._judges.servers

    # -- one theorem -------------------------------------------------------------------------------------------------

    async def audit(self, theorem: Theorem, script: str) -> Verdict:
        """Judge a tactic script for a theorem."""
        self.judged += 1
        try:
            if theorem.library is not None:
                return await self._library(theorem, script)
            return await self._statement(theorem, script)
        except LeanError as e:
            return self._verdict(theorem.name, _one_line(str(e)))
        except LeanDied as e:
            return self._verdict(theorem.name, died(e), error=True)

    async def _library(self, theorem: Theorem, script: str) -> Verdict:
        fields = {"name": theorem.library, "imports": theorem.imports, "whole": WHOLE_LIBRARY}
        proved = await self._judges.library_proof(script, **fields)
        checked = await self._judges.check("check_library", entries=proved["entries"], **self._rules, **fields)
        return self._judged(theorem.name, checked["verdict"])

    async def _statement(self, theorem: Theorem, script: str) -> Verdict:
        place = Place(theorem.imports, context=theorem.context)
        bare = replace(theorem, context="")
        reference, root = await self._asked(place, bare, theorem.source or theorem.name)
        source = statement_source(bare, script)
        candidate = await self._judges.proof(place, source=source, file=theorem.name, roots=[root])
        if (why := _trouble(candidate, theorem.name)) is not None:
            return self._verdict(theorem.name, why[0], error=why[1])
        asked = {"asked": root, "offered": [root]}
        answer = await self._check(place, candidate.entries, reference.entries, [asked], [])
        return self._judged(theorem.name, answer[0])

    async def _asked(self, place: Place, theorem: Theorem, file: str) -> tuple[Report, NameParts]:
        """The report of a statement, and the full name of the theorem that it declares.

        Raises LeanError where the text is not one theorem of that name whose statement ends where it says.
        """
        source = statement_source(theorem)
        key = (place, source)
        if key not in self._references:
            if len(self._references) > 1000:
                self._references.clear()
            self._references[key] = await self._judges.statement(place, source=source, file=file)
        report = self._references[key]
        if (why := _trouble(report, file)) is not None:
            raise LeanError(why[0] if why[1] else f"statement: {why[0].removeprefix('elaboration: ')}")
        heads = [head for command in report.commands for head in command.heads]
        value = len(source.encode()) - len(b":= by\n  sorry\n")
        if len(report.commands) != 1 or len(heads) != 1 or heads[0].value != value or report.unread is not None:
            raise LeanError("statement: it goes on after its end")
        name = name_of(heads[0], report.commands[0].new)
        if heads[0].kind != "Lean.Parser.Command.theorem" or name is None or heads[0].name != _parts(theorem.name):
            raise LeanError(f"statement: it declares no theorem {theorem.name}")
        return report, name

    # -- a text ------------------------------------------------------------------------------------------------------

    async def judge(self, candidate: Source, reference: Source | None = None) -> Judgement:
        """Judge everything that a text declares.

        `reference`: the same text with `sorry` where proofs are asked for. Every declaration of it must then be met by one of the
        candidate that means the same, and has no `sorry`. Raises LeanError when the reference has errors.
        """
        wanted = await self._reference_report(reference) if reference is not None else None
        try:
            async with self._judges.fresh() as server:
                report = await self._judges.declare(server, candidate.place, candidate.fields())
                return await self._judge_report(candidate, report, wanted, reference.file if reference else "", server)
        except LeanDied as e:
            return Judgement([self._verdict(candidate.file, died(e), error=True)])

    async def _reference_report(self, reference: Source) -> Report:
        report = await self._judges.text(reference.place, types=True, **reference.fields())
        if nothing := next((c for c in report.commands if c.nothing), None):
            raise LeanError(f"statement: {reference.file}:{nothing.line}: this declaration leaves nothing behind")
        if (why := _trouble(report, reference.file)) is not None:
            raise LeanError(f"statement: {reference.file}: {why[0].removeprefix('elaboration: ')}")
        return report

    async def _judge_report(
        self, candidate: Source, report: Report, wanted: Report | None, original: str, server: LeanServer
    ) -> Judgement:
        if report.errors:
            return Judgement([self._verdict(candidate.file, _said(report.errors[0], candidate.file))])
        header = tuple(dict.fromkeys(name.replace("«", "").replace("»", "") for name in report.header))
        if candidate.header is not None and header != candidate.header:
            reason = f"elaboration: line 1: Lean reads the imports {', '.join(header)} here"
            return Judgement([self._verdict(candidate.file, reason)])
        asked, besides = obligations(wanted, report) if wanted is not None else ([], declared(report))
        known = {name for o in asked for name in o.offered} | {d.name for d in besides}
        generated = [n for c in report.commands for n in c.new if n and n not in known]
        added = [*(d.name for d in besides), *generated]
        entries = wanted.entries if wanted is not None else None
        answer = await self._check(candidate.place, report.entries, entries, [o.message() for o in asked], added)
        answers, rest = answer[: len(asked)], answer[len(asked) :]
        return await _Telling(self, candidate, report, original, server).judgement(asked, answers, besides, rest)

    async def audit_source(
        self,
        source: str,
        imports: Sequence[str] = ("Init",),
        reference: str | None = None,
        file: str = "<source>",
        before: Sequence[SourceModule] = (),
        reference_before: Sequence[SourceModule] | None = None,
    ) -> list[Verdict]:
        """As `judge`, for text without a header: the verdicts on what it declares, and on what else is not proved."""
        candidate = Source(source, tuple(imports), file, tuple(before))
        wanted = None
        if reference is not None:
            there = before if reference_before is None else reference_before
            wanted = Source(reference, tuple(imports), file, tuple(there))
        return [v for v in (await self.judge(candidate, wanted)).verdicts if not v.generated or v.verdict != "proved"]

    # -- verdicts ----------------------------------------------------------------------------------------------------

    async def _check(
        self, place: Place, entries: list[Any], reference: list[Any] | None, asked: list[Any], added: list[NameParts]
    ) -> list[dict[str, Any]]:
        """The checker's verdicts on the obligations, then on what is added."""
        answer = await self._judges.check(
            "check", imports=place.imports, entries=entries, reference=reference, obligations=asked, added=added, **self._rules
        )
        self.judged += len(asked)
        return answer["verdicts"]

    @property
    def _rules(self) -> dict[str, Any]:
        # The embedded library comes without proofs, so there is nothing to look through.
        return {"deep": self.runtime.kind == "native", "forbidden": sorted(self.forbidden)}

    def _verdict(self, name: str, reason: str, error: bool = False, line: int = 0) -> Verdict:
        return Verdict(name, "error" if error else "rejected", reason, lean=self.runtime.name, line=line)

    def _judged(self, name: str, judged: dict[str, Any], line: int = 0, generated: bool = False) -> Verdict:
        axioms = tuple(sorted(set(judged["axioms"])))
        premises = tuple(sorted(judged["premises"]))
        reason = judged["problem"] or ""
        if not reason:
            bad = [a for a in axioms if a not in self.allowed]
            if bad:
                reason = _REASONS.get(bad[0], f"axiom: {bad[0]}")
            elif used := sorted(judged["forbidden"]):
                reason = f"premise: {used[0]} may not be used"
        verdict = "proved" if not reason else "rejected" if judged["judged"] else "error"
        return Verdict(name, verdict, reason, axioms, premises, self.runtime.name, line, generated)


class _Telling:
    """The verdicts on a text, from the checker's: under names for people, with Lean's errors where there are such."""

    def __init__(self, auditor: Auditor, candidate: Source, report: Report, original: str, server: LeanServer) -> None:
        self.auditor = auditor
        self.original = original
        """The reference's file."""
        self.candidate = candidate
        self.report = report
        self.server = server
        self.failed = {c.number: why for c in report.commands if (why := _command_trouble(c, candidate.file)) is not None}

    async def judgement(
        self, asked: list[Obligation], answers: list[dict[str, Any]], besides: list[Declaration], rest: list[dict[str, Any]]
    ) -> Judgement:
        out = Judgement(notes=self._notes())
        told: set[int] = set()
        for obligation, answer in zip(asked, answers, strict=True):
            verdict = await self._asked(obligation.asked, answer, told)
            if answer["kind"] in ("an axiom", "an unsafe constant") and not answer["problem"]:
                out.notes.append(f"{self.candidate.file}:{verdict.line}: {verdict.name} is {answer['kind']}, as it is asked for")
            else:
                out.verdicts.append(verdict)
        met = {tuple(answer["name"]) for answer in answers if answer["met"]}
        for declaration, answer in zip(besides, rest, strict=False):
            if declaration.name not in met:
                self._add(out, declaration, answer, told)
        bad = {v.line for v in out.verdicts if v.verdict != "proved"}
        for answer in rest[len(besides) :]:
            line = self._line_of(tuple(answer["name"]))
            if not _tolerated(answer):
                verdict = self.auditor._judged(shown(tuple(answer["name"])), answer, line, generated=True)
                if verdict.verdict == "proved" or line not in bad:
                    out.verdicts.append(verdict)
        out.verdicts += self._commands(told)
        if self.report.unread is not None:
            where = f"{self.candidate.file}:{self.report.unread}"
            reason = "statement: not judged: Lean reads nothing from here on"
            out.verdicts.append(self.auditor._verdict(where, reason, line=self.report.unread))
        out.verdicts.sort(key=lambda v: v.line)
        return out

    def _name(self, declaration: Declaration, line: int) -> str:
        return f"{self.candidate.file}:{line}" if declaration.example else shown(declaration.name)

    async def _asked(self, declaration: Declaration, answer: dict[str, Any], told: set[int]) -> Verdict:
        """The verdict on what the reference asks for. What Lean said of the candidate's own command comes first."""
        met = tuple(answer["name"])
        command = next((c for c in self.report.commands if answer["met"] and (met in c.new or met in c.examples)), None)
        if command is None and not declaration.example:
            command = next((c for c in self.report.commands if any(_ends_in(declaration.name, h.name) for h in c.heads)), None)
        if command is not None and command.number in self.failed:
            told.add(command.number)
            reason, error = self.failed[command.number]
            return self.auditor._verdict(self._name(declaration, command.line), reason, error, command.line)
        if command is None:
            where = f"{self.original}:{declaration.command.line}"
            answer = {**answer, "problem": f"statement: missing (it is asked for in {where})"}
            return self.auditor._judged(where if declaration.example else shown(declaration.name), answer)
        if "has another type" in (answer["problem"] or "") and (declaration.example or met == declaration.name):
            found = await self._type_of(met)
            differs = f": expected {declaration.command.type_of(declaration.name)}" + (f", found {found}" if found else "")
            answer = {**answer, "problem": answer["problem"] + differs}
        return self.auditor._judged(self._name(declaration, command.line), answer, command.line)

    async def _type_of(self, name: NameParts) -> str:
        """A type as the candidate's process prints it, for people only. Empty: it has none of that name any more, as of an example."""
        try:
            return " ".join((await self.server.command("types", names=[name]))["types"][0].split())[:300]
        except (LeanDied, LeanError, LookupError):
            return ""

    def _add(self, out: Judgement, declaration: Declaration, answer: dict[str, Any], told: set[int]) -> None:
        command = declaration.command
        name = self._name(declaration, command.line)
        if command.number in self.failed:
            told.add(command.number)
            out.verdicts.append(self.auditor._verdict(name, *self.failed[command.number], command.line))
        elif answer["kind"] == "an axiom" and not answer["problem"]:
            out.notes.append(f"{self.candidate.file}:{command.line}: {name} is an axiom")
        elif _tolerated(answer):
            out.notes.append(f"{self.candidate.file}:{command.line}: {name} is unsafe: the kernel has not checked it")
        else:
            out.verdicts.append(self.auditor._judged(name, answer, command.line))

    def _commands(self, told: set[int]) -> list[Verdict]:
        """Verdicts on commands that declare nothing, though they should or because of an error."""
        out: list[Verdict] = []
        for command in self.report.commands:
            if command.number in self.failed and command.number not in told:
                names = [shown(h.name) for h in command.heads if h.name] or [f"{self.candidate.file}:{command.line}"]
                reason, error = self.failed[command.number]
                out += [self.auditor._verdict(name, reason, error, command.line) for name in names]
            for head in command.nothing:
                name = shown(head.name) if head.name else f"{self.candidate.file}:{command.line}"
                what = "example" if head.kind == EXAMPLE else "declaration"
                reason = "it is declared and taken back" if head.kind == TAKEN_BACK else f"this {what} left nothing behind"
                out.append(self.auditor._verdict(name, f"statement: {reason}", line=command.line))
        return out

    def _line_of(self, name: NameParts) -> int:
        return next((c.line for c in self.report.commands if name in c.new), 0)

    def _notes(self) -> list[str]:
        return [
            f"{self.candidate.file}:{c.line}: runs code of its own or changes Lean's syntax (`{c.kind.rpartition('.')[2]}`): compare with an original "
            "to know that statements mean what they seem to"
            for c in self.report.commands
            if _changes_lean(c)
        ][:5]


def _changes_lean(command: Command) -> bool:
    kinds = ("elab", "macro", "syntax", "initialize", "simproc", "run_", "eval", "notation", "mixfix", "binderPredicate")
    return any(k in command.kind for k in kinds)


def _tolerated(answer: dict[str, Any]) -> bool:
    """An unsafe constant of data: nothing safe can rest on it."""
    return answer["kind"] == "an unsafe constant" and not answer["proposition"]


def _ends_in(name: NameParts, written: NameParts) -> bool:
    return bool(written) and name[-len(written) :] == written


def _trouble(report: Report, file: str) -> tuple[str, bool] | None:
    """(why the text as a whole does not hold, whether that is for lack of time or memory)."""
    if report.errors:
        return _said(report.errors[0], file), False
    return next((why for c in report.commands if (why := _command_trouble(c, file)) is not None), None)


def _command_trouble(command: Command, file: str) -> tuple[str, bool] | None:
    if command.errors:
        return _said(command.errors[0], file), False
    if command.stopped:
        return f"{command.stopped} (line {command.line})", True
    return None


def _said(error: LeanMessage, file: str) -> str:
    # Nearly always of the text itself; else of a module before it.
    where = f"line {error.line}" if error.file == file else f"{error.file}: line {error.line}"
    return f"elaboration: {where}: {_one_line(error.m)}"


def _one_line(message: str) -> str:
    return " ".join(message.strip().split("\n")[:2])[:500]


def _parts(name: str) -> NameParts:
    """Components of a name of ours: `A.«b.c».d` has three."""
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
