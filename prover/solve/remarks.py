"""What is odd about a statement: hypotheses that contradict each other, or one tactic that closes it at once.

Public benchmarks have such statements; a proof of one says little. (A false statement is found by searching its negation,
a duplicate by comparing goals: see prover.solve.attempt and `duplicates` here.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from prover.lean.theorem import ProofState, Theorem
from prover.search import Environment

AT_ONCE = ("rfl", "simp", "omega", "decide", "grind")
CONTRADICTIONS = ("contradiction", "simp_all", "omega", "grind")
Kind = Literal["vacuous", "false", "duplicate", "at once"]


@dataclass(frozen=True)
class Remark:
    """Something to know about a statement."""

    kind: Kind
    detail: str
    """The tactic that shows it, or the name of the twin."""
    script: str = ""
    """A proof of the statement that uses nothing but a contradiction among its hypotheses, for the audit."""

    def __str__(self) -> str:
        return {
            "vacuous": f"vacuous: its hypotheses contradict each other (`{self.detail}`)",
            "false": "false: its negation is proved",
            "duplicate": f"the same statement as {self.detail}",
            "at once": f"closed at once by `{self.detail}`",
        }[self.kind]


async def vacuous(root: ProofState, env: Environment) -> Remark | None:
    """Whether False follows from the hypotheses alone, by one of a few tactics. At most five Lean calls.

    Nothing is said of a statement whose conclusion is False: to refute its hypotheses is what it asks for.
    """
    (introduced,) = await env.step(root, ("intros",))
    state = introduced.states[0] if introduced.ok and introduced.states else root
    goal = state.goals[0] if state.goals else None
    await env.free([s for s in introduced.states])
    if goal is None or goal.target == "False" or not goal.hypotheses:
        return None
    lead = "intros\nexfalso\n" if introduced.ok else "exfalso\n"
    for tactic in CONTRADICTIONS:
        (result,) = await env.step(root, (lead + tactic,))
        await env.free([s for s in result.states])
        if result.solved:
            return Remark("vacuous", tactic, lead + tactic)
    return None


async def at_once(root: ProofState, env: Environment, script: str) -> Remark | None:
    """Whether one plain tactic closes the goal; `script`, a proof, may be that already. At most five Lean calls."""
    bare = script.strip().removeprefix("intros; ").removeprefix("intros\n")
    if bare in AT_ONCE:
        return Remark("at once", bare)
    target = root.goals[0].target if root.goals else ""
    lead = "intros; " if target.startswith("∀ ") or " → " in target else ""
    for tactic in AT_ONCE:
        (result,) = await env.step(root, (lead + tactic,))
        await env.free([s for s in result.states])
        if result.solved:
            return Remark("at once", tactic)
    return None


_DECLARES = re.compile(r"\b(def|abbrev|structure|inductive|class|instance|axiom|opaque|notation|macro|elab|infix\w*)\b")


def fingerprint(theorem: Theorem, root: ProofState) -> str:
    """Equal for statements that are equal up to the names of bound variables, in contexts that declare the same."""
    declared = theorem.context if _DECLARES.search(theorem.context) else ""
    return hashlib.sha256(f"{declared}\0{root.key}".encode()).hexdigest()[:20]


def duplicates(rows: Sequence[dict[str, Any]]) -> None:
    """Add a remark to every row whose statement an earlier row has already."""
    first: dict[str, str] = {}
    for row in rows:
        known = row.get("statement_hash")
        if not known:
            continue
        if known in first:
            row["remarks"] = [*row.get("remarks", []), *remarks_to([Remark("duplicate", first[known])])]
        else:
            first[known] = row["name"]


def remarks_from(rows: Sequence[dict[str, Any]]) -> tuple[Remark, ...]:
    """Remarks out of a results file."""
    return tuple(Remark(r["kind"], r["detail"], r["script"]) for r in rows)


def remarks_to(remarks: Sequence[Remark]) -> list[dict[str, Any]]:
    """Remarks as results files and `--json` have them."""
    return [{**asdict(r), "text": str(r)} for r in remarks]
