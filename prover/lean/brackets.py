"""Brackets in Lean's text: where one is closed, and what stands outside of all."""

from __future__ import annotations

PAIRS = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "⦃": "⦄"}
_CLOSE = frozenset(PAIRS.values())


def closing(text: str, at: int = 0) -> int:
    """Index of the bracket that closes the one at `at`; -1 if none does."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] in PAIRS) - (text[i] in _CLOSE)
        if not depth:
            return i
    return -1


def bare(text: str) -> str:
    """The text without white space and round brackets around all of it."""
    text = text.strip()
    while text.startswith("(") and closing(text) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def cut(text: str, separator: str) -> tuple[str, str, str]:
    """`text.partition(separator)` at the first separator outside brackets."""
    depth = 0
    for i, c in enumerate(text):
        if c in PAIRS:
            depth += 1
        elif c in _CLOSE:
            depth -= 1
        elif not depth and c == separator[0] and text.startswith(separator, i):
            return text[:i], separator, text[i + len(separator) :]
    return text, "", ""
