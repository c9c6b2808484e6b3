"""Proves a `.lean` file with a library of lemmas before its first `sorry`, and keeps the lemmas that the proofs use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prover.console import one_line
from prover.errors import UserError
from prover.lean.audit import Auditor, Source
from prover.lean.project import imports_of
from prover.lean.server import LeanDied, LeanError
from prover.lean.text import LeanText, code_words, parse
from prover.solve.executor import Executor
from prover.solve.job import SourceFile
from prover.solve.lean_file import prove_file
from prover.solve.lemmas import Lemma, inserted, place_of, with_only, without_unused
from prover.solve.options import Settings
from prover.solve.results import Results


async def prove_with_lemmas(
    text: LeanText, lemmas: Sequence[Lemma], settings: Settings, log: Results, executor: Executor
) -> tuple[dict[str, Any], bytes]:
    """As prove_file, but proofs may use the lemmas. `lemmas` in the answer lists those that the proofs use, which the filled file contains.

    Before anything is proved, the audit compares the file with the lemmas to the file as it is: every declaration must mean the same,
    and every lemma must be proved. Raises UserError if it does not accept them.
    """
    imports = imports_of(text)
    source = SourceFile(text, imports.shipped, tuple(imports.sources()))
    try:
        every = await executor.sorries(source)
    except (LeanError, LeanDied) as error:
        raise UserError(f"{text.path}: {one_line(str(error), 300)}") from None
    at = place_of(text, every.holes)
    file = _File(source, lemmas, bool(every.errors), text.line(at))
    new = inserted(text, at, lemmas)
    if (why := await file.trouble(new)) is not None:
        raise UserError(f"{text.path}: the lemmas do not fit: {why}")
    answer, filled, _ = await prove_file(new, settings, log, executor)
    first, lines = file.line, new.text.count("\n") - text.text.count("\n")
    move_lines(answer, first, lines)
    kept = without_unused(lemmas, [lemma.name for lemma in lemmas if _uses(answer, lemma)])
    whole = filled.decode()
    if len(kept) < len(lemmas):
        less = with_only(whole, lemmas, kept)
        # Proofs may need more of the library than the lemmas that they name.
        whole, kept = (whole, lemmas) if await file.trouble(parse(less.encode(), text.path)) else (less, kept)
    answer["lemmas"] = [
        {"name": lemma.name, "statement": lemma.statement, "line": first, "uses": _uses(answer, lemma)}
        for lemma in kept
    ]
    crlf = len(text.crlf) * 2 > text.text.count("\n")
    return answer, (whole.replace("\n", "\r\n") if crlf else whole).encode()


@dataclass(frozen=True)
class _File:
    """A file, and a library for it."""

    source: SourceFile
    lemmas: Sequence[Lemma]
    lenient: bool
    line: int
    """The line after which the lemmas go."""

    async def trouble(self, candidate: LeanText) -> str | None:
        """The reason why the audit rejects the file with lemmas in it, not counting open `sorry`s; None if it accepts it."""
        text = self.source.text
        where = (self.source.imports, text.path, self.source.before)
        try:
            async with Auditor() as auditor:
                wanted = Source(text.body, *where)
                judgement = await auditor.judge(Source(candidate.body, *where), wanted, self.lenient)
        except (LeanError, LeanDied) as error:
            return one_line(str(error), 300)
        names = {lemma.name for lemma in self.lemmas}
        added = candidate.text.count("\n") - text.text.count("\n")
        for note in judgement.notes:  # of axioms and unsafe declarations
            line = re.match(r":(\d+): ", note.removeprefix(text.path))
            if line is None or self.line < int(line[1]) <= self.line + added:
                return one_line(note, 300)
        for verdict in judgement.verdicts:
            own = verdict.name in names or any(verdict.name.endswith(f".{name}") for name in names)
            if verdict.verdict != "proved" and (own or not verdict.reason.startswith("sorry")):
                return f"{verdict.name}: {one_line(verdict.reason, 300)}"
        return None


def move_lines(answer: dict[str, Any], first: int, lines: int) -> None:
    """Count the lines after `first` without the lemmas' `lines`. The line of a `sorry` that a macro stands for may be None."""
    for row in (*answer["tasks"], *answer["errors"], *answer["unreached"]):
        if row["line"] is not None and row["line"] > first:
            row["line"] -= lines


def _uses(answer: dict[str, Any], lemma: Lemma) -> list[str]:
    """The tasks whose proofs mention a lemma."""
    proofs = [t for t in answer["tasks"] if t["outcome"] == "proved"]
    return [t["name"] for t in proofs if lemma.name in {w for w, _ in code_words(t["proof"])}]
