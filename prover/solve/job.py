"""The input and output of executors: a job, and the result of its attempt."""

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
    """A `.lean` file as Lean loads it. Each Lean process loads equal files once."""

    text: LeanText
    imports: tuple[str, ...]
    """Compiled modules."""
    before: tuple[SourceModule, ...] = ()
    """Imported modules that are given as source."""


@dataclass(frozen=True)
class Sorry:
    """A `sorry` of a file, by its index in source order."""

    file: SourceFile
    number: int


@dataclass(frozen=True)
class Job:
    """A theorem to attempt, and the limits of the attempt."""

    theorem: Theorem
    lean_calls: int
    disprove: float = 0.0
    """Share of the Lean calls spent on the negation."""
    skip: tuple[str, ...] = ()
    """Provers that exhausted their tactics in an earlier attempt."""
    find_remarks: bool = False
    """Whether to flag vacuous and trivial statements, and those with unbound names (prover.solve.remarks)."""
    page: bool = False
    """Whether to render the search as an HTML page."""
    within: Budget = NO_LIMIT
    """Limits besides the Lean calls."""
    sorry: Sorry | None = None
    """The `sorry` to open instead of `theorem`, which then only provides the name."""
    saved: bytes | None = None
    """The search of an earlier try to continue (empty: none), or None if the search is not to be saved."""
    stated: Theorem | None = None
    """The theorem as source, if the `sorry` is its whole proof. Its negation can then be tried."""

    @property
    def statement(self) -> Theorem:
        """The theorem whose negation can be tried."""
        return self.stated or self.theorem


@dataclass(frozen=True)
class Trace:
    """The record of an attempt for a learner. Only training and evaluation keep one (rl.attempt)."""

    calls_to_solve: int | None = None
    """Lean calls until the first proof."""
    stats: dict[str, Any] = field(default_factory=dict)
    """Input of the metrics (rl.metrics.compute)."""
    examples: list[Any] = field(default_factory=list)
    """Training examples of the search (prover.search.examples)."""
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    """Rows with `script` (None without a claimed proof), `decisions` of (state, premises, tactic, logprob), `steps` as in rl.rollouts.Rollout,
    `calls` of (prompt, answer, logprobs) as in Sampled, `ended`, `closed`, and for whole proofs `size` (tactics)."""
    model_version: int = 0
    """Version of the oldest weights that it used; 0: none."""


@dataclass(frozen=True)
class Found:
    """The result of an attempt, before the audit."""

    outcome: str
    """`found`, `refuted` (the script proves the negation), `exhausted`, `budget`, `data` (not a proposition) or `error`."""
    script: str = ""
    lean_calls: int = 0
    seconds: float = 0.0
    reason: str = ""
    prover: str = ""
    """Name of the prover that found the script."""
    page: str = ""
    """The last search as an HTML page, if the job requests it."""
    outline: dict[str, Any] = field(default_factory=dict)
    """Summary of the last search (prover.search.tree_summary)."""
    used_up: tuple[str, ...] = ()
    """Provers that exhausted their tactics. A larger budget would not help them."""
    goal: str = ""
    """The goal as Lean prints it."""
    statement_hash: str = ""
    """Equal for equal statements (see remarks.fingerprint)."""
    remarks: tuple[Remark, ...] = ()
    saved: bytes = b""
    """The search, if it ended at its budget and the job asks for it."""
    learned: dict[str, Any] = field(default_factory=dict)
    """The learner's account of how it found the script (see `Learned.proofs` in prover.solve.learning)."""
    trace: Trace = field(default_factory=Trace)


@dataclass(frozen=True)
class Load:
    """Work of the Lean processes since their start."""

    processes: int
    """Number of processes that search."""
    busy_s: float
    """Busy seconds, summed over the processes."""
    steps: int
    restarts: int
    pids: Sequence[int] = ()
    """Process ids of all Lean processes on this machine, including those of the audit."""
