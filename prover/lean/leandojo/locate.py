"""Locate a theorem in a Lean file by its full name, without running Lean.

The result is a candidate: compare its name with that of the declaration that Lean elaborates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prover.lean.text import LeanText, masked
from prover.lean.theorem import Theorem

_NAME = r"(?:«[^»]*»|[^\s:({\[⦃|@.]|\.(?!\{))+"
_COMMAND = re.compile(
    r"^[ \t]*(?:@\[[^\]]*\]\s*)*"
    r"(?:(?P<scope>namespace|end|(?:(?:public|noncomputable|meta)\s+|@\[expose\]\s*)*section)\b[ \t]*(?P<label>[^\s]*)"
    rf"|(?:(?:private|protected|public|noncomputable|unsafe|partial|nonrec|scoped|local)\s+)*"
    rf"(?P<kind>theorem|lemma|def|abbrev|instance|example)\b[ \t\n]+(?P<name>{_NAME}))",
    re.MULTILINE,
)
_OPENING, _CLOSING = "([{⟨⦃⟦", ")]}⟩⦄⟧"
_OTHER_PROOF = re.compile(r"\s+(?:where\b|\|\s)")
_TOP_LEVEL = re.compile(r"\n(?=[^\s])")


@dataclass(frozen=True)
class Place:
    """A theorem in a file. Offsets are indices into `body`."""

    imports: tuple[str, ...]
    body: str
    """As LeanText.body."""
    full_name: str
    statement_ends: tuple[int, ...]
    """Candidate ends of the statement, most likely first: only Lean's parser knows."""
    statement_starts: int
    """End of the theorem's name."""

    def theorem(self, source: str) -> Theorem:
        """The theorem as a task: all text before it is its context; its attributes are left out."""
        command = next(m for m in _COMMAND.finditer(masked(self.body)) if m.end() == self.statement_starts)
        written = self.body[command.start("name") : command.end("name")]
        statement = self.body[self.statement_starts : self.statement_ends[0]].strip()
        context = self.body[: command.start()].strip()
        return Theorem(written, statement, imports=self.imports, context=context, source=source)

    def with_proof(self, proof: str = ":= by\n  sorry", end: int = 0) -> str:
        """The text up to the statement's end, then `proof`. `end`: an index into `statement_ends`."""
        return self.body[: self.statement_ends[end]].rstrip() + " " + proof + "\n"


def declarations(plain: str) -> Iterator[tuple[str, int]]:
    """(full name, end of the name) of every named declaration in masked text, in order."""
    scopes: list[tuple[str, ...]] = []
    for m in _COMMAND.finditer(plain):
        name, scope = m["name"], m["scope"]
        if name is not None:
            full = (name[7:],) if name.startswith("_root_.") else (*(part for s in scopes for part in s), name)
            yield ".".join(full), m.end()
        elif scope == "namespace":
            scopes.append(tuple(m["label"].split(".")))
        elif scope == "end":
            # `end A.B` may close `namespace A` and `namespace B`; `end B` may close only a part of `namespace A.B`.
            left = len(m["label"].split("."))
            while scopes and left > 0:
                top = scopes.pop()
                if len(top) > left:
                    scopes.append(top[:-left])
                left -= max(1, len(top))
        else:
            scopes.append(())


def find_theorem(file: LeanText, full_name: str) -> Place | None:
    """The first declaration with that full name, or None."""
    plain = masked(file.body)
    for name, start in declarations(plain):
        if name == full_name and (ends := tuple(_ends(plain, start))):
            return Place(file.imports, file.body, full_name, ends, start)
    return None


def _ends(plain: str, start: int) -> Iterator[int]:
    """Indices outside brackets where a proof may begin."""
    stop = m.start() if (m := _TOP_LEVEL.search(plain, start)) else len(plain)
    while stop < len(plain) and plain[stop + 1] in "|:":  # the statement continues in the first column
        stop = m.start() if (m := _TOP_LEVEL.search(plain, stop + 1)) else len(plain)
    depth = 0
    for i in range(start, stop):
        c = plain[i]
        depth += (c in _OPENING) - (c in _CLOSING)
        if depth == 0 and (plain.startswith(":=", i) or _OTHER_PROOF.match(plain, i, stop)):
            yield i
            if plain[i].isspace():
                return
