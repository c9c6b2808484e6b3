"""Flags vacuous, trivial and duplicate statements, and those with unbound names. All occur in public benchmarks.

False statements are found by proving the negation (prover.solve.attempt).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from prover.lean.text import code_words
from prover.lean.theorem import ProofState, Theorem
from prover.search import Environment, checker
from prover.solve.instances import introduced

AT_ONCE = ("rfl", "simp", "omega", "decide", "grind")
CONTRADICTIONS = ("contradiction", "simp_all", "omega", "grind")
Open = Callable[[Theorem], Awaitable[ProofState | None]]
"""The first state of a theorem; None if Lean refuses the theorem."""
Kind = Literal["vacuous", "false", "duplicate", "at once", "auto-bound", "answer", "conditional"]


@dataclass(frozen=True)
class Remark:
    """A flag on a statement."""

    kind: Kind
    detail: str
    """The tactic that shows it, the name of the duplicate, the names that Lean bound, the answer, or nothing."""
    script: str = ""
    """A proof from a contradiction among the hypotheses, for the audit."""

    def __str__(self) -> str:
        return {
            "vacuous": f"vacuous: its hypotheses contradict each other (`{self.detail}`)",
            "false": "false: its negation is proved",
            "duplicate": f"the same statement as {self.detail}",
            "at once": f"closed at once by `{self.detail}`",
            "auto-bound": f"Lean bound {self.detail} by itself (autoImplicit)",
            "conditional": "rests on a `sorry` that is still open",
            "answer": f"its answer is `{self.detail}`",
        }[self.kind]


async def vacuous(root: ProofState, env: Environment) -> Remark | None:
    """A remark if one of a few tactics proves False from the hypotheses, else None. At most five Lean calls.

    Skips statements that conclude False, because they ask for exactly this.
    """
    goal, found = await introduced(root, env)
    if goal is None or goal.target == "False" or not goal.hypotheses:
        return None
    lead = "intros\nexfalso\n" if found else "exfalso\n"
    check = checker(env, root)
    for tactic in CONTRADICTIONS:
        if await check(lead + tactic):
            return Remark("vacuous", tactic, lead + tactic)
    return None


async def at_once(root: ProofState, env: Environment, script: str) -> Remark | None:
    """A remark if one tactic closes the goal, else None. `script`: a known proof. At most five Lean calls."""
    bare = script.strip().removeprefix("intros; ").removeprefix("intros\n")
    if bare in AT_ONCE:
        return Remark("at once", bare)
    target = root.goals[0].target if root.goals else ""
    lead = "intros; " if target.startswith("∀ ") or " → " in target else ""
    check = checker(env, root)
    for tactic in AT_ONCE:
        if await check(lead + tactic):
            return Remark("at once", tactic)
    return None


async def auto_bound(theorem: Theorem, root: ProofState, open_: Open) -> Remark | None:
    """A remark if Lean bound names that the statement does not bind (autoImplicit), else None. One Lean call for most statements.

    Asks Lean: such a name may be bound explicitly, and the goal has no more hypotheses. `root`: the state of `theorem`.
    """
    if theorem.statement is None or not root.goals:
        return None
    variables = "variable" in {word for word, _ in code_words(theorem.context)}
    # The lines of a statement keep their columns, which have a meaning.
    begin = "\n" + " " * theorem.first_column if "\n" in theorem.statement else " "
    names: list[str] = []
    for name, _ in root.goals[0].hypotheses:
        state = await open_(replace(theorem, statement=f"{{{name} : _}}{begin}{theorem.statement}"))
        # Names that are still unbound come before it.
        if state is not None and sorted(state.goals[0].hypotheses) == sorted(root.goals[0].hypotheses):
            if not variables or not await _known(name, theorem, open_):
                names.append(name)
        elif not variables:  # Lean puts its own names first
            break
    return Remark("auto-bound", ", ".join(f"`{x}`" for x in names)) if names else None


async def _known(name: str, theorem: Theorem, open_: Open) -> bool:
    """Whether the context declares the name."""
    context = f"{theorem.context.rstrip()}\nset_option autoImplicit false\n"
    return await open_(replace(theorem, statement=f": {name} = {name}", context=context)) is not None


_DECLARES = re.compile(r"\b(def|abbrev|structure|inductive|class|instance|axiom|opaque|notation|macro|elab|infix\w*)\b")


def fingerprint(theorem: Theorem, root: ProofState) -> str:
    """Hash that is equal for statements equal up to bound names, in contexts with the same declarations."""
    declared = theorem.context if _DECLARES.search(theorem.context) else ""
    return hashlib.sha256(f"{declared}\0{root.key}".encode()).hexdigest()[:20]


def duplicates(rows: Sequence[dict[str, Any]]) -> None:
    """Add a remark to each row that repeats the statement of an earlier row."""
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
    """Remarks from a row of a results file."""
    return tuple(Remark(r["kind"], r["detail"], r["script"]) for r in rows)


def remarks_to(remarks: Sequence[Remark]) -> list[dict[str, Any]]:
    """Remarks in the format of results files and `--json`."""
    return [{**asdict(r), "text": str(r)} for r in remarks]
