"""Shared data types: theorems, proof states, results of steps, proofs and verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from prover.lean.project import SourceModule
from prover.lean.surroundings import NOTHING, Surroundings

Outcome = Literal["proved", "disproved", "exhausted", "budget", "rejected", "error"]
"""How an attempt at a theorem ended.

`proved`: the audit accepted a proof. `disproved`: the audit accepted a proof of the negation. `exhausted`: nothing left to
try. `budget`: the budget ran out. `rejected`: the audit rejected the proof found. `error`: Lean or a worker failed.
"""

StepStatus = Literal["ok", "error", "timeout", "memory", "crash"]
"""Result of a tactic: success, Lean's error, time or memory limit exceeded, or death of the process."""


@dataclass(frozen=True, slots=True)
class Theorem:
    """A theorem to prove.

    `statement` is the Lean source after `theorem NAME`: binders, colon, type, e.g. `(p q : Prop) (h : p ∧ q) : q ∧ p`. A
    library theorem has no statement: `library` is the name of a constant whose type comes from the module that declares it,
    while the proof may only use `imports`.
    """

    name: str
    statement: str | None = None
    library: str | None = None
    imports: tuple[str, ...] = ("Init",)
    context: str = ""
    """Lean source before the statement: `open`, `variable`, `namespace`, definitions."""
    source: str = ""
    """Its origin, for display: a file with a line, or the name of a set."""
    before: tuple[SourceModule, ...] = ()
    """Modules given as source that the context imports besides `imports`, each after its own imports."""
    answer: Literal["", "proposition", "data"] = ""
    """The kind of answer that the statement leaves open. `proposition`: the statement has True in its place. `data`: the statement
    quantifies over every value of its type."""
    if_false: tuple[str, str] | None = None
    """(statement, context) with False for an open answer that is a proposition."""
    column: int | None = field(default=None, repr=False)
    """Column at which a statement of several lines begins in its source: Lean reads blocks by their columns. None: unknown, or one line."""

    def __post_init__(self) -> None:
        if (self.statement is None) == (self.library is None):
            raise ValueError(f"theorem {self.name!r}: give either a statement or a library name")

    @property
    def first_column(self) -> int:
        """Column at which `statement_source` puts the statement."""
        return len(f"theorem {self.name} ") if self.column is None else self.column

    @property
    def content(self) -> tuple[Any, ...]:
        """What the theorem says and where, for hashes of inputs."""
        asked = (self.answer, self.if_false) if self.answer else ()
        placed = () if self.column is None else (self.column,)
        return (self.name, self.statement, self.library, self.imports, self.context, *self.before, *asked, *placed)


class HypothesisKind(NamedTuple):
    """The kind of a hypothesis, or of the target under the name `⊢`, for choosing tactics."""

    name: str
    kind: str
    """`proof`; `recursive` or `inductive` for data of an inductive type; `function`, `prop` (a propositional variable), `type`,
    `instance`, other `data`; `target`."""
    head: str
    """Head symbol of the type, for proofs of its conclusion."""
    shape: str
    """Head symbol of the type after unfolding definitions: `∀`, `Exists`, `And`, `Eq`, a predicate, …."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal, as models read it."""

    text: str
    """Hypotheses, one per line, then `⊢ target`, as Lean prints it; inaccessible hypotheses have usable names."""
    hypotheses: tuple[tuple[str, str], ...] = ()
    """(name, type) of every hypothesis that a tactic can name, oldest first."""
    target: str = ""
    constants: tuple[str, ...] = ()
    """Constants that occur in the goal (target's first), for premise selection."""
    renamed: tuple[str, ...] = ()
    """New names of unnamed hypotheses: a script needs `rename_i` with them before it uses one."""
    kinds: tuple[HypothesisKind, ...] = ()
    """Kinds of the hypotheses, then of the target, if the environment lists constants."""

    @property
    def statement(self) -> str:
        """Binders, colon, type, as Lean prints them. It may not elaborate."""
        return " ".join([*(f"({name} : {type_})" for name, type_ in self.hypotheses), f": {self.target}"])


