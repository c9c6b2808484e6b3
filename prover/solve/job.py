"""What executors are given and what they return: a job, and what an attempt found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prover.lean.project import SourceModule
from prover.lean.text import LeanText
from prover.lean.theorem import Theorem
from prover.search.budget import NO_LIMIT, Budget
from prover.solve.remarks import Remark


@dataclass(frozen=True)
class SourceFile:
    """A `.lean` file as Lean loads it. Equal files are loaded once in each Lean process."""

    text: LeanText
    imports: tuple[str, ...]
    """Compiled modules."""
    before: tuple[SourceModule, ...] = ()
    """Modules that it imports and that are given as source."""


@dataclass(frozen=True)
class Sorry:
    """A `sorry` of a file, by its number in source order."""

    file: SourceFile
    number: int


@dataclass(frozen=True)
class Job:
    """A theorem to attempt, and the limits of the attempt."""

    theorem: Theorem
    lean_calls: int
    disprove: float = 0.0
    """Share of the Lean calls for the negation."""
    skip: tuple[str, ...] = ()
    """Provers that exhausted their tactics in an earlier attempt."""
    look: bool = False
    """Whether to check the statement itself: vacuous, or closed by one tactic."""
    page: bool = False
    """Whether the search is wanted as an HTML page."""
    within: Budget = NO_LIMIT
    """Limits besides the Lean calls."""
    sorry: Sorry | None = None
    """The place to open in place of `theorem`, which then only names it."""
    stated: Theorem | None = None
    """Of a sorry that is the whole proof of a theorem: that theorem as source, so that its negation can be tried."""

    @property
    def statement(self) -> Theorem:
        """The theorem whose negation can be tried."""
        return self.stated or self.theorem


@dataclass(frozen=True)
class Found:
    """How an attempt ended, before the audit."""

    outcome: str
    """`found`, `refuted` (the script proves the negation), `exhausted`, `budget`, `data` (not a proposition) or `error`."""
    script: str = ""
    lean_calls: int = 0
    seconds: float = 0.0
    reason: str = ""
    prover: str = ""
    """Name of the prover that found the script."""
    page: str = ""
    """The last search as an HTML page, where the job asks for it."""
    outline: dict[str, Any] = field(default_factory=dict)
    """The last search in short (see prover.search.tree_summary)."""
    used_up: tuple[str, ...] = ()
    """Provers that exhausted their tactics, whatever the budget."""
    goal: str = ""
    """The goal as Lean prints it."""
    statement_hash: str = ""
    """Equal for equal statements (see remarks.fingerprint)."""
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Load:
    """What Lean processes have done since they were ready."""

    processes: int
    """Number of processes that search."""
    busy_s: float
    """Seconds during which they worked, summed."""
    steps: int
    restarts: int
    pids: Sequence[int] = ()
    """Process ids of every Lean process of this machine, those of the audit included."""
