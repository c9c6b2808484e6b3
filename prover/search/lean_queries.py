"""Asking Lean itself: `exact?`, `apply?`, `rw?`, `simp?` as one more source of tactics and premises.

A question is sent like any tactic: it costs a Lean call and runs under the same limits. But it proves nothing, whatever it
closes: what it says to try is put before the goal's other tactics and tried, and later audited, as any other text is. So no
script holds a search through the library, whose outcome would depend on the limits that it ran under.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from prover.errors import UserError
from prover.lean.names import IDENTIFIER
from prover.lean.theorem import ProofState
from prover.models.base import Suggestion

KNOWN = ("exact?", "apply?", "rw?", "simp?", "simp_all?", "grind?")
"""Questions that Lean's core answers."""
ASK_AFTER = 8
"""So many of a goal's tactics are more probable than its first question: a library search takes as long as a hundred of them."""
MAX_ANSWERS = 8
"""Answers to one question that are tried."""
SOURCE = "lean"

_HEAD = re.compile(r"\s*Try (?:this|these):\s*")
_MARK = re.compile(r"^\s*\[\w+\] ", re.MULTILINE)


def parse_questions(text: str) -> tuple[str, ...]:
    """`exact?,rw?` as questions (commas or spaces between them). Raises UserError for what is none."""
    found = tuple(text.replace(",", " ").split())
    if wrong := [q for q in found if q not in KNOWN]:
        raise UserError(f"questions: {wrong[0]!r} is none; say some of {', '.join(KNOWN)}, with commas between them")
    return found


def with_questions(offered: Sequence[Suggestion], questions: Sequence[str]) -> list[Suggestion]:
    """A policy's tactics and the questions, each as probable as the tactic that it shall come after."""
    if not offered:
        return [Suggestion(q, 0.0, SOURCE) for q in questions]
    ranked = sorted((s.logprob for s in offered), reverse=True)
    asked = [
        Suggestion(q, ranked[min(ASK_AFTER - 1 + i, len(ranked) - 1)] - 1e-6, SOURCE) for i, q in enumerate(questions)
    ]
    own = set(questions)
    return [*(s for s in offered if s.tactic not in own), *asked]


def answers(said: Sequence[str], forbidden: Collection[str] = ()) -> list[str]:
    """The tactics in what Lean said to try, in its order; none that names what is `forbidden`."""
    found: dict[str, None] = {}
    for text in said:
        head = _HEAD.match(text)
        for part in _MARK.split(text[head.end() if head else 0 :]):
            # Comments say what would be left, a line each.
            lines = [line.strip() for line in part.splitlines()]
            tactic = " ".join(line for line in lines if line and not line.startswith("--"))
            if tactic and not {m[0] for m in IDENTIFIER.finditer(tactic)} & set(forbidden):
                found[tactic] = None
    return list(found)


def premises_in(tactics: Sequence[str], state: ProofState) -> list[str]:
    """Names of library constants in tactics: identifiers with a dot or an underscore that are no hypothesis or its field."""
    local = {name for g in state.goals for name, _ in g.hypotheses}
    names = (m[0] for t in tactics for m in IDENTIFIER.finditer(t))
    return list(
        dict.fromkeys(n for n in names if ("." in n or "_" in n) and n.split(".")[0] not in local and n not in _TACTICS)
    )


_TACTICS = frozenset({"simp_all", "simp_arith", "norm_cast", "exact_mod_cast", "simpa_all"})


def as_suggestions(tactics: Sequence[str], best: float) -> list[Suggestion]:
    """Answers as tactics to try next: the first more probable than `best` (natural logarithm), each other half as probable."""
    return [Suggestion(t, best + 0.01 - 0.7 * i, SOURCE) for i, t in enumerate(tactics)]
