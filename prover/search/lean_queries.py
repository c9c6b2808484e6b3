"""Lean's library searches (`exact?`, `apply?`, `rw?`, `simp?`) as a source of tactics and premises.

A question costs one Lean call under the usual limits, but never closes a goal. Its answers are put before the goal's other
tactics and tried like any tactic. Thus no script contains a library search, whose outcome would depend on its limits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from prover.errors import UserError
from prover.lean.names import IDENTIFIER
from prover.lean.theorem import ProofState
from prover.models.base import Suggestion

KNOWN = ("exact?", "apply?", "rw?", "simp?", "simp_all?", "grind?")
"""Questions that Lean's core answers."""
ASK_AFTER = 8
"""Tactics of a goal that are tried before its first question: a library search takes as long as a hundred tactics."""
MAX_ANSWERS = 8
"""Maximum number of answers to one question that are tried."""
SOURCE = "lean"

_HEAD = re.compile(r"\s*Try (?:this|these):\s*")
_MARK = re.compile(r"^\s*\[\w+\] ", re.MULTILINE)


def parse_questions(text: str) -> tuple[str, ...]:
    """Parse questions separated by commas or spaces. Raises UserError for an unknown one."""
    found = tuple(text.replace(",", " ").split())
    if wrong := [q for q in found if q not in KNOWN]:
        raise UserError(f"questions: {wrong[0]!r} is unknown; choose from {', '.join(KNOWN)}, separated by commas")
    return found


def with_questions(offered: Sequence[Suggestion], questions: Sequence[str]) -> list[Suggestion]:
    """A policy's tactics with the questions added. Each question is about as probable as the tactic that it follows."""
    if not offered:
        return [Suggestion(q, 0.0, SOURCE) for q in questions]
    ranked = sorted((s.logprob for s in offered), reverse=True)
    asked = [
        Suggestion(q, ranked[min(ASK_AFTER - 1 + i, len(ranked) - 1)] - 1e-6, SOURCE) for i, q in enumerate(questions)
    ]
    own = set(questions)
    return [*(s for s in offered if s.tactic not in own), *asked]


def answers(said: Sequence[str]) -> list[str]:
    """The tactics in Lean's `Try this` messages, in order."""
    found: dict[str, None] = {}
    for text in said:
        head = _HEAD.match(text)
        for part in _MARK.split(text[head.end() if head else 0 :]):
            # Comment lines show the remaining goals.
            lines = [line.strip() for line in part.splitlines()]
            tactic = " ".join(line for line in lines if line and not line.startswith("--"))
            if tactic:
                found[tactic] = None
    return list(found)


def premises_in(tactics: Sequence[str], state: ProofState) -> list[str]:
    """Library constants in tactics: identifiers with a dot or underscore that are not hypotheses or their fields."""
    local = {name for g in state.goals for name, _ in g.hypotheses}
    names = (m[0] for t in tactics for m in IDENTIFIER.finditer(t))
    return list(
        dict.fromkeys(n for n in names if ("." in n or "_" in n) and n.split(".")[0] not in local and n not in _TACTICS)
    )


_TACTICS = frozenset({"simp_all", "simp_arith", "norm_cast", "exact_mod_cast", "simpa_all"})


def as_suggestions(tactics: Sequence[str], best: float) -> list[Suggestion]:
    """Answers as tactics to try next. The first has a higher log-probability than `best`; each later one is half as likely."""
    return [Suggestion(t, best + 0.01 - 0.7 * i, SOURCE) for i, t in enumerate(tactics)]
