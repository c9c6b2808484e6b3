"""Proves a `.lean` file with a library of lemmas before its first `sorry`, and keeps the lemmas that the proofs use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prover.console import one_line
from prover.errors import UserError
from prover.lean.audit import Auditor, Source
from prover.lean.project import imports_of
from prover.lean.server import LeanDied, LeanError
from prover.lean.text import LeanText, code_words, line_at
from prover.solve.executor import Executor
from prover.solve.job import SourceFile
from prover.solve.lean_file import prove_file
from prover.solve.lemmas import Lemma, block, inserted, place_of, without_unused
from prover.solve.results import Results
from prover.solve.session import Settings


@dataclass(frozen=True)
class _Offer:
    """A file with a library in it."""

    text: LeanText
    at: int
    """Index in the original's body."""
    lines: int
    """Lines that the library adds."""


async def prove_with_lemmas(
    text: LeanText, lemmas: Sequence[Lemma], settings: Settings, log: Results, executor: Executor
) -> tuple[dict[str, Any], bytes]:
    """As prove_file, with the lemmas at hand. `lemmas` in the answer lists those that the proofs use, which the filled file contains.

    Before anything is proved, the audit compares the file with the lemmas to the file as it is: every declaration must mean the same,
    and every lemma must be proved. Raises UserError if it does not accept them.
    """
    offer = await _offer(text, lemmas, executor)
    answer, filled, _ = await prove_file(offer.text, settings, log, executor)
    first = line_at(text.body, offer.at)
    for task in answer["tasks"]:
        task["line"] -= offer.lines if task.get("line", 0) > first else 0
    words = {w for t in answer["tasks"] if t["outcome"] == "proved" for w, _ in code_words(t["proof"])}
    kept = without_unused(lemmas, {lemma.name for lemma in lemmas if lemma.name in words})
    answer["lemmas"] = [
        {"name": lemma.name, "statement": lemma.statement, "line": first, "uses": _uses(answer, lemma)}
        for lemma in kept
    ]
    return answer, _with_only(filled, lemmas, kept, text)


async def _offer(text: LeanText, lemmas: Sequence[Lemma], executor: Executor) -> _Offer:
    imports = imports_of(text)
    before = tuple(imports.sources())
    try:
        every = await executor.sorries(SourceFile(text, imports.shipped, before))
        at = place_of(text, every.holes)
        new = inserted(text, at, lemmas)
        async with Auditor() as auditor:
            place = (imports.shipped, text.path, before)
            judgement = await auditor.judge(Source(new.body, *place), Source(text.body, *place), bool(every.errors))
    except LeanError as error:
        raise UserError(f"{text.path}: cannot be read with the lemmas: {one_line(str(error), 300)}") from None
    except LeanDied as error:
        raise UserError(f"{text.path}: Lean stopped while reading the lemmas: {one_line(str(error), 300)}") from None
    names = {lemma.name for lemma in lemmas}
    for verdict in judgement.verdicts:
        own = verdict.name in names or any(verdict.name.endswith(f".{n}") for n in names)
        if verdict.verdict != "proved" and (own or not verdict.reason.startswith("sorry")):
            raise UserError(f"{text.path}: the lemmas do not fit: {verdict.name}: {one_line(verdict.reason, 300)}")
    return _Offer(new, at, new.text.count("\n") - text.text.count("\n"))


def _uses(answer: dict[str, Any], lemma: Lemma) -> list[str]:
    proofs = [t for t in answer["tasks"] if t["outcome"] == "proved"]
    return [t["name"] for t in proofs if lemma.name in {w for w, _ in code_words(t["proof"])}]


def _with_only(filled: bytes, lemmas: Sequence[Lemma], kept: Sequence[Lemma], text: LeanText) -> bytes:
    """The filled file with the kept lemmas only, and with the line ends of the original."""
    whole = f"{block(lemmas)}\n\n".encode()
    new = filled.replace(whole, f"{block(kept)}\n\n".encode() if kept else b"", 1)
    crlf = len(text.crlf) * 2 > text.text.count("\n")
    return new.replace(b"\n", b"\r\n") if crlf else new
