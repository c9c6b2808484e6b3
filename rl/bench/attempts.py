"""Attempts of several provers at the same theorems, for a comparison.

The attempts at one theorem share Lean's answers, which saves most of the time without changing a result. A ledger stores the attempts,
and a run resumes from it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from prover.concurrency import each
from prover.console import say
from prover.lean.audit import Auditor
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError
from prover.lean.theorem import ProofState, Theorem, Verdict
from prover.premises.retrieve import PremiseSource
from prover.search import Search, SearchResult
from prover.solve.attempt import Prover, attempt
from prover.solve.executor import audited, twice
from prover.solve.job import Found, Trace
from prover.solve.ledger import Attempt, Ledger
from rl.answers import Answers, Lean
from rl.bench.models import cached_premises

K = TypeVar("K")


@dataclass(frozen=True)
class Entry:
    """A prover of a comparison."""

    phase: str
    """Phase of its attempts in the ledger. Names everything that determines a result except the theorem."""
    prover: Callable[[Answers], Prover]
    """Makes the prover for the theorem of these answers."""


class Attempts(Generic[K]):
    """The attempts of every entry at every theorem. Call `run` once."""

    def __init__(
        self,
        theorems: Sequence[Theorem],
        entries: Mapping[K, Entry],
        calls: int,
        ledger: Path | None = None,
        source: PremiseSource | None = None,
        answers_file: Callable[[Theorem], Path | None] = lambda theorem: None,
    ) -> None:
        """`calls`: Lean calls of an attempt. `ledger`: the file that stores the attempts. `source`: premises of provers without a source
        of their own. `answers_file`: the file that stores Lean's answers for a theorem."""
        self.theorems, self.entries, self.calls, self.source = theorems, entries, calls, source
        self.failed = 0
        """Theorems that Lean did not open, or on which its processes kept dying. Another run tries them again."""
        self.seconds = 0.0
        self._answers_file = answers_file
        self._ledger = Ledger(ledger or Path(":memory:"))
        names = {t.name for t in theorems}
        self.done: dict[K, dict[str, Attempt]] = {
            key: {a.theorem.name: a for a in self._ledger.attempts(entry.phase) if a.theorem.name in names}
            for key, entry in entries.items()
        }
        """Attempts by entry and theorem."""

    def missing(self, theorem: Theorem) -> list[K]:
        """The entries without an attempt at a theorem."""
        return [key for key, done in self.done.items() if theorem.name not in done]

    def results(self, theorems: Sequence[Theorem]) -> dict[K, list[Attempt]]:
        """By entry the attempts at those of the theorems that every entry attempted."""
        complete = [t.name for t in theorems if not self.missing(t)]
        return {key: [done[name] for name in complete] for key, done in self.done.items()}

    async def run(self, lean: Lean | None, auditor: Auditor | None, at_once: int, minutes: float | None) -> None:
        """Make the missing attempts, at `at_once` theorems at a time, and audit the proofs.

        `lean`: None to use stored answers alone. `auditor`: None for attempts without an audit, whose outcome is `found`. `minutes`: no
        theorem starts later than this.
        """
        todo = [t for t in self.theorems if self.missing(t)]
        began, ended = time.monotonic(), 0

        async def one(theorem: Theorem) -> None:
            nonlocal ended
            try:
                await self._theorem(theorem, lean, auditor)
            except (LeanError, LeanDied) as error:
                self.failed += 1
                said = str(error)
            else:
                outcomes = [done[theorem.name].outcome for done in self.done.values()]
                said = f"{sum(o in ('found', 'proved') for o in outcomes)} of {len(outcomes)}"
            ended += 1
            say(f"{ended}/{len(todo)}  {theorem.name}: {said}  ({(time.monotonic() - began) / 60:.1f} min)")

        with self._ledger:
            await each(todo, one, at_once, math.inf if minutes is None else 60 * minutes)
        self.seconds = time.monotonic() - began

    async def _theorem(self, theorem: Theorem, lean: Lean | None, auditor: Auditor | None) -> None:
        answers = Answers(theorem, lean)
        if (file := self._answers_file(theorem)) is not None:
            answers.load(file)
        verdicts: dict[str, Verdict] = {}
        try:
            root = await twice(answers.root)
            premises = None if self.source is None else cached_premises(await self.source.for_theorem(theorem))
            for key in self.missing(theorem):
                found = await self._attempt(answers, root, self.entries[key].prover(answers), premises)
                if auditor is not None and found.script and found.script not in verdicts:
                    verdicts[found.script] = await audited(auditor, theorem, found.script)
                self._record(key, theorem, found, verdicts.get(found.script))
        finally:
            if file is not None and answers.changed and lean is not None:
                answers.save(file)
            await answers.close()

    async def _attempt(self, answers: Answers, root: ProofState, prover: Prover, premises: Any) -> Found:
        """The result, whose trace has the Lean calls to the proof. Raises LeanError if it cannot be judged."""
        trace = Trace()

        def observe(search: Search, result: SearchResult) -> None:
            nonlocal trace
            trace = Trace(result.lean_calls_to_solve)

        found = await attempt(answers.theorem, root, answers, [prover], self.calls, premises, checks=0, observe=observe)
        if found.outcome == "error":
            raise LeanError(found.reason)
        return replace(found, trace=trace)

    def _record(self, key: K, theorem: Theorem, found: Found, verdict: Verdict | None) -> None:
        self.done[key][theorem.name] = recorded = Attempt(
            self.entries[key].phase,
            theorem,
            verdict.verdict if verdict is not None else found.outcome,
            found.lean_calls,
            found.trace.calls_to_solve,
            found.seconds,
            found.script or None,
            verdict.reason if verdict is not None else found.reason,
            used=verdict.premises if verdict is not None else (),
            lean=find_runtime().name,
        )
        self._ledger.record(recorded)
