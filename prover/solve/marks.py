"""Comments behind the `sorry`s that stay, for those who ask for them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from prover.lean.text import LeanText

_MARK = re.compile(rb" /- not proved by Turnstile: [^\n]*? -/")

Edit = tuple[int, int, str]
"""As LeanText.to_bytes takes them: [start, stop) in the text's bytes, and what goes there."""


def mark(text: LeanText, start: int, stop: int, outcome: str, lean_calls: int) -> Edit | None:
    """Behind what stands at [start, stop), say how the search for a proof ended, in place of what an earlier one said.

    None where a comment would change what is read: before the dot of `sorry.1`.
    """
    data = text.text.encode()
    end = _after(data, stop)
    if data[end : end + 1] == b".":
        return None
    return start, end, f"{data[start:stop].decode()} /- not proved by Turnstile: {outcome}, {lean_calls} Lean calls -/"


def without_marks(text: LeanText, edits: Iterable[Edit]) -> list[Edit]:
    """Proofs that were found, put over what an earlier search said of their places, too."""
    data = text.text.encode()
    return [(start, _after(data, stop), new) for start, stop, new in edits]


def _after(data: bytes, at: int) -> int:
    found = _MARK.match(data, at)
    return found.end() if found else at
