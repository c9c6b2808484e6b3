"""Comments after the remaining `sorry`s (`--mark-failed`)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from prover.lean.text import Edit, LeanText

_MARK = re.compile(rb" /- not proved by Turnstile: [^\n]*? -/")


def mark(text: LeanText, start: int, stop: int, outcome: str, lean_calls: int) -> Edit | None:
    """Add a comment with the outcome after bytes [start, stop), replacing an earlier mark.

    Returns None where a comment would change the parse, as before the dot of `sorry.1`.
    """
    data = text.text.encode()
    end = _end_of_mark(data, stop)
    if data[end : end + 1] == b".":
        return None
    return start, end, f"{data[start:stop].decode()} /- not proved by Turnstile: {outcome}, {lean_calls} Lean calls -/"


def without_marks(text: LeanText, edits: Iterable[Edit]) -> list[Edit]:
    """The edits, extended to replace earlier marks as well."""
    data = text.text.encode()
    return [(start, _end_of_mark(data, stop), new) for start, stop, new in edits]


def _end_of_mark(data: bytes, at: int) -> int:
    found = _MARK.match(data, at)
    return found.end() if found else at
