"""Lemmas with proofs, in the form with all parentheses that `Development` renders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Lemma:
    """A theorem with its proof."""

    name: str
    statement: str
    """Binders, colon, type."""
    proof: str
    """A tactic script."""

    @cached_property
    def steps(self) -> int:
        """Number of tactics, with each rewrite as one."""
        tactics = [line.partition("=>")[2] if "=>" in line else line for line in self.proof.splitlines()]
        rewrites = re.findall(r"rw \[(.*?)\]", self.proof)
        return sum(bool(t.strip()) for t in tactics) + sum(r.count(",") for r in rewrites)

    @cached_property
    def words(self) -> set[str]:
        """The words of its proof: names of the lemmas that it uses, and others."""
        return set(_WORD.findall(self.proof))

    @cached_property
    def statement_words(self) -> set[str]:
        return set(_WORD.findall(self.statement))

    @cached_property
    def variables(self) -> tuple[str, ...]:
        return tuple(v for group in re.findall(r"\(([\w ]+) : ", self._parts[0]) for v in group.split())

    @cached_property
    def _parts(self) -> tuple[str, str]:
        at = _end_of_binders(self.statement)
        return self.statement[:at], self.statement[at + 1 :].strip()

    @property
    def type(self) -> str:
        return self._parts[1]


def lemmas(text: str) -> tuple[Lemma, ...]:
    """Lemmas from their text: a line `NAME BINDERS : TYPE`, then the indented proof."""
    blocks = re.split(r"\n(?=\S)", text.strip())
    found = []
    for block in blocks:
        head, _, proof = block.partition("\n")
        name, _, statement = head.partition(" ")
        found.append(Lemma(name, statement, re.sub(r"(?m)^  ", "", proof)))
    return tuple(found)


def _end_of_binders(statement: str) -> int:
    depth = 0
    for i, c in enumerate(statement):
        depth += (c in "({[") - (c in ")}]")
        if c == ":" and depth == 0:
            return i
    raise ValueError(f"no colon after the binders: {statement}")
