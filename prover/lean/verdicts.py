"""Turn the checker's answers into verdicts with readable names, lines of the file, and Lean's errors."""

from __future__ import annotations

import re
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
    shown,
)
from prover.lean.server import LeanDied, LeanError, LeanServer
from prover.lean.theorem import Verdict

_REASONS = {
    "sorryAx": "sorry: the proof rests on sorry",
    "Lean.ofReduceBool": "axiom: Lean.ofReduceBool (compiled evaluation)",
    "Lean.ofReduceNat": "axiom: Lean.ofReduceNat (compiled evaluation)",
    "Lean.trustCompiler": "axiom: Lean.trustCompiler (compiled evaluation)",
}


@dataclass
class Judgement:
    """The verdicts on a text, in its order, and notes for the reader."""

    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    notes: list[str] = field(default_factory=list[str])

    @property
    def good(self) -> bool:
        """Whether all verdicts are `proved`."""
        return all(v.verdict == "proved" for v in self.verdicts)


class Verdicts:
    """Makes verdicts. `lean`: name of the Lean that judged. `allowed`: axioms that a proof may use."""

    def __init__(self, lean: str, allowed: frozenset[str]) -> None:
        self.lean = lean
        self.allowed = allowed

    def refused(self, name: str, reason: str, error: bool = False, line: int = 0) -> Verdict:
        return Verdict(name, "error" if error else "rejected", reason, lean=self.lean, line=line)

    def judged(self, name: str, judged: dict[str, Any], line: int = 0, generated: bool = False) -> Verdict:
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
        return Verdict(name, verdict, reason, axioms, premises, self.lean, line, generated)


class JudgementBuilder:
    """Makes the verdicts on one text."""

    def __init__(self, make: Verdicts, file: str, report: Report, original: str, server: LeanServer) -> None:
        self._make = make
        self.original = original
        """The reference's file."""
        self.file = file
        self.report = report
        self.server = server
        self.failed = {c.number: why for c in report.commands if (why := command_trouble(c, file)) is not None}

    async def judgement(
        self,
        asked: list[Obligation],
        answers: list[dict[str, Any]],
        besides: list[Declaration],
        rest: list[dict[str, Any]],
    ) -> Judgement:
        out = Judgement(notes=self._notes())
        reported: set[int] = set()
        for obligation, answer in zip(asked, answers, strict=True):
            verdict = replace(
                await self._asked(obligation.asked, answer, reported), generated=obligation.asked.generated
            )
            if answer["kind"] in ("an axiom", "an unsafe constant") and not answer["problem"]:
                out.notes.append(f"{self.file}:{verdict.line}: {verdict.name} is {answer['kind']}, as it is asked for")
            else:
                out.verdicts.append(verdict)
        met = {tuple(answer["name"]) for answer in answers if answer["met"]}
        for declaration, answer in zip(besides, rest, strict=False):
            if declaration.name not in met:
                self._add(out, declaration, answer, reported)
        for answer in rest[len(besides) :]:
            name = tuple(answer["name"])
            if not _tolerated(answer) and not self._of_unsafe(name, answer):
                out.verdicts.append(self._make.judged(shown(name), answer, self._line_of(name), generated=True))
        out.verdicts += self._commands(reported)
        if self.report.unread is not None:
            where = f"{self.file}:{self.report.unread}"
            reason = "statement: not judged: Lean reads nothing from here on"
            out.verdicts.append(self._make.refused(where, reason, line=self.report.unread))
        out.verdicts = _without_echoes(sorted(out.verdicts, key=lambda v: v.line))
        return out

    def _name(self, declaration: Declaration, line: int) -> str:
        return f"{self.file}:{line}" if declaration.example else shown(declaration.name)

    async def _asked(self, declaration: Declaration, answer: dict[str, Any], reported: set[int]) -> Verdict:
        """The verdict on a declaration of the reference. An error in the candidate's command takes precedence."""
        met = tuple(answer["name"])
        command = next((c for c in self.report.commands if answer["met"] and (met in c.new or met in c.examples)), None)
        if command is None and not declaration.example:
            command = next(
                (c for c in self.report.commands if any(_ends_in(declaration.name, h.name) for h in c.heads)), None
            )
        if command is not None and command.number in self.failed:
            reported.add(command.number)
            reason, error = self.failed[command.number]
            return self._make.refused(self._name(declaration, command.line), reason, error, command.line)
        if command is None:
            where = f"{self.original}:{declaration.command.line}"
            answer = {**answer, "problem": f"statement: missing (it is asked for in {where})"}
            return self._make.judged(where if declaration.example else shown(declaration.name), answer)
        expected, problem = declaration.command.type_of(declaration.name), answer["problem"] or ""
        if expected and problem.startswith(
            (f"statement: {shown(met)} has another type", "statement: the example has another")
        ):
            found = "" if declaration.example else await self._type_of(met)
            answer = {**answer, "problem": f"{problem}: expected {expected}" + (f", found {found}" if found else "")}
        return self._make.judged(self._name(declaration, command.line), answer, command.line)

    async def _type_of(self, name: NameParts) -> str:
        """The type as the candidate's process prints it. Untrusted: for display only."""
        try:
            return " ".join((await self.server.command("types", names=[name]))["types"][0].split())[:300]
        except (LeanDied, LeanError, LookupError):
            return ""

    def _add(self, out: Judgement, declaration: Declaration, answer: dict[str, Any], reported: set[int]) -> None:
        command = declaration.command
        name = self._name(declaration, command.line)
        if command.number in self.failed:
            reported.add(command.number)
            out.verdicts.append(self._make.refused(name, *self.failed[command.number], command.line))
        elif answer["kind"] == "an axiom" and not answer["problem"]:
            out.notes.append(f"{self.file}:{command.line}: {name} is an axiom")
        elif _tolerated(answer):
            out.notes.append(f"{self.file}:{command.line}: {name} is unsafe: the kernel has not checked it")
        else:
            out.verdicts.append(self._make.judged(name, answer, command.line))

    def _commands(self, reported: set[int]) -> list[Verdict]:
        """Verdicts on commands that declared nothing, with or without an error."""
        out: list[Verdict] = []
        for command in self.report.commands:
            if command.number in self.failed and command.number not in reported:
                names = [shown(h.name) for h in command.heads if h.name] or [f"{self.file}:{command.line}"]
                reason, error = self.failed[command.number]
                out += [self._make.refused(name, reason, error, command.line) for name in names]
            for head in command.nothing:
                name = shown(head.name) if head.name else f"{self.file}:{command.line}"
                what = "example" if head.kind == EXAMPLE else "declaration"
                reason = (
                    "it is declared and taken back" if head.kind == TAKEN_BACK else f"this {what} left nothing behind"
                )
                out.append(self._make.refused(name, f"statement: {reason}", line=command.line))
        return out

    def _of_unsafe(self, name: NameParts, answer: dict[str, Any]) -> bool:
        """Whether it is unsafe and was generated for declarations that are all marked unsafe."""
        command = next((c for c in self.report.commands if name in c.new), None)
        named = [d.name for d in declared(self.report) if d.command is command]
        unsafe = command.unsafe if command is not None else ()
        return answer["kind"] == "an unsafe constant" and bool(named) and all(n in unsafe for n in named)

    def _line_of(self, name: NameParts) -> int:
        return next((c.line for c in self.report.commands if name in c.new), 0)

    def _notes(self) -> list[str]:
        return [
            f"{self.file}:{c.line}: runs code of its own or changes Lean's syntax (`{what}`): compare with an original "
            "to know that statements mean what they seem to"
            for c in self.report.commands
            if (what := _changes_lean(c))
        ][:5]


