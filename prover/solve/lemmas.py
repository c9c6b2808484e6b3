"""A library of lemmas for a file: their place in it, and their text between marks, written and read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prover.errors import UserError
from prover.lean.declarations import KEYWORDS, Declarations
from prover.lean.sorries import Hole
from prover.lean.text import LeanText, code_words, index_at, parse
from prover.lean.theorem import Theorem

BEGIN = "/-! ### Lemmas found by `turnstile conjecture` -/"
END = "/-! ### End of the lemmas -/"


@dataclass(frozen=True)
class Lemma:
    """A proved lemma and its origin."""

    name: str
    statement: str
    """Binders, colon, type."""
    script: str
    origin: str = ""
    """How it was found, for its doc comment."""
    calls: int = 0
    """Lean calls that it took to find: filters and proof."""

    @property
    def source(self) -> str:
        body = self.script.replace("\n", "\n  ")
        about = f"/-- {self.origin.replace('-/', '- /')} -/\n" if self.origin else ""
        return f"{about}theorem {self.name} {self.statement} := by\n  {body}"

    def uses(self, other: str) -> bool:
        """Whether the proof mentions a name."""
        return other in {word for word, _ in code_words(self.script)}

    def theorem(self, context: str, imports: tuple[str, ...]) -> Theorem:
        """The lemma after its context."""
        return Theorem(self.name, self.statement, imports=imports, context=joined(context, ()))


def joined(context: str, lemmas: Iterable[Lemma]) -> str:
    """The context and the lemmas after it."""
    return "\n\n".join([context.rstrip(), *(lemma.source for lemma in lemmas)]) + "\n"


def block(lemmas: Sequence[Lemma]) -> str:
    """The lemmas as text, between marks by which `read_lemmas` finds them."""
    return "\n\n".join([BEGIN, *(lemma.source for lemma in lemmas), END])


def read_lemmas(text: LeanText) -> list[Lemma]:
    """The lemmas of a file that `turnstile conjecture` wrote. Raises UserError if it has none between the marks."""
    before, found, rest = text.text.partition(BEGIN)
    inside, ended, _ = rest.partition(END)
    if not found or not ended:
        raise UserError(f"{text.path}: has no lemmas of `turnstile conjecture`; name a file that the command wrote")
    source = Declarations(inside)
    starts = source.starts(("theorem",))
    lemmas = []
    for number, at in enumerate(starts):
        head, value = source.head(at), source.value(at)
        stop = source.begin(starts[number + 1])[0] if number + 1 < len(starts) else len(inside)
        proof = re.match(r":=\s*by\b[ \t]*\n?", inside[value:stop]) if value is not None else None
        if value is None or proof is None or not head.name:
            line = (before + found + inside[:at]).count("\n") + 1
            raise UserError(f"{text.path}:{line}: expected `theorem NAME STATEMENT := by` and a proof")
        script = "\n".join(x.removeprefix("  ") for x in inside[value + proof.end() : stop].rstrip().split("\n"))
        comment = re.search(r"/--((?:(?!-/).)*)-/\s*\Z", inside[:at], re.DOTALL)
        origin = " ".join(comment[1].split()) if comment else ""
        lemmas.append(Lemma(head.name, inside[head.end : value].strip(), script, origin))
    return lemmas


def place_of(text: LeanText, holes: Sequence[Hole]) -> int:
    """Offset in UTF-8 bytes after the last command before the first declaration with a `sorry`; the end if there is none."""
    data = text.body.encode()
    if not holes:
        return len(data)
    at = index_at(text.body, holes[0].start)
    source = Declarations(text.body)
    starts = [i for i in source.starts(KEYWORDS) if i < at and source.begins_line(i)]
    end = source.begin(starts[-1])[0] if starts else 0
    return max(text.header_bytes, len(text.body[:end].encode()))


def inserted(text: LeanText, at: int, lemmas: Sequence[Lemma]) -> LeanText:
    """The file with the lemmas at an offset in UTF-8 bytes. Its lines end in `\\n`."""
    if not lemmas:
        return text
    data = text.text.encode()
    return parse(data[:at] + _lead(lemmas).encode() + data[at:], text.path)


def with_only(filled: str, lemmas: Sequence[Lemma], kept: Sequence[Lemma]) -> str:
    """A file into which `lemmas` were inserted, with those of `kept` in their place."""
    return filled.replace(_lead(lemmas), _lead(kept), 1)


def _lead(lemmas: Sequence[Lemma]) -> str:
    return f"\n\n{block(lemmas)}" if lemmas else ""


def without_unused(lemmas: Sequence[Lemma], wanted: Iterable[str]) -> list[Lemma]:
    """The wanted lemmas and those that their proofs use, in the same order."""
    names = set(wanted)
    kept: list[Lemma] = []
    for lemma in reversed(lemmas):
        if lemma.name in names:
            kept.append(lemma)
            names |= {other.name for other in lemmas if lemma.uses(other.name)}
    return kept[::-1]
