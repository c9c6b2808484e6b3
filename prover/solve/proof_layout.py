"""Lays out a proof as the text that replaces a `sorry`."""

from __future__ import annotations

import re

_OPENS = re.compile(r"(^|\b(by|then|else|exact|from|show|return)|:=|=>|·|;|[({⟨\[,]|<\||\$)$")
"""Text after which a term or tactic needs no brackets."""


def layouts(text: str, at: int, length: int, tactic: bool, script: str) -> list[str]:
    """Candidate replacements of `text[at:at+length]`, most readable first. Which one Lean accepts depends on the place.

    `tactic`: whether the `sorry` is a tactic rather than a term.
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
    """The first line at the cursor, the others aligned with it."""
    return "\n".join([lines[0], *(" " * column + x if x.strip() else "" for x in lines[1:])])


def _below(lines: list[str], before: str) -> str:
    """A block on the next lines, indented by two columns from the text after the bullets."""
    lead = re.match(r"\s*((·|\.)\s+)*", before)
    pad = " " * ((lead.end() if lead else 0) + 2)
    return "".join("\n" + (pad + x if x.strip() else "") for x in lines)
