"""Locate a theorem in a Lean file by its full name, without running Lean.

The result is a candidate: compare its name with that of the declaration that Lean elaborates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prover.lean.brackets import outside
from prover.lean.declarations import THEOREMS, Declarations, context_before, full_names, statement_in
from prover.lean.text import LeanText
from prover.lean.theorem import Theorem

KINDS = (*THEOREMS, "def", "abbrev", "instance")
_OTHER_PROOF = re.compile(r"\s+(?:where\b|\|\s)")
_TOP_LEVEL = re.compile(r"\n(?=[^\s])")


@dataclass(frozen=True)
class Place:
    """A theorem in a file. Offsets are indices into `body`."""

    imports: tuple[str, ...]
    body: str
    """As LeanText.body."""
    full_name: str
    name: str
    """As written."""
    context: str
    """All text before it, as whole commands."""
    statement_ends: tuple[int, ...]
    """Candidate ends of the statement, most likely first, because only Lean's parser can decide."""
    statement_starts: int
    """End of the theorem's name."""

    def theorem(self, source: str) -> Theorem:
        """The theorem as a task; its attributes are left out."""
        statement, column = statement_in(self.body, self.statement_starts, self.statement_ends[0])
        return Theorem(self.name, statement, None, self.imports, self.context, source, column=column)

    def with_proof(self, proof: str = ":= by\n  sorry", end: int = 0) -> str:
        """The text up to the statement's end, then `proof`. `end`: an index into `statement_ends`."""
        return self.body[: self.statement_ends[end]].rstrip() + " " + proof + "\n"


def find_theorem(file: LeanText, full_name: str) -> Place | None:
    """The first declaration with that full name, or None."""
    source = Declarations(file.body)
    for name, at in full_names(source, KINDS):
        head = source.head(at)
        if name == full_name and (ends := tuple(_ends(source.code, head.name_end))):
            context = context_before(source, at)
            return Place(file.imports, file.body, full_name, head.written, context, ends, head.name_end)
    return None


def _ends(plain: str, start: int) -> Iterator[int]:
    """Indices outside brackets where a proof may begin."""
    stop = m.start() if (m := _TOP_LEVEL.search(plain, start)) else len(plain)
    while stop < len(plain) and plain[stop + 1] in "|:":  # the statement continues in the first column
        stop = m.start() if (m := _TOP_LEVEL.search(plain, stop + 1)) else len(plain)
    for i, c in outside(plain[:stop], start):
        if (c == ":" and plain.startswith(":=", i)) or (c.isspace() and _OTHER_PROOF.match(plain, i, stop)):
            yield i
            if c.isspace():
                return
