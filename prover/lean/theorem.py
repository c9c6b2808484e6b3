"""The nouns everybody shares: theorems, proof states and what a step gives. Frozen, plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["proved", "disproved", "exhausted", "budget", "rejected", "error"]
"""How an attempt at a theorem ended.

`proved`: the audit accepted a proof. `disproved`: the audit accepted a proof of the negation. `exhausted`: nothing left to
try. `budget`: ran out. `rejected`: a proof was found and the audit refused it. `error`: Lean or a worker failed.
"""

StepStatus = Literal["ok", "error", "timeout", "memory", "crash"]
"""What became of a tactic: it applied; Lean refused it; it ran over a limit of time or memory; the process died."""


@dataclass(frozen=True, slots=True)
class Theorem:
    """Something to prove.

    `statement` is Lean source: binders, colon, type, as it stands after `theorem NAME`, e.g.
    `(p q : Prop) (h : p ∧ q) : q ∧ p`. A library theorem has no statement of its own: `library` is the name of a constant whose
    type is taken from the module that declares it, while the proof may only use `imports`.
    """

    name: str
    statement: str | None = None
    library: str | None = None
    imports: tuple[str, ...] = ("Init",)
    context: str = ""
    """Lean source that is elaborated before the statement: `open`, `variable`, `namespace`, definitions."""
    source: str = ""
    """Where it came from, for people: a file with a line, a set's name."""

    def __post_init__(self) -> None:
        if (self.statement is None) == (self.library is None):
            raise ValueError(f"theorem {self.name!r}: give either a statement or a library name")


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal as models read it and the graph shares it."""

    text: str
    """Hypotheses one a line, then `⊢ target`, as Lean prints it; inaccessible names made readable and referable."""
    hypotheses: tuple[tuple[str, str], ...] = ()
    """(name, type) of every hypothesis that a tactic can name, oldest first."""
    target: str = ""
    constants: tuple[str, ...] = ()
    """Constants that occur in the goal (target's first), for premise selection."""
    renamed: tuple[str, ...] = ()
    """Names given to hypotheses that had none: a script must say `rename_i` with them before it uses one."""


@dataclass(frozen=True, slots=True)
class ProofState:
    """A group of goals that share metavariables (nearly always a single goal), held by a Lean process.

    Groups are independent: proving each proves all. A tactic acts on the first goal of a group.
    """

    id: int
    """Handle within the environment that made it."""
    key: str
    """Equal exactly for groups equal up to names of bound and free variables."""
    goals: tuple[Goal, ...]

    @property
    def shared(self) -> str:
        """What a search may share states by: `key` with the names of hypotheses, since a tactic says names."""
        names = " ".join(name for g in self.goals for name, _ in g.hypotheses)
        return f"{self.key} {names}" if names else self.key

    @property
    def text(self) -> str:
        """What models read: the goals, first goal first, separated by a blank line."""
        return "\n\n".join(g.text for g in self.goals)


def renamed_in(state: ProofState) -> tuple[tuple[str, ...], ...]:
    """What ProofNode.renamed says of a proof of this state."""
    names = tuple(g.renamed for g in state.goals)
    return names if any(names) else ()


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a tactic gave on a ProofState."""

    status: StepStatus
    states: tuple[ProofState, ...] = ()
    """The groups left to prove (empty: this group is proved). Only for `ok`."""
    order: tuple[tuple[int, int], ...] = ()
    """Lean's goal list after the tactic as (index into `states`, index of the goal in that group)."""
    message: str = ""
    """Lean's error, for `error`; what limit was hit, for the others."""
    lean_s: float = 0.0
    """Seconds spent inside Lean on this step."""
    said: tuple[str, ...] = ()
    """What the tactic said to try in its stead, as `exact?` and `simp?` do, and `apply?` although it fails."""

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def solved(self) -> bool:
        return self.status == "ok" and not self.states


@dataclass(frozen=True, slots=True)
class ProofNode:
    """A proof as a tree: a tactic on the first goal of a group and a proof of each group it left."""

    tactic: str
    children: tuple[ProofNode, ...] = ()
    order: tuple[tuple[int, int], ...] = ()
    """As in StepResult.order: which goal of which child stands where in Lean's goal list."""
    goals: int = 1
    """How many goals the group had before the tactic."""
    renamed: tuple[tuple[str, ...], ...] = ()
    """As in Goal.renamed, for each goal that the group had before the tactic; empty where none was renamed."""

    @property
    def size(self) -> int:
        """Number of tactics."""
        count = 0
        stack: list[ProofNode] = [self]
        while stack:  # a proof may be deeper than Python's stack
            count += 1
            stack.extend(stack.pop().children)
        return count


@dataclass(frozen=True, slots=True)
class Proof:
    """Source text of a proof: what follows `:= by`, without indentation, newline-separated."""

    theorem: Theorem
    script: str
    tree: ProofNode | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The audit's last word on one declaration."""

    name: str
    """Its full name; an example's is `FILE:LINE`."""
    verdict: Literal["proved", "rejected", "error"]
    """`error`: it could not be judged, for lack of time or memory or because a process died."""
    reason: str = ""
    """Empty when proved. Otherwise begins with the check that failed and a colon: `parse`, `elaboration`, `statement`, `sorry`,
    `axiom`, `kernel`, `premise`, `unsafe`, or for an error `time`, `memory`, `crash`."""
    axioms: tuple[str, ...] = ()
    premises: tuple[str, ...] = field(default=())
    """Library constants that the proof term uses directly."""
    lean: str = ""
    """Which Lean gave the verdict."""
    line: int = 0
    """Where it stands in its file; 0: in none."""
    generated: bool = False
    """Whether elaboration made it for another declaration, as it makes `t.match_1`."""