@dataclass(frozen=True, slots=True)
class ProofState:
    """A group of goals that share metavariables (nearly always a single goal), in a Lean process.

    Groups are independent: proving each proves all. A tactic acts on the first goal of a group.
    """

    id: int
    """Handle within the environment that made it."""
    key: str
    """Equal exactly for groups that differ only in names of bound and free variables."""
    goals: tuple[Goal, ...]
    surroundings: Surroundings = field(default=NOTHING, compare=False, repr=False)
    """The declarations before the theorem, if the environment lists constants."""

    @property
    def shared(self) -> str:
        """Key for sharing states in a search: `key` with the names of hypotheses, which tactics use."""
        names = " ".join(name for g in self.goals for name, _ in g.hypotheses)
        return f"{self.key} {names}" if names else self.key

    @property
    def text(self) -> str:
        """The goals, separated by a blank line, as models read them."""
        return "\n\n".join(g.text for g in self.goals)


def renamed_in(state: ProofState) -> tuple[tuple[str, ...], ...]:
    """ProofNode.renamed for a proof of this state."""
    names = tuple(g.renamed for g in state.goals)
    return names if any(names) else ()


@dataclass(frozen=True, slots=True)
class StepResult:
    """Result of a tactic on a ProofState."""

    status: StepStatus
    states: tuple[ProofState, ...] = ()
    """The groups left to prove, for `ok`; empty if this group is proved."""
    order: tuple[tuple[int, int], ...] = ()
    """Lean's goal list after the tactic as (index into `states`, index of the goal in that group)."""
    message: str = ""
    """Lean's error for `error`, else the limit that was exceeded."""
    lean_s: float = 0.0
    """Seconds spent inside Lean on this step."""
    said: tuple[str, ...] = ()
    """Suggestions of tactics such as `exact?`, `simp?` and (although it fails) `apply?`."""

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def solved(self) -> bool:
        return self.status == "ok" and not self.states


@dataclass(frozen=True, slots=True)
class ProofNode:
    """A proof tree: a tactic on the first goal of a group, and a proof of each resulting group."""

    tactic: str
    children: tuple[ProofNode, ...] = ()
    order: tuple[tuple[int, int], ...] = ()
    """As in StepResult.order."""
    goals: int = 1
    """Number of goals in the group before the tactic."""
    renamed: tuple[tuple[str, ...], ...] = ()
    """Goal.renamed of each goal of the group before the tactic; empty if no goal has any."""

    @property
    def size(self) -> int:
        """Number of tactics."""
        return sum(1 for _ in self.nodes())

    def nodes(self) -> Iterator[ProofNode]:
        """All nodes, each after its parent."""
        stack: list[ProofNode] = [self]
        while stack:  # a proof may be deeper than Python's stack
            yield (node := stack.pop())
            stack.extend(node.children)


@dataclass(frozen=True, slots=True)
class Proof:
    """Source text of a proof, after `:= by`, without indentation."""

    theorem: Theorem
    script: str
    tree: ProofNode | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The audit's verdict on one declaration."""

    name: str
    """Its full name, or `FILE:LINE` for an example."""
    verdict: Literal["proved", "rejected", "error"]
    """`error`: it could not be judged, because of a time or memory limit or a crash."""
    reason: str = ""
    """Empty when proved. Else it begins with the failed check and a colon: `parse`, `elaboration`, `statement`, `sorry`, `axiom`,
    `kernel`, `premise`, `unsafe`, or for an error `time`, `memory`, `crash`."""
    axioms: tuple[str, ...] = ()
    premises: tuple[str, ...] = field(default=())
    """Library constants that the proof term uses directly."""
    lean: str = ""
    """Name of the Lean that gave the verdict."""
    line: int = 0
    """Its line in its file, or 0."""
    generated: bool = False
    """Whether elaboration generated it for another declaration, like `t.match_1`."""
