"""Where a proof goes: the text that stands for a `sorry`, laid out for its place in a line."""

from __future__ import annotations

import re

_OPENS = re.compile(r"(^|\b(by|then|else|exact|from|show|return)|:=|=>|·|;|[({⟨\[,]|<\||\$)$")
"""What may stand before a term or tactic that needs no brackets."""


def placements(text: str, at: int, length: int, tactic: bool, script: str) -> list[str]:
    """Texts that could replace `text[at:at+length]`, prettiest first; which Lean takes depends on the place.

    `tactic`: whether a tactic stands there, else a term.
    """
    line_start = text.rfind("\n", 0, at) + 1
    line_end = text.find("\n", at)
    before = text[line_start:at]
    after = text[at + length : len(text) if line_end < 0 else line_end].strip()
    lines = script.split("\n")
    ends = not after or after.startswith("--")
    free = _OPENS.search(before.rstrip()) is not None and (ends or after[0] in ")]}⟩")
    if tactic:
        return _tactic(lines, before, free, ends)
    return _term(lines, before, free, ends)


def _tactic(lines: list[str], before: str, free: bool, ends: bool) -> list[str]:
    column = len(before)
    bracketed = f"({_aligned(lines, column + 1)})"
    if len(lines) == 1:
        return [lines[0], bracketed] if free else [bracketed, lines[0]]
    aligned = _aligned(lines, column)
    if ends and re.search(r"(\bby|=>)\s*$", before):
        return [_below(lines, before), aligned, bracketed]
    return [aligned, bracketed] if free else [bracketed, aligned]


def _term(lines: list[str], before: str, free: bool, ends: bool) -> list[str]:
    column = len(before)
    bracketed = f"(by {_aligned(lines, column + 4)})"
    if len(lines) == 1:
        return [f"by {lines[0]}", bracketed] if free else [bracketed]
    if free and ends:
        return ["by" + _below(lines, before), bracketed]
    return [bracketed]


def _aligned(lines: list[str], column: int) -> str:
    """The first line where the cursor is, the others under it."""
    return "\n".join([lines[0], *(" " * column + x if x.strip() else "" for x in lines[1:])])


def _below(lines: list[str], before: str) -> str:
    """A block under the line, two columns in from what the line says after its bullets."""
    lead = re.match(r"\s*((·|\.)\s+)*", before)
    pad = " " * ((lead.end() if lead else 0) + 2)
    return "".join("\n" + (pad + x if x.strip() else "") for x in lines)
