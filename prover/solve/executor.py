"""Who does the work of a batch: attempts and audits, on the Lean processes of this machine (or, prover.solve.ray_executor, of many)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from prover.console import one_line
from prover.lean.audit import Auditor
from prover.lean.pool import LeanPool
from prover.lean.runtime import find_runtime
from prover.lean.server import LeanDied, LeanError
from prover.lean.theorem import ProofState, Theorem, Verdict
from prover.search.budget import NO_LIMIT, Budget
from prover.solve.attempt import Found, Negated, Prover, attempt
from prover.solve.negation import negation
from prover.solve.remarks import Remark, at_once, fingerprint, vacuous

IN_TURN = 3
"""Attempts that share a Lean process, so that it is never idle while one of them thinks or is audited."""


@dataclass(frozen=True)
class Job:
    """An attempt to make."""

    theorem: Theorem
    calls: int
    disprove: float = 0.0
    """Share of the Lean calls for the negation."""
    skip: tuple[str, ...] = ()
    """Provers that have nothing left to try on it."""
    look: bool = False
    """Whether to look at the statement, too."""
    page: bool = False
    within: Budget = NO_LIMIT
    """Limits besides the Lean calls."""


@dataclass(frozen=True)
class Done:
    """What came of a job."""

    found: Found
    goal: str = ""
    """What was to be proved, as Lean prints it."""
    statement_hash: str = ""
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Load:
    """What Lean processes did, since they were ready, and hold."""

    processes: int
    """Those that search."""
    busy_s: float
    """Seconds during which they had something to do, summed."""
    steps: int
    restarts: int
    pids: tuple[int, ...] = field(default=())
    """Every Lean process of this machine, those of the audit, too."""


class Crew(Protocol):
    """Attempts and audits. Use as an async context manager."""

    lean: str

    @property
    def places(self) -> int:
        """How many attempts it takes at once."""
        ...

    async def __aenter__(self) -> Crew: ...
    async def __aexit__(self, *exc: object) -> None: ...
    async def attempt(self, job: Job) -> Done: ...
    async def audit(self, theorem: Theorem, script: str) -> Verdict: ...
    async def load(self) -> Load: ...


class LocalCrew:
    """Lean processes of this machine: `workers` that search, and the audit's three."""

    def __init__(self, provers: Sequence[Prover], workers: int, constants: bool | None = None) -> None:
        self.provers = provers
        self.wants_premises = any(p.wants_premises for p in provers) if constants is None else constants
        self.pool = LeanPool(workers, constants=self.wants_premises)
        self.auditor = Auditor()
        self.lean = self.pool.runtime.name

    @property
    def places(self) -> int:
        return len(self.pool.servers) * IN_TURN

    async def __aenter__(self) -> LocalCrew:
        await self.pool.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.pool.close()
        await self.auditor.close()

    async def attempt(self, job: Job) -> Done:
        """Never raises for what Lean or the statement does: that is the outcome `error`, with the reason."""
        theorem = job.theorem
        roots: list[ProofState] = []
        try:
            roots.append(root := await twice(lambda: self.pool.open(theorem)))
            other = None
            if job.disprove and (false := negation(theorem)) is not None:
                # The whole budget on the negation would leave the theorem without its first try.
                with suppress(LeanError):  # a negation that Lean cannot read is none: the theorem is tried all the same
                    roots.append(opened := await twice(lambda: self.pool.open(false)))
                    other = Negated(false, opened, job.disprove)
            found = await attempt(
                theorem,
                root,
                self.pool,
                self.provers,
                job.calls,
                premises_for(self.wants_premises, theorem.imports),
                job.page,
                other,
                job.skip,
                job.within,
            )
            remarks = await self._look(root, found) if job.look else ()
            return Done(found, root.text, fingerprint(theorem, root), remarks)
        except (LeanError, LeanDied) as error:
            return Done(Found("error", message=one_line(str(error))))
        finally:
            await self.pool.free(roots)

    async def _look(self, root: ProofState, found: Found) -> tuple[Remark, ...]:
        remarks: list[Remark] = []
        if (odd := await vacuous(root, self.pool)) is not None:
            remarks.append(odd)
        if found.outcome == "found" and (easy := await at_once(root, self.pool, found.script)) is not None:
            remarks.append(easy)
        return tuple(remarks)

    async def audit(self, theorem: Theorem, script: str) -> Verdict:
        return await audited(self.auditor, theorem, script)

    async def load(self) -> Load:
        servers = self.pool.servers
        pids = [s.pid for s in [*servers, *self.auditor.servers] if s.pid is not None]
        return Load(
            len(servers),
            sum(s.busy_s() for s in servers),
            self.pool.steps,
            sum(s.counters.restarts for s in servers),
            tuple(pids),
        )


async def settled(crew: Crew, job: Job, done: Done) -> Done:
    """With the audit's word: on the proof (`proved`, `disproved`, `rejected`, or `error` where it could not be judged), and on what is said of the statement."""
    found = done.found
    if found.outcome in ("found", "refuted"):
        false = found.outcome == "refuted"
        claim = negation(job.theorem) if false else job.theorem
        assert claim is not None
        verdict = await crew.audit(claim, found.script)
        good = "disproved" if false else "proved"
        outcome = {"proved": good, "rejected": "rejected"}.get(verdict.verdict, "error")
        reason = "its negation is proved" if outcome == "disproved" else verdict.reason
        found = replace(found, outcome=outcome, message=reason)
    remarks = []
    for remark in done.remarks:
        if not remark.script or (await crew.audit(job.theorem, remark.script)).verdict == "proved":
            remarks.append(remark)
    if found.outcome == "disproved":
        remarks.insert(0, Remark("false", found.script))
    return replace(done, found=found, remarks=tuple(remarks))


async def audited(auditor: Auditor, theorem: Theorem, script: str) -> Verdict:
    """As Auditor.audit. A proof that could not be judged is judged once more, and no third time."""
    verdict = await auditor.audit(theorem, script)
    return verdict if verdict.verdict != "error" else await auditor.audit(theorem, script)


async def twice(call: Callable[[], Awaitable[Any]]) -> Any:
    """What may fail for no fault of its own gets a second chance."""
    try:
        return await call()
    except LeanDied:
        return await call()


_sources: dict[str, Any] = {}


def premises_for(wanted: bool, imports: tuple[str, ...]) -> Any:
    """Premises for searches in this environment, where a policy wants them and the index is there."""
    if not wanted:
        return None
    from prover.premises.index import load_cached
    from prover.premises.retrieve import PremiseSource

    lean = find_runtime().name
    if lean not in _sources:
        index = load_cached(lean)
        _sources[lean] = PremiseSource(index) if index is not None else None
    return _sources[lean].for_theorem(imports) if _sources[lean] is not None else None
