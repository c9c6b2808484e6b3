"""Brackets in Lean source: where each is closed, and the text outside of all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

PAIRS = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "⦃": "⦄", "⟦": "⟧"}
_CLOSE = frozenset(PAIRS.values())
_QUOTED = re.compile(r"«[^»\n]*»")


def plain_names(text: str) -> str:
    """The text with `_` for each character of a name between « and »."""
    return _QUOTED.sub(lambda m: f"«{'_' * (len(m[0]) - 2)}»", text) if "«" in text else text


def closing(text: str, at: int = 0) -> int:
    """Index of the bracket that closes the one at `at`; -1 if none does."""
    text, depth = plain_names(text), 0
    for i in range(at, len(text)):
        depth += (text[i] in PAIRS) - (text[i] in _CLOSE)
        if not depth:
            return i
    return -1


def outside(text: str, at: int = 0) -> Iterator[tuple[int, str]]:
    """(index, character) of the text outside all brackets, from `at` on, with `_` for characters between « and ». Ignores unmatched
    closing brackets."""
    text, depth = plain_names(text), 0
    for i in range(at, len(text)):
        if text[i] in PAIRS:
            depth += 1
        elif text[i] in _CLOSE:
            depth -= depth > 0
        elif not depth:
            yield i, text[i]


def bare(text: str) -> str:
    """The text without white space and round brackets around all of it."""
    text = text.strip()
    while text.startswith("(") and closing(text) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def cut(text: str, separator: str) -> tuple[str, str, str]:
    """`text.partition(separator)` at the first separator outside brackets."""
    for i, c in outside(text) if separator in text else ():
        if c == separator[0] and text.startswith(separator, i):
            return text[:i], separator, text[i + len(separator) :]
    return text, "", ""


def pieces(text: str, separator: str) -> list[str]:
    """The parts of the text between occurrences of `separator` outside brackets."""
    places = [-1, *(i for i, c in outside(text) if c == separator), len(text)]
    return [text[a + 1 : b].strip() for a, b in pairwise(places)]