def _without_echoes(verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts without repetitions: at most one of the unproved constants generated for one declaration remains."""
    bad = {v.line for v in verdicts if v.verdict != "proved" and not v.generated}
    echoes = [v for v in verdicts if v.verdict != "proved" and v.generated]
    first = {
        line: min((v for v in echoes if v.line == line), key=lambda v: len(v.name)) for line in {v.line for v in echoes}
    }
    return [v for v in verdicts if v not in echoes or (v.line not in bad and v is first[v.line])]


_CHANGING = re.compile(
    r"elab|macro|syntax|initialize|simproc|run_|eval|notation|mixfix|binderPredicate|unexpander", re.IGNORECASE
)


def _changes_lean(command: Command) -> str:
    """The kind of syntax in it that runs code or changes the meaning of text; empty if none is known."""
    return next(
        (k.rpartition(".")[2] for k in (command.kind, *command.code) if _CHANGING.search(k.rpartition(".")[2])), ""
    )


def _tolerated(answer: dict[str, Any]) -> bool:
    """Whether the answer is about unsafe data, on which nothing safe can depend."""
    return answer["kind"] == "an unsafe constant" and not answer["proposition"]


def _ends_in(name: NameParts, written: NameParts) -> bool:
    return bool(written) and name[-len(written) :] == written


def trouble(error: LeanMessage, file: str) -> tuple[str, bool]:
    """(reason why a text fails, whether that is a limit instead of a judgement)."""
    return (f"{error.m} (line {error.line})", True) if error.stopped else (said(error, file), False)


def command_trouble(command: Command, file: str) -> tuple[str, bool] | None:
    if command.errors:
        return said(command.errors[0], file), False
    if command.stopped:
        return f"{command.stopped} (line {command.line})", True
    return None


def said(error: LeanMessage, file: str) -> str:
    # An error of another file is in a module before the text.
    where = f"line {error.line}" if error.file == file else f"{error.file}: line {error.line}"
    return f"elaboration: {where}: {one_line(error.m)}"


def one_line(message: str) -> str:
    return " ".join(message.strip().split("\n")[:2])[:500]
